"""Kernels of candle-kernels, launched as candle launches them, against the same formula in float64."""
import numpy as np
from numpy import float32 as f32, int32 as i32, uint32 as u32, uint64 as u64

EPSILON = 1e-5
# One rounding of float32, for elementwise functions a few of them, for sums of n terms with a tree of warps about log2(n) more.
ELEMENT, SUM = 4e-7, 2e-6


def data(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(f32)


def softmax(device, module, rows=3, columns=300):
    x = data(1, rows, columns)
    out = device.empty(x.nbytes)
    device.launch(module, "^softmax_f32$", (rows,), (1, 32), device.put(x), out, i32(columns))
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return out.read(x.shape, f32), e / e.sum(1, keepdims=True), SUM


def rmsnorm(device, module, rows=2, columns=1100, block=1024):
    x, weight = data(2, rows, columns), data(3, columns)
    out = device.empty(x.nbytes)
    device.launch(module, "^rmsnorm_f32$", (rows,), (block,), device.put(x), out, device.put(weight), i32(columns), i32(block), f32(EPSILON))
    y = x.astype(np.float64)
    return out.read(x.shape, f32), y / np.sqrt((y * y).mean(1, keepdims=True) + EPSILON) * weight, SUM


def layernorm(device, module, rows=2, columns=1100, block=1024):
    x, weight, bias = data(4, rows, columns), data(5, columns), data(6, columns)
    out = device.empty(x.nbytes)
    device.launch(module, "^layernorm_f32$", (rows,), (block,), device.put(x), out, device.put(weight), device.put(bias), i32(columns),
                  i32(block), f32(EPSILON))
    y = x.astype(np.float64)
    return out.read(x.shape, f32), (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + EPSILON) * weight + bias, SUM


def rope(device, module, heads=3, tokens=5, size=16):
    x, angle = data(7, heads, tokens, size), np.arange(tokens)[:, None] * 1e4 ** (-np.arange(size // 2) / (size // 2))
    cos, sin = np.cos(angle).astype(f32), np.sin(angle).astype(f32)
    out = device.empty(x.nbytes)
    # 120 pairs in two blocks: the last threads have nothing to do.
    device.launch(module, "^rope_f32$", (2,), (64,), device.put(x), device.put(cos), device.put(sin), out, u32(heads), u32(tokens * size),
                  u32(size), u32(0))
    a, b = np.split(x.astype(np.float64), 2, axis=2)
    return out.read(x.shape, f32), np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=2), ELEMENT


def argsort(device, module, rows=2, columns=100, padded=128):
    x = data(8, rows, columns)
    out = device.empty(rows * columns * 4)
    device.launch(module, "^asort_asc_f32$", (rows,), (padded,), device.put(x), out, i32(columns), i32(padded), shared=padded * 4)
    return out.read((rows, columns), u32), np.argsort(x, axis=1), 0


def unary(function, formula):
    def case(device, module, count=1000):
        x = data(9, count)
        out = device.empty(x.nbytes)
        device.launch(module, f"^u{function}_f32$", (4,), (256,), u64(count), u64(1), None, device.put(x), out)
        return out.read(x.shape, f32), formula(x.astype(np.float64)), ELEMENT
    return case


def sine(device, module, count=300):
    # Beyond 105,615 the argument is reduced with a table, through an array of the thread.
    x = data(13, count) * f32(1e7)
    out = device.empty(x.nbytes)
    device.launch(module, "^usin_f32$", (2,), (256,), u64(count), u64(1), None, device.put(x), out)
    return out.read(x.shape, f32), np.sin(x.astype(np.float64)), ELEMENT


def sum_by_atomics(device, module, rows=4, columns=500):
    x = data(14, rows, columns)
    # Sizes and strides, then size and stride of what is summed.
    info, out = device.put(np.array([rows, columns, columns, 1, columns, 1], u64)), device.put(np.zeros(rows, f32))
    device.launch(module, "^sum_f32$", (8,), (256,), u64(x.size), u64(2), u64(1), info, device.put(x), out)
    # One sum after another, in any order: each of 500 roundings is at most half a unit of a sum that stays below 100.
    return out.read(rows, f32), x.sum(1, dtype=np.float64), 500 * 2.0 ** -24 * 4


def blocks_of_q8_1(x):
    """Per block of 32 the scale and the sum as halves, then the quantized values; and what they stand for."""
    x = x.reshape(-1, 32)
    scale = np.abs(x).max(1, keepdims=True) / f32(127)
    y = x / np.where(scale == 0, 1, scale)
    q = (np.sign(y) * np.floor(np.abs(y) + 0.5)).astype(np.int8)
    block = np.zeros(len(x), [("scale", "f2"), ("sum", "f2"), ("q", "i1", 32)])
    block["scale"], block["sum"], block["q"] = scale[:, 0], x.sum(1, dtype=np.float64), q
    return block


def quantize_q8_1(device, module, rows=2, columns=200, padded=256):
    x = data(10, rows, columns)
    want = blocks_of_q8_1(np.pad(x, ((0, 0), (0, padded - columns))))
    out = device.empty(want.nbytes)
    device.launch(module, "^quantize_q8_1$", (1, rows), (256,), device.put(x), out, i32(columns), i32(padded))
    got = out.read(want.shape, want.dtype)
    # Quantized values are exact but for quotients beside a tie, where the last bit of the division decides; sums have a half's precision.
    flat = lambda b: np.concatenate([b["q"].ravel().astype(np.float64), b["scale"].astype(np.float64), b["sum"].astype(np.float64)])
    return flat(got), flat(want), 1e-3


def q4_0_matvec(device, module, rows=5, columns=512):
    generator = np.random.default_rng(11)
    weight = np.zeros((rows, columns // 32), [("scale", "f2"), ("q", "u1", 16)])
    weight["scale"], weight["q"] = generator.uniform(0.01, 0.1, weight.shape), generator.integers(0, 256, (*weight.shape, 16))
    x = blocks_of_q8_1(data(12, columns))
    out = device.empty(rows * 4)
    device.launch(module, "^mul_mat_vec_q4_0_q8_1_cuda1$", (rows,), (32, 4), device.put(weight), device.put(x), out, i32(columns), i32(rows),
                  i32(columns), i32(rows))
    # The kernel's own formula: scale of the weights times (sum of products times the scale of x, less 8 times the sum of x).
    q = np.concatenate([weight["q"] & 15, weight["q"] >> 4], axis=2).astype(np.float64)
    products = (q * x["q"].astype(np.float64)).sum(2)
    want = (weight["scale"].astype(np.float64) * (products * x["scale"].astype(np.float64) - 8 * x["sum"].astype(np.float64))).sum(1)
    return out.read(rows, f32), want, SUM


CASES = {
    "softmax": ("reduce", softmax), "rmsnorm": ("reduce", rmsnorm), "layernorm": ("reduce", layernorm), "rope": ("reduce", rope),
    "argsort": ("sort", argsort), "quantize_q8_1": ("quantized", quantize_q8_1), "q4_0 matvec": ("quantized", q4_0_matvec),
    "sum": ("reduce", sum_by_atomics), "sin": ("unary", sine), "exp": ("unary", unary("exp", np.exp)), "tanh": ("unary", unary("tanh", np.tanh)), "silu": ("unary", unary("silu", lambda x: x / (1 + np.exp(-x)))),
    "relu": ("unary", unary("relu", lambda x: np.maximum(x, 0))), "sqr": ("unary", unary("sqr", np.square)),
}
