#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Constants of the narrow kernels' cost model (lib/x86/gemm.c) from what cost-bench wrote:
non-negative least squares of relative errors. Wants NumPy.

    cost_fit.py counts.txt [-v]    -v: each product, measured and by both models
"""
import sys
import numpy as np


NAMES = ["lookup", "unpaired", "product", "record", "visit", "build", "load", "store",
         "panel"]

def solve(a, b):
    """min |a x - b|, x >= 0 (Lawson and Hanson)."""
    n = a.shape[1]
    x, free = np.zeros(n), np.zeros(n, bool)
    for _ in range(10 * n):
        gradient = a.T @ (b - a @ x)
        gradient[free] = 0
        if free.all() or gradient.max() < 1e-9:
            break
        free[gradient.argmax()] = True
        while True:
            s = np.zeros(n)
            s[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            if s[free].min() > 0:
                break
            less = free & (s <= 0)
            step = (x[less] / (x[less] - s[less])).min()
            x += step * (s - x)
            free &= x > 1e-12
            x[~free] = 0
        x = s
    return x

rows = [line.split() for line in open(sys.argv[1])]
for n in sorted({int(r[3]) for r in rows}, reverse=True):
    mine = [r for r in rows if int(r[3]) == n]
    counts = np.array([[float(v) for v in r[4:12]] + [1] for r in mine])
    measured = np.array([float(r[12]) for r in mine])
    old = np.array([float(r[13]) for r in mine]) / measured
    x = solve(counts / measured[:, None], np.ones(len(mine)))
    error = counts @ x / measured
    print(f"N={n}: " + ", ".join(f".{k} = {v:.3g}" for k, v in zip(NAMES, x) if v))
    for name, e in (("before", old), ("fitted", error)):
        print(f"  predicted / measured, {name}: {e.min():.2f} to {e.max():.2f}, "
              f"90 % within {np.quantile(abs(e - 1), 0.9):.0%}")
    if "-v" in sys.argv:
        for r, o, e in sorted(zip(mine, old, error), key=lambda t: t[2]):
            print("   ", *r[:4], r[12], f"{o:.2f} {e:.2f}")
