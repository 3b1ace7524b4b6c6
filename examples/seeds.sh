#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The demo's recipe with three seeds: mean and standard deviation of what it prints, and
# of dense networks that are trained for as many epochs as the compressed ones in all.
# Goes on where it was stopped.
#
#   examples/seeds.sh
#   SEEDS="1 2 3 4 5" examples/seeds.sh
set -eu
cd "$(dirname "$0")/.."
: "${RESULTS:=build/seeds.jsonl}" "${WORK:=build/seeds}"
export RESULTS WORK
mkdir -p "$WORK"
SETTINGS=examples/results/demo.txt examples/results/series.sh
LC_ALL=C awk -f examples/results/lines.awk -f examples/results/seeds.awk "$RESULTS"
