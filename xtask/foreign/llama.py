"""Kernels of llama.cpp's ggml-cuda, launched as ggml launches them, against the same formula in float64."""
import numpy as np
from numpy import float32 as f32, int32 as i32, int64 as i64
from candle import ELEMENT, EPSILON, SUM, data

SOFTMAX = np.dtype([("heads", "i8"), ("n_head_log2", "u4"), ("columns", "i8"), ("rows_x", "i8"), ("rows_y", "i8"), ("ne0", "i8", 4),
                    ("nb1", "i8", 3), ("ne1", "i8", 2), ("scale", "f4"), ("max_bias", "f4"), ("m", "f4", 2)], align=True)


def rms_norm(device, module, rows=3, columns=700):
    x = data(20, rows, columns)
    out, divisor = device.empty(x.nbytes), np.zeros(3, np.uint32)
    strides = [i64(0)] * 3
    device.launch(module, r"rms_norm_f32ILi256ELb0ELb0ELb0E", (rows,), (256,), device.put(x), out, i32(columns), i64(columns), *strides[1:],
                  f32(EPSILON), None, *strides, *[divisor] * 4, None, *strides, *[divisor] * 4, f32(1), shared=32 * 4)
    y = x.astype(np.float64)
    return out.read(x.shape, f32), y / np.sqrt((y * y).mean(1, keepdims=True) + EPSILON), SUM


def norm(device, module, rows=2, columns=1500):
    x = data(21, rows, columns)
    out = device.empty(x.nbytes)
    device.launch(module, "8norm_f32ILi1024E", (rows,), (1024,), device.put(x), out, i32(columns), i64(columns), i64(0), i64(0),
                  f32(EPSILON), shared=32 * 8)
    y = x.astype(np.float64)
    return out.read(x.shape, f32), (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + EPSILON), SUM


def group_norm(device, module, groups=3, size=1200):
    x = data(22, groups, size)
    out = device.empty(x.nbytes)
    device.launch(module, "group_norm_f32ILi1024E", (groups,), (1024,), device.put(x), out, i32(size), i32(x.size), f32(EPSILON), shared=64 * 4)
    y = x.astype(np.float64)
    return out.read(x.shape, f32), (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + EPSILON), SUM


def rope_neox(device, module, tokens=5, heads=3, size=64):
    x, position = data(23, tokens, heads, size), np.arange(3, 3 + tokens, dtype=i32)
    out = device.empty(x.nbytes)
    row = [i32(v) for v in (size, heads * size, tokens * heads * size)]
    device.launch(module, r"rope_neoxILb1ELb0EffE", (tokens * heads, 1), (1, 256), device.put(x), out, i32(size), i32(heads), i32(tokens),
                  *row, *row, i32(size), i32(0), device.put(position), f32(1), f32(0), f32(1), np.zeros(2, f32),
                  f32(1e4 ** (-2 / size)), None, None, i32(0), np.bool_(False))
    angle = position[:, None, None] * 1e4 ** (-np.arange(size // 2) * 2 / size)
    a, b = np.split(x.astype(np.float64), 2, axis=2)
    want = np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], axis=2)
    # Angles reach 7 and are products of float32: a few units of their last place.
    return out.read(x.shape, f32), want, 8 * ELEMENT


def softmax_of(pattern, block, columns, scale=0.5):
    def case(device, module, rows=3):
        x, mask = data(24, rows, columns) * 4, data(25, rows, columns)
        p = np.zeros((), SOFTMAX)
        p["heads"], p["n_head_log2"], p["columns"], p["rows_x"], p["rows_y"] = 1, 1, columns, rows, rows
        p["ne0"], p["nb1"], p["ne1"], p["scale"] = (columns, rows, 1, 1), (columns * 4, x.nbytes, x.nbytes), (1, 1), scale
        out = device.empty(x.nbytes)
        device.launch(module, pattern, (rows,), (block,), device.put(x), device.put(mask), None, out, p, shared=(columns + 63) // 32 * 32 * 4)
        y = x.astype(np.float64) * scale + mask
        e = np.exp(y - y.max(1, keepdims=True))
        return out.read(x.shape, f32), e / e.sum(1, keepdims=True), SUM
    return case


def softmax_grid(device, module, rows=2, columns=9000, blocks=8):
    x = data(26, rows, columns)
    p = np.zeros((), SOFTMAX)
    p["columns"], p["ne0"], p["scale"] = columns, (columns, rows, 1, 1), 1
    out = device.empty(x.nbytes)
    device.launch(module, "soft_max_f32_parallelize_cols", (blocks,), (256,), device.put(x), out, device.empty(blocks * 4),
                  device.empty(blocks * 4), p, cooperative=True)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return out.read(x.shape, f32), e / e.sum(1, keepdims=True), SUM


def transpose(device, module, rows=50, columns=40, matrices=3):
    x = data(27, matrices, rows, columns)
    out = device.empty(x.nbytes)
    # The sizes are the source's, outer first; this kernel reads none of the strides.
    device.launch(module, "cpy_scalar_transposeIfE", (2, 2, 1), (32, 8), device.put(x), out, i64(x.size), i64(rows), i64(columns),
                  *[i64(0)] * 12)
    return out.read((matrices, columns, rows), f32), x.transpose(0, 2, 1), 0


def to_half(device, module, count=500):
    x = data(28, count)
    out = device.empty(count * 2)
    device.launch(module, "cpy_scalar_contiguousIf6__half", (8,), (64,), device.put(x), out, i64(count))
    return out.read(count, np.float16), x.astype(np.float16), 0


def argmax(device, module, rows=3, columns=1000):
    x = data(29, rows, columns)
    out = device.empty(rows * 4)
    device.launch(module, "argmax_f32", (rows,), (1024,), device.put(x), out, i64(columns))
    return out.read(rows, i32), x.argmax(1), 0


def scale(device, module, count=700):
    x = data(30, count)
    out = device.empty(x.nbytes)
    device.launch(module, "scale_f32IfE", (3,), (256,), device.put(x), out, f32(1.5), f32(0.25), i64(count))
    return out.read(count, f32), x.astype(np.float64) * 1.5 + 0.25, ELEMENT


def sum_rows(device, module, rows=3, columns=1000):
    x = data(31, rows, columns)
    out = device.empty(rows * 4)
    device.launch(module, "reduce_rows_f32ILb0E", (rows,), (512,), device.put(x), out, i32(columns))
    return out.read(rows, f32), x.sum(1, dtype=np.float64), SUM


def diagonal_mask(device, module, rows=6, columns=40, past=3):
    x = data(32, rows, columns)
    out = device.empty(x.nbytes)
    device.launch(module, "diag_mask_inf_f32", (rows, 2), (1, 32), device.put(x), out, i32(columns), i32(rows), i32(past))
    hidden = np.arange(columns) > past + np.arange(rows)[:, None]
    got = out.read(x.shape, f32)
    return np.where(got < -1e38, 0, got) + 2.0 * (got < -1e38), np.where(hidden, 2.0, x), 0


def running_sum(pattern, block, shared):
    def case(device, module, rows=2, columns=2500):
        x = data(33, rows, columns)
        out, sizes, strides = device.empty(x.nbytes), [i64(v) for v in (columns, rows, 1, 1)], [i64(columns), i64(x.size), i64(x.size)]
        unused = [i64(1)] if shared else []
        device.launch(module, pattern, (rows,), (block,), device.put(x), out, *sizes, *unused, *strides, *unused, *strides, shared=shared)
        return out.read(x.shape, f32), x.cumsum(1, dtype=np.float64), SUM
    return case


def attention(device, module, tokens=3, heads=2, size=64, keys=256):
    """One query of 64 values at a time, keys and values as halves, a mask that lets a query see the keys up to its own."""
    q, k, v = data(34, tokens, heads, size), data(35, keys, heads, size).astype(np.float16), data(36, keys, heads, size).astype(np.float16)
    hidden = np.arange(keys) > keys - tokens + np.arange(tokens)[:, None]
    mask = np.where(hidden, -np.inf, 0).astype(np.float16)
    out, scale = device.empty(q.nbytes), size ** -0.5
    device.launch(module, r"flash_attn_ext_vecILi64ELi1EL9ggml_type1ELS0_1ELb0E", (tokens, 1, heads), (32, 4), device.put(q), device.put(k),
                  device.put(v), device.put(mask), None, None, out, None, f32(scale), f32(0), f32(1), f32(1), np.uint32(1), f32(0),
                  i32(size), np.array([0, 0, tokens], np.uint32), i32(heads), i32(1), i32(heads * size * 4), i32(size * 4), i32(q.nbytes),
                  i32(size), i32(keys), i32(heads), i32(1), i32(heads * size * 2), i32(size * 2), i64(k.nbytes),
                  i32(heads * size * 2), i32(size * 2), i64(v.nbytes), i32(tokens), i32(1), i32(1), i32(keys * 2), i32(mask.nbytes), i64(mask.nbytes))
    scores = np.einsum("thd,khd->thk", q.astype(np.float64), k.astype(np.float64)) * scale + mask[:, None]
    e = np.exp(scores - scores.max(2, keepdims=True))
    want = np.einsum("thk,khd->thd", e / e.sum(2, keepdims=True), v.astype(np.float64))
    return out.read(q.shape, f32), want, SUM


CASES = {
    "norm": ("norm", norm), "rms_norm": ("norm", rms_norm), "group_norm": ("norm", group_norm), "rope neox": ("rope", rope_neox),
    "softmax of 256 columns": ("softmax", softmax_of(r"soft_max_f32ILb1ELi256ELi256EfE", 256, 256)),
    "softmax": ("softmax", softmax_of(r"soft_max_f32ILb1ELi0ELi0EfE", 512, 300)), "softmax over the grid": ("softmax", softmax_grid),
    "cpy transpose": ("cpy", transpose), "cpy to f16": ("cpy", to_half), "argmax": ("argmax", argmax), "scale": ("scale", scale),
    "cumsum": ("cumsum", running_sum("cumsum_kernelIf", 256, (256 + 8 + 2) * 4)), "cumsum by cub": ("cumsum", running_sum("cumsum_cub_kernelIf", 256, 0)),
    "flash attention": ("fattn-vec-instance-f16-f16", attention), "sum_rows": ("sumrows", sum_rows), "diag_mask": ("diagmask", diagonal_mask),
}
