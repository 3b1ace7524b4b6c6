#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The transport form against zstd -19 and xz -9 of the same weights in other layouts.

file_bench.py FILE-BENCH: bits per weight of each, the best layout of each compressor
marked. FILE-BENCH is the program of tests/bench/file_bench.c.
file_bench.py FILE-BENCH DEEPCABAC: against DeepCABAC instead, by what deepcabac.sh built.
"""
import pathlib
import subprocess
import sys
import tempfile

# rows, columns, block, per cent pruned and unified, step
FAMILIES = [(512, 512, 8, 50, 50, 0.1), (512, 512, 4, 50, 40, 0.1), (512, 512, 8, 0, 80, 0.25),
            (512, 512, 4, 50, 0, 0.25), (1024, 1024, 8, 50, 40, 0.03), (1024, 1024, 8, 0, 0, 0.1)]
CABAC_FAMILIES = [(512, 512, 4, 0, 0, 0.25), (512, 512, 4, 50, 0, 0.25),
                  (512, 512, 4, 0, 80, 0.25), (512, 512, 4, 50, 50, 0.25),
                  (512, 512, 8, 0, 80, 0.25), (512, 512, 8, 50, 50, 0.25),
                  (512, 512, 8, 50, 50, 0.1), (512, 512, 8, 50, 50, 0.03)]
COMPRESSORS = {"zstd -19": ["zstd", "-19", "-c", "-q"], "xz -9": ["xz", "-9", "-c"]}


def compressed_size(command, path):
    return len(subprocess.run(command + [path], check=True, stdout=subprocess.PIPE).stdout)


def compare(program, family, directory):
    subprocess.run([program, directory, *map(str, family)], check=True)
    weights = family[0] * family[1]
    files = sorted(pathlib.Path(directory).iterdir())
    ours = next(f for f in files if f.name == "transport.msw").stat().st_size
    rows, columns, block, pruned, unified, step = family
    print(f"\n{rows}x{columns}, {block}x{block}, {pruned}/{unified}, step {step}: "
          f"transport.msw {8 * ours / weights:.3f} bits per weight")
    print(f"{'layout':24} {'as it is':>9}" + "".join(f" {name:>9}" for name in COMPRESSORS))
    best = {}
    for file in files:
        sizes = [compressed_size(command, file) for command in COMPRESSORS.values()]
        print(f"{file.name:24} {8 * file.stat().st_size / weights:9.3f}" +
              "".join(f" {8 * size / weights:9.3f}" for size in sizes))
        if file.name != "transport.msw":
            for name, size in zip(COMPRESSORS, sizes):
                best[name] = min(best.get(name, size), size)
    for name, size in best.items():
        print(f"best of {name}: {8 * size / weights:.3f}, {size / ours:.2f} times ours")


def compare_cabac(program, coder, family, directory):
    subprocess.run([program, directory, *map(str, family)], check=True)
    rows, columns, block, pruned, unified, step = family
    done = subprocess.run([coder, f"{directory}/int16 rows", str(columns)], check=True,
                          stdout=subprocess.PIPE, text=True)
    by_rows, by_blocks = map(int, done.stdout.split())
    ours = pathlib.Path(directory, "transport.msw").stat().st_size
    bits = [8 * size / (rows * columns) for size in (ours, by_rows, by_blocks)]
    print(f"| {rows}x{columns} | {block}x{block} | {pruned}/{unified} | {step} | " +
          " | ".join(f"{b:.3f}" for b in bits) + f" | {min(bits[1:]) / bits[0]:.2f} |")


def main(program, coder=None):
    for family in CABAC_FAMILIES if coder else FAMILIES:
        with tempfile.TemporaryDirectory() as directory:
            if coder:
                compare_cabac(program, coder, family, directory)
            else:
                compare(program, family, directory)


main(*sys.argv[1:])
