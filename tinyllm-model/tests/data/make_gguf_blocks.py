#!/usr/bin/env python3
"""Makes gguf_blocks.safetensors: random blocks of each GGUF tensor type, and the f32 values that the numpy
dequantisers of the PyPI package `gguf` give for them. For each TYPE two tensors: `TYPE.bytes` (u8) and `TYPE.values`.

    pip install gguf==0.19.0 numpy safetensors
    python3 make_gguf_blocks.py gguf_blocks.safetensors
"""
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from safetensors.numpy import save_file

# Type, and where in a block its half-precision scales lie: these get ordinary values, all other bytes are random.
TYPES = {
    "F32": [], "F16": [], "BF16": [], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}
# Zero, the smallest subnormal, the largest subnormal, the largest number, and minus one.
EDGES = np.array([0.0, 2.0**-24, 1023 * 2.0**-24, 65504.0, -1.0], np.float16)

rng = np.random.default_rng(20240607)
out = {}
for name, halves in TYPES.items():
    kind = GGMLQuantizationType[name]
    elems, size = GGML_QUANT_SIZES[kind]
    count = {1: 200, 32: 24, 256: 8}[elems]
    if name in ("F32", "F16"):
        dtype = np.dtype(name.lower().replace("f", "float"))
        blocks = rng.standard_normal(count).astype(dtype)
        blocks[: len(EDGES)] = EDGES
        blocks = blocks.view(np.uint8).reshape(count, size)
    else:
        blocks = rng.integers(0, 256, (count, size), np.uint8)
    for at in halves:
        scales = (rng.standard_normal(count) * 0.01).astype(np.float16)
        scales[: len(EDGES)] = EDGES
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
    values = quants.dequantize(blocks, kind).astype(np.float32)
    if name == "BF16":  # random bits hold NaNs, which do not compare
        keep = np.isfinite(values[:, 0])
        blocks, values = blocks[keep], values[keep]
    assert np.isfinite(values).all(), name
    out[f"{name}.bytes"], out[f"{name}.values"] = blocks.reshape(-1), values.reshape(-1)
save_file(out, sys.argv[1], {"made_by": "make_gguf_blocks.py, gguf 0.19.0"})
