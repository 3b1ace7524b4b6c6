#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The measurements and pictures of doc/performance.md, in about three minutes. Wants an
# otherwise idle machine.
#
#   tests/bench/report.sh                  into build/performance and doc/*.svg
#   OUT=/tmp/p SVG=/tmp tests/bench/report.sh
#   OUT=/tmp/p SVG=/tmp tests/bench/report.sh plot     only draws what is in OUT
set -eu
cd "$(dirname "$0")/../.."
. tools/deps.sh
: "${OUT:=build/performance}" "${SVG:=doc}" "${BUILD:=build/bench}"
need_packages gcc g++ meson ninja-build pkg-config libcmocka-dev libopenblas-dev zlib1g-dev \
    libdnnl-dev libxsmm-dev librsb-dev gnuplot-nox >&2

# Cells M K N RxC PRUNED/UNIFIED over the number of columns.
over_columns() {
    for mix in "$@"; do
        for n in 1 2 3 4 6 8 12 16 24 32 48 64 128 256 512 1024; do
            echo "512 512 $n $mix"
        done
    done
}

measure() {
    unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
    [ -d "$BUILD" ] || meson setup "$BUILD" --buildtype=release >&2
    ninja -C "$BUILD" tests/msw-bench >&2
    bench="$BUILD/tests/msw-bench"
    mkdir -p "$OUT"
    "$bench" --seconds 0.1 --goals | tee "$OUT/goals.txt" >&2
    # shellcheck disable=SC2046 # a list of words
    "$bench" --json --hot --seconds 0.05 $(over_columns "8x8 0/100" "4x4 0/100" \
        "8x8 50/40" "8x8 75/20" "8x8 90/0") >"$OUT/columns.jsonl"
    for n in 1 256; do
        "$bench" --json --hot --seconds 0.05 --breakeven 512 512 $n >"$OUT/breakeven$n.jsonl"
    done
    rm -f "$OUT/grid.jsonl"
    "$bench" --seconds 0.03 --grid "$OUT/grid.jsonl" | tee "$OUT/grid.txt" >&2
}

# An awk program over JSON lines, in which field(NAME) is one value of a line.
lines() {
    awk 'function field(name,    text) {
             text = $0
             if (!sub(".*\"" name "\":\"?", "", text))
                 return ""
             sub("[\",}].*", "", text)
             return text
         }
         '"$1"
}

draw() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    lines '{ name = field("block") "_" field("mix"); gsub("/", "-", name)
             print field("N"), field("ratio") >("'"$work"'/columns_" name) }' \
        <"$OUT/columns.jsonl"
    for n in 1 256; do
        lines '{ split(field("mix"), mix, "/"); rest = 100 - mix[1]
                 if (mix[2] == 0 || mix[2] == rest || 2 * mix[2] == rest)
                     print mix[1], field("ratio") \
                         >("'"$work"'/even'$n'_" (mix[2] == 0 ? 0 : mix[2] == rest ? 100 : 50)) }' \
            <"$OUT/breakeven$n.jsonl"
    done
    head='set terminal svg size 760,420 font "sans-serif,13" background "white"
        set grid
        set ylabel "times faster than the fastest dense library"
        set style data linespoints
        set pointsize 0.5'
    gnuplot >"$SVG/performance_columns.svg" <<END
$head
set logscale x 2
set logscale y
set yrange [1:40]
set ytics (1, 2, 3, 4, 6, 8, 12, 16)
set xlabel "columns of activations, N (512 x 512 weights)"
set key top right
plot 1 title "" with lines linecolor "gray", \
    "$work/columns_8x8_0-100-0" title "8x8 blocks, all unified", \
    "$work/columns_4x4_0-100-0" title "4x4 blocks, all unified", \
    "$work/columns_8x8_50-40-10" title "8x8, 50 % pruned, 40 % unified", \
    "$work/columns_8x8_75-20-5" title "8x8, 75 % pruned, 20 % unified", \
    "$work/columns_8x8_90-0-10" title "8x8, 90 % pruned, rest free"
END
    gnuplot >"$SVG/performance_breakeven.svg" <<END
$head
set logscale y
set yrange [0.7:24]
set ytics (1, 2, 3, 4, 6, 8, 12, 16, 20)
set xlabel "pruned blocks, % (512 x 512 weights, 8x8 blocks)"
set key top left
plot 1 title "" with lines linecolor "gray", \
    "$work/even256_100" title "N = 256, the rest unified", \
    "$work/even256_50" title "N = 256, half of the rest", \
    "$work/even256_0" title "N = 256, the rest free", \
    "$work/even1_100" title "N = 1, the rest unified" dashtype 2, \
    "$work/even1_50" title "N = 1, half of the rest" dashtype 2, \
    "$work/even1_0" title "N = 1, the rest free" dashtype 2
END
}

[ "${1:-}" = plot ] || measure
draw
