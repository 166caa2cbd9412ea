"""Minimum time of the matrix products of a training step on one core: ``python -m benchmarks.floor``.

The lower bound in docs/performance.md counts these products for SPiKE on lastfm. Each is computed many times on one
thread, and the median CPU time is used, which other programs on the machine affect little.
"""

from __future__ import annotations

import statistics
import time

import torch

PRODUCTS = {"projections": 0.93e9, "queries": 0.4e9, "matching": 0.42e9}
"""Numbers of floating-point operations of a step on lastfm, forward and backward."""
SHAPES = ((6092, 128, 128), (6092, 128, 64), (7951, 64, 64), (128, 7951, 128))
"""Shapes (m, k, n) of the products [m, k] x [k, n]; the lower bound uses the speed of the first."""
REPEATS = 200


def gflops(rows: int, inner: int, columns: int) -> float:
    """Return the speed of a product in GFLOP/s: the median of `REPEATS` after a warm-up."""
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    out = torch.empty(rows, columns)
    seconds = []
    for _ in range(REPEATS + 10):
        start = time.process_time()
        torch.mm(left, right, out=out)
        seconds.append(time.process_time() - start)
    return 2 * rows * inner * columns / statistics.median(seconds[10:]) / 1e9


def main() -> None:
    """Print the speed of each product, and the time of all products of a step at the first one's speed."""
    torch.set_num_threads(1)
    speeds = [gflops(*shape) for shape in SHAPES]
    for (rows, inner, columns), speed in zip(SHAPES, speeds, strict=True):
        print(f"[{rows}, {inner}] x [{inner}, {columns}]: {speed:.0f} GFLOP/s")
    for name, operations in PRODUCTS.items():
        print(f"{name}: {operations / speeds[0] / 1e6:.1f} ms")
    print(f"all products of a step: {sum(PRODUCTS.values()) / speeds[0] / 1e6:.1f} ms")


if __name__ == "__main__":
    main()
