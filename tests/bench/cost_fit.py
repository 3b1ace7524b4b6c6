#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Constants of the cost model (lib/x86/gemm.c) from what cost-bench wrote: non-negative
least squares of relative errors.

    cost_fit.py counts.txt [-v]    -v: each product, measured and by both models
"""
import sys


NAMES = ["lookup", "unpaired", "product", "record", "visit", "build", "load", "store",
         "panel"]
SWEEPS = 20000


def solve(a):
    """min |a x - 1|, x >= 0, a coordinate at a time."""
    places = range(len(a[0]))
    products = [[sum(row[i] * row[j] for row in a) for j in places] for i in places]
    sums = [sum(row[i] for row in a) for i in places]
    x = [0.0] * len(places)
    for _ in range(SWEEPS):
        for i in places:
            if products[i][i] > 0:
                slope = sums[i] - sum(products[i][j] * x[j] for j in places)
                x[i] = max(0.0, x[i] + slope / products[i][i])
    return x


def share_within(errors, share):
    """The deviation from 1 that this share of them keeps within."""
    return sorted(abs(e - 1) for e in errors)[int(share * (len(errors) - 1))]


rows = [line.split() for line in open(sys.argv[1])]
for n in sorted({int(r[3]) for r in rows}, reverse=True):
    mine = [r for r in rows if int(r[3]) == n]
    measured = [float(r[12]) for r in mine]
    counts = [[float(v) for v in r[4:12]] + [1.0] for r in mine]
    x = solve([[c / m for c in row] for row, m in zip(counts, measured)])
    fitted = [sum(c * v for c, v in zip(row, x)) / m for row, m in zip(counts, measured)]
    old = [float(r[13]) / m for r, m in zip(mine, measured)]
    print(f"N={n}: " + ", ".join(f".{k} = {v:.3g}" for k, v in zip(NAMES, x) if v > 1e-9))
    for name, e in (("before", old), ("fitted", fitted)):
        print(f"  predicted / measured, {name}: {min(e):.2f} to {max(e):.2f}, "
              f"90 % within {share_within(e, 0.9):.0%}, half within "
              f"{share_within(e, 0.5):.0%}")
    if "-v" in sys.argv:
        for r, o, e in sorted(zip(mine, old, fitted), key=lambda t: t[2]):
            print("   ", *r[:4], r[12], f"{o:.2f} {e:.2f}")
