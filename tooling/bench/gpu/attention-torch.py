"""Times PyTorch's scaled_dot_product_attention for the works that attention.ts names: argument 1 is a JSON list of them.

Prints one JSON object: PyTorch's version, and the median seconds of one launch by name.
"""

import json
import re
import sys
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

HEADS, KV_HEADS, DIM = 32, 8, 64
ROUNDS = 5


def rows(batch, heads, length, dtype):
    return torch.randn(batch, heads, length, DIM, device="cuda", dtype=dtype)


def attend(q, k, v, causal):
    return scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


def median_seconds(launch, repeats, captures=True):
    """Short launches are captured as a graph, so that Python's own time does not count."""
    for _ in range(3):
        launch()
    torch.cuda.synchronize()
    run, count = launch, 1
    if captures:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(repeats):
                launch()
        run, count = graph.replay, repeats
    # Cards that waited take a while to raise their clocks.
    warm = time.perf_counter() + 0.5
    while time.perf_counter() < warm:
        run()
        torch.cuda.synchronize()
    times = []
    for _ in range(ROUNDS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(5):
            run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000 / (5 * count))
    return sorted(times)[ROUNDS // 2]


def seconds_of(name):
    dtype = torch.float16 if " f16" in name else torch.float32
    if match := re.fullmatch(r"prefill (\d+) f\d+", name):
        length = int(match[1])
        q, k, v = (rows(1, heads, length, dtype) for heads in (HEADS, KV_HEADS, KV_HEADS))
        with torch.no_grad():
            return median_seconds(lambda: attend(q, k, v, True), 4)
    if match := re.fullmatch(r"prefill (\d+) texts of (\d+) f\d+", name):
        # Texts of one length are a batch.
        batch, length = int(match[1]), int(match[2])
        q, k, v = (rows(batch, heads, length, dtype) for heads in (HEADS, KV_HEADS, KV_HEADS))
        with torch.no_grad():
            return median_seconds(lambda: attend(q, k, v, True), 4)
    if match := re.fullmatch(r"backward (\d+) f\d+", name):
        length = int(match[1])
        q, k, v = (rows(1, heads, length, dtype).requires_grad_() for heads in (HEADS, KV_HEADS, KV_HEADS))
        out = attend(q, k, v, True)
        gradient = torch.randn_like(out)
        return median_seconds(
            lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True), 1, captures=False
        )
    if match := re.fullmatch(r"decode (\d+) x (\d+) f\d+", name):
        batch, length = int(match[1]), int(match[2])
        bytes_each = batch * 2 * KV_HEADS * length * DIM * dtype.itemsize
        turns = min(8, max(1, -(-(2**27) // bytes_each)))
        q = rows(batch, HEADS, 1, dtype)
        caches = [tuple(rows(batch, KV_HEADS, length, dtype) for _ in range(2)) for _ in range(turns)]

        def launch():
            for k, v in caches:
                attend(q, k, v, False)

        with torch.no_grad():
            return median_seconds(launch, max(1, round(24 / turns))) / turns
    return None


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name in json.loads(sys.argv[1]):
        try:
            seconds = seconds_of(name)
        except Exception as error:  # a kernel that this card or version lacks
            print(f"PyTorch, {name}: {error}", file=sys.stderr)
            continue
        if seconds is not None:
            found[name] = seconds
    print(json.dumps({"version": torch.__version__, "seconds": found}))


main()
