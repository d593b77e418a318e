"""Programs written with numba-cuda, which is unmodified: a product of matrices through shared memory, a reduction, atomics, and a warp's
shuffles, against numpy. A line of JSON for each."""
import json
import numpy as np
from numba import cuda, float32

TILE = 16


@cuda.jit
def product(a, b, c):
    left, right = cuda.shared.array((TILE, TILE), float32), cuda.shared.array((TILE, TILE), float32)
    column, row = cuda.grid(2)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for k in range((a.shape[1] + TILE - 1) // TILE):
        left[y, x] = a[row, k * TILE + x] if row < a.shape[0] and k * TILE + x < a.shape[1] else 0
        right[y, x] = b[k * TILE + y, column] if k * TILE + y < b.shape[0] and column < b.shape[1] else 0
        cuda.syncthreads()
        for i in range(TILE): total += left[y, i] * right[i, x]
        cuda.syncthreads()
    if row < c.shape[0] and column < c.shape[1]: c[row, column] = total


@cuda.jit
def histogram(values, bins):
    i = cuda.grid(1)
    if i < values.size: cuda.atomic.add(bins, values[i], 1)


@cuda.jit
def sums_of_warps(values, out):
    lane, value = cuda.laneid, values[cuda.grid(1)]
    for offset in (16, 8, 4, 2, 1): value += cuda.shfl_down_sync(0xFFFFFFFF, value, offset)
    if lane == 0: out[cuda.grid(1) // 32] = value


@cuda.reduce
def total(a, b):
    return a + b


def say(name, got, want, tolerance):
    error = float(np.abs(np.asarray(got, np.float64) - want).max() / max(1, np.abs(want).max()))
    print(json.dumps({"case": name, "error": error, "tolerance": tolerance, "right": error <= tolerance}), flush=True)


generator = np.random.default_rng(50)
a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((40, 50), (50, 30)))
c = cuda.device_array((40, 30), np.float32)
product[(2, 3), (TILE, TILE)](cuda.to_device(a), cuda.to_device(b), c)
say("matrix product", c.copy_to_host(), a.astype(np.float64) @ b, 2e-6)

values = generator.integers(0, 10, 1000).astype(np.int32)
bins = cuda.to_device(np.zeros(10, np.int32))
histogram[8, 128](cuda.to_device(values), bins)
say("histogram", bins.copy_to_host(), np.bincount(values, minlength=10), 0)

x = generator.standard_normal(256).astype(np.float32)
out = cuda.device_array(8, np.float32)
sums_of_warps[2, 128](cuda.to_device(x), out)
say("sums of warps", out.copy_to_host(), x.reshape(8, 32).sum(1, dtype=np.float64), 2e-6)

numbers = generator.integers(0, 100, 5000).astype(np.int64)
say("reduce", total(cuda.to_device(numbers)), numbers.sum(), 0)
