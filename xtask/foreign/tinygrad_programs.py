"""Programs written with tinygrad, which is unmodified, on its CUDA device, against numpy. A line of JSON for each."""
import json
import numpy as np
from tinygrad import Tensor

generator = np.random.default_rng(60)
x, y, image, filters = (generator.standard_normal(shape).astype(np.float32) for shape in ((33, 48), (48, 20), (1, 3, 12, 12), (4, 3, 3, 3)))


def say(name, got, want, tolerance):
    error = float(np.abs(np.asarray(got, np.float64) - want).max() / max(1, np.abs(want).max()))
    print(json.dumps({"case": name, "error": error, "tolerance": tolerance, "right": bool(error <= tolerance)}), flush=True)


def layernorm(v):
    v = v.astype(np.float64)
    return (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5)


def convolution(v, f):
    windows = np.lib.stride_tricks.sliding_window_view(v.astype(np.float64), f.shape[2:], axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, f)


e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
say("matmul", (Tensor(x) @ Tensor(y)).numpy(), x.astype(np.float64) @ y, 2e-6)
say("softmax", Tensor(x).softmax(1).numpy(), e / e.sum(1, keepdims=True), 2e-6)
say("layernorm", Tensor(x).layernorm().numpy(), layernorm(x), 4e-6)
say("argmax", Tensor(x).argmax(1).numpy(), x.argmax(1), 0)
say("sum", Tensor(x).sum().numpy(), x.sum(dtype=np.float64), 2e-6)
say("conv2d", Tensor(image).conv2d(Tensor(filters)).numpy(), convolution(image, filters), 2e-6)
