#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# results.jsonl as a table in Markdown, on stdout, and as a picture, doc/results.svg.
#
#   examples/results/report.sh
#   RESULTS=/tmp/new.jsonl SVG=/tmp/new.svg examples/results/report.sh
set -eu
cd "$(dirname "$0")/../.."
. tools/deps.sh
: "${RESULTS:=examples/results/results.jsonl}" "${SVG:=doc/results.svg}"
need_packages gnuplot-nox

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tab=$(printf '\t')
LC_ALL=C awk -f examples/results/lines.awk -f examples/results/mean.awk "$RESULTS" |
    LC_ALL=C sort -t "$tab" -k1,1r -k6,6nr >"$work/means"

awk -F '\t' '
    function spread(mean, deviation) {
        return $3 > 1 ? mean " ± " deviation : mean
    }
    BEGIN {
        print "| method | setting | epochs | seeds | bytes | | accuracy, % | loss, points | us, dense | us, libmsw | faster |"
        print "|---|---|---|---|---|---|---|---|---|---|---|"
    }
    {
        printf "| %s | %s | %d | %d | %d | 1/%.1f | %s | %s |", $1, $2, $4, $3, $6,
            $5 / $6, spread($7, $8), spread($9, $10)
        if ($12 > 0)
            printf " %.1f | %.1f | %.2f x |\n", $11, $12, $11 / $12
        else
            print " | | |"
    }' "$work/means"

# One curve for each way to compress; dense networks are horizontal lines.
awk -F '\t' -v folder="$work" '
    $1 == "dense" { print $4 "\t" $7 >(folder "/lines"); next }
    !($1 in seen) { seen[$1] = 1; print $1 >(folder "/methods") }
    { print $6 / 1000, $7, $8 >(folder "/" $1 ".dat") }' "$work/means"
{
    cat <<'END'
set terminal svg size 760,480 font "sans-serif,13" background "white"
set logscale x 2
set xtics (10, 20, 40, 80, 160)
set xrange [8:160]
set offsets 0, 0, 0.1, 0.1
set xlabel "kilobytes of the file (weights as 32-bit floats: 1724)"
set ylabel "test accuracy, %"
set key bottom right
set grid
END
    echo "plot \\"
    while IFS=$tab read -r epochs accuracy; do
        echo "    $accuracy title 'dense, $epochs epochs' with lines dashtype 2, \\"
    done <"$work/lines"
    while read -r method; do
        echo "    '$work/$method.dat' title '$method' with yerrorlines pointtype 7 pointsize 0.5, \\"
    done <"$work/methods"
} | sed '$s/, \\$//' >"$work/plot"
gnuplot "$work/plot" >"$SVG"
