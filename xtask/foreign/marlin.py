"""Marlin's matrix product of halves with 4-bit weights, its work split over blocks that hand on sums under locks, against float64."""
import numpy as np
from numpy import float16 as f16, int32 as i32
from candle import data

THREADS, SHARED = 256, 96 << 10
# Where a 16 x 64 strip of weights lies in Marlin's format: a thread of a warp has the elements of its mma fragments, four tiles on end.
LANE = np.arange(32)
ROWS = (2 * (LANE % 4))[:, None] + [0, 1, 8, 9]


def order_of_weights():
    """Position in the format to position in four 16 x 16 tiles, one after another."""
    order = []
    for lane in range(32):
        for tile in range(4):
            fragment = [256 * tile + 16 * row + lane // 4 + 8 * half for half in (0, 1) for row in ROWS[lane]]
            order += [fragment[i] for i in (0, 2, 4, 6, 1, 3, 5, 7)]
    return np.array(order)


def order_of_scales(grouped):
    if grouped: return np.array([i + 8 * j for i in range(8) for j in range(8)])
    return np.array([2 * i + j for i in range(4) for j in (0, 1, 8, 9, 16, 17, 24, 25)])


def packed(q):
    """4-bit weights [k, n] in Marlin's format, eight in a word."""
    k, n = q.shape
    order = order_of_weights()
    tiles = q.reshape(k // 16, 16, n // 16, 16).transpose(0, 2, 1, 3).reshape(-1, len(order))[:, order].reshape(-1, 8)
    return (tiles.astype(np.uint32) << (4 * np.arange(8, dtype=np.uint32))).sum(1, dtype=np.uint32)


def product(m, k, n, group, kernel, blocks):
    def case(device, module):
        generator = np.random.default_rng(m + k + n)
        q = generator.integers(0, 16, (k, n))
        groups = k // group if group else 1
        scale = generator.uniform(0.004, 0.02, (groups, n)).astype(f16)
        order = order_of_scales(bool(group))
        scales = scale.reshape(-1, len(order))[:, order]
        x = data(40, m, k).astype(f16)
        out, locks = device.empty(m * n * 2), device.put(np.zeros(n // 128 * 16, i32))
        device.launch(module, kernel, (blocks,), (THREADS,), device.put(x), device.put(packed(q)), out, device.put(scales), i32(m), i32(n),
                      i32(k), locks, shared=SHARED)
        got = out.read((m, n), f16)
        assert not locks.read(n // 128 * 16, i32).any(), "a lock is left taken"
        weight = ((q - 8).reshape(groups, -1, n) * scale.astype(np.float64)[:, None]).reshape(k, n)
        # Sums are handed on in half precision, at most `blocks` times, after weights that are rounded to halves: 2^-11 each.
        return got, x.astype(np.float64) @ weight, (blocks + 2) * 2.0 ** -11
    return case


CASES = {
    "16 x 256 x 256, groups of 128": ("marlin_cuda_kernel", product(16, 256, 256, 128, r"ILi256ELi1ELi8ELi8ELi4ELi8E", 3)),
    "13 x 512 x 256, one scale a column": ("marlin_cuda_kernel", product(13, 512, 256, 0, r"ILi256ELi1ELi8ELi8ELi4ELin1E", 5)),
    "33 x 512 x 256, groups of 128": ("marlin_cuda_kernel", product(33, 512, 256, 128, r"ILi256ELi3ELi16ELi4ELi4ELi8E", 3)),
}
