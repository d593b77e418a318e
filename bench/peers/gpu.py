#!/usr/bin/env python3
"""Times PyTorch on this machine's GPU at what `cargo bench -p tinyllm-kernels --bench gpu` times: the same shapes, by f16.

    bench/peers/gpu.py > torch.json

prints an array of rows whose `bench` and `case` are those of the bench's rows. Matmuls are F.linear with f16 weights (two
bytes each, where W8A16 has one), attention is scaled_dot_product_attention over whole caches of equal length, the norm is
F.rms_norm from f16 to f16. The GPU's limits are measured too: a copy, and a matmul of 8192 x 8192 matrices. It
needs torch with CUDA, and 8 GB of the GPU's memory.
"""

import json
import statistics
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"nothing is measured: {error}")

# As in tinyllm-kernels/benches/gpu: the bytes that launches go over, launches of a graph, and replays.
TOTAL_BYTES, GEMM_TOTAL_BYTES = 1 << 30, 256 << 20
FEWEST_LAUNCHES, MOST_SETS = 4, 4096
WARM_UP, SAMPLES = 3, 20

GEMV_SHAPES = ((4096, 4096), (11008, 4096), (4096, 11008), (14336, 4096), (576, 576), (1536, 576))
GEMV_BATCHES = (1, 2, 4, 8)
GEMM_SHAPES = ((4096, 4096), (11008, 4096))
GEMM_ROWS = (16, 64, 128, 512, 2048)
# Heads of the cache, query heads of each, their size.
ATTENTION_HEADS = ((8, 4, 128), (32, 1, 128), (3, 3, 64))
LENGTHS, BATCHES = (1024, 8192), (1, 16, 64)
# Cases with larger caches are left out.
MOST_CACHE_BYTES = 6 << 30
NORM_ROWS, NORM_COLUMNS = (1, 512, 4096), 4096


def random(*shape):
    """Numbers in [-1, 1), as the bench has them: a GPU draws less power over zeros, and is faster."""
    return torch.rand(shape, dtype=torch.float16, device="cuda") * 2 - 1


def sets_of(size_bytes, total_bytes=TOTAL_BYTES):
    return min(-(-total_bytes // size_bytes), MOST_SETS)


def times(launches, run):
    """Microseconds of one of the `launches` that `run` puts on the stream: the median, and what the middle half spans."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(WARM_UP + SAMPLES + 1)]
    events[0].record()
    for event in events[1:]:
        run()
        event.record()
    torch.cuda.synchronize()
    pairs = zip(events[WARM_UP:], events[WARM_UP + 1:])
    samples = [start.elapsed_time(end) * 1e3 / launches for start, end in pairs]
    low, middle, high = statistics.quantiles(samples, n=4)
    return middle, high - low


def graph_times(sets, launch):
    """The same of `launch(0)`, `launch(1)`, ... captured in a graph."""
    # What libraries set up at their first call cannot be captured.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            result = launch(0)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    if not torch.isfinite(result).all():
        raise ArithmeticError("results are no numbers")
    launches = max(sets, FEWEST_LAUNCHES)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(launches):
            launch(index % sets)
    return times(launches, graph.replay)


class Rows:
    """The rows of a run, each told on standard error as it comes."""

    def __init__(self):
        self.rows = []
        self.contender = f"torch {torch.__version__}"

    def add(self, bench, case, measured, moved_bytes, operations=0):
        microseconds, spread = measured
        self.rows.append({
            "bench": bench, "case": case, "contender": self.contender,
            "microseconds": microseconds, "spread_microseconds": spread,
            "bytes": moved_bytes, "operations": operations,
            "bytes_per_s": moved_bytes / microseconds * 1e6, "operations_per_s": operations / microseconds * 1e6,
        })
        print(f"{bench:<18} {case:<42} {microseconds:>10.2f} µs ± {spread:<7.2f} "
              f"{moved_bytes / microseconds / 1e3:>6.0f} GB/s {operations / microseconds / 1e6:>7.2f} TFLOP/s",
              file=sys.stderr, flush=True)


def ceilings(rows):
    count = 1 << 29
    source, target = random(count), torch.empty(count, dtype=torch.float16, device="cuda")

    def copies():
        for _ in range(4):
            target.copy_(source)

    rows.add("copy", "1 GiB", times(4, copies), 4 * count)
    del source, target
    a, b = random(8192, 8192), random(8192, 8192)
    rows.add("matmul", "8192x8192x8192", graph_times(1, lambda _: a @ b), 3 * 2 * 8192**2, 2 * 8192**3)


def matmuls(rows, bench, shapes, batches, total_bytes, name):
    for n, k in shapes:
        sets = sets_of(2 * n * k, total_bytes)
        weights = [random(n, k) / 100 for _ in range(sets)]
        for m in batches:
            x = random(m, k)
            measured = graph_times(sets, lambda index: F.linear(x, weights[index]))
            rows.add(bench, f"{n}x{k} {name} {m}", measured, 2 * (n * k + m * k + m * n), 2 * m * n * k)


def attention(rows):
    for kv_heads, heads_per_kv, head_dim in ATTENTION_HEADS:
        for length in LENGTHS:
            for batch in BATCHES:
                shape = (batch, kv_heads, length, head_dim)
                half = 2 * batch * kv_heads * length * head_dim
                if 2 * half > MOST_CACHE_BYTES:
                    continue
                sets = sets_of(2 * half)
                keys, values = ([random(*shape) for _ in range(sets)] for _ in range(2))
                q = random(batch, kv_heads * heads_per_kv, 1, head_dim)
                grouped = {"enable_gqa": True} if heads_per_kv > 1 else {}
                measured = graph_times(sets, lambda index: F.scaled_dot_product_attention(
                    q, keys[index], values[index], **grouped))
                heads = f"{kv_heads}x{heads_per_kv} heads of {head_dim}"
                rows.add("attention_decode", f"{heads}, {length} tokens, batch {batch}", measured,
                         2 * half + 2 * 2 * q.numel(), 2 * half * heads_per_kv)
                del keys, values
                torch.cuda.empty_cache()


def norms(rows):
    weight = random(NORM_COLUMNS)
    for count in NORM_ROWS:
        elements = count * NORM_COLUMNS
        sets = sets_of(4 * elements)
        x = random(sets, count, NORM_COLUMNS)
        outputs = [None] * sets

        def launch(index):
            outputs[index] = F.rms_norm(x[index], (NORM_COLUMNS,), weight, 1e-5)
            return outputs[index]

        measured = graph_times(sets, launch)
        rows.add("rms_norm", f"{count}x{NORM_COLUMNS}", measured, 4 * elements + 2 * NORM_COLUMNS, 4 * elements)


def main():
    if not torch.cuda.is_available():
        sys.exit("nothing is measured: torch finds no GPU")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", file=sys.stderr)
    torch.manual_seed(0)
    rows = Rows()
    with torch.inference_mode():
        ceilings(rows)
        torch.cuda.empty_cache()
        matmuls(rows, "w8a16_gemv", GEMV_SHAPES, GEMV_BATCHES, TOTAL_BYTES, "batch")
        torch.cuda.empty_cache()
        matmuls(rows, "w8a16_gemm", GEMM_SHAPES, GEMM_ROWS, GEMM_TOTAL_BYTES, "m")
        torch.cuda.empty_cache()
        attention(rows)
        norms(rows)
    print(json.dumps(rows.rows, indent=1))


if __name__ == "__main__":
    main()
