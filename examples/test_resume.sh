#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# test_resume.sh PROGRAM: a training that stopped at some steps, in both phases, and one that
# is killed whenever it is, end as one that never stopped.
set -eu
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

# ends_alike WHAT [STEP]: goes on from there, and comes to the same end.
ends_alike() {
    "$program" file >again
    grep -q "after step ${2:-}" again || fail "$1: $(cat again), not after step $2"
    [ "$(tail -n 1 again)" = "$expected" ] || fail "$1: $(cat again), not $expected"
    [ ! -e file ] || fail "the file is still there"
}

expected=$("$program" file | tail -n 1)
for steps in "1" "149" "150 310" "1000" "310 777 1000 1049" "1055 1999"; do
    for step in $steps; do
        ! "$program" file "$step" >again || fail "did not stop at step $step"
    done
    ends_alike "stopped at $steps" $((step / 150 * 150))
done
for delay in 0.01 0.02 0.04 0.08; do
    timeout -s KILL "$delay" "$program" file >/dev/null || true
done
[ ! -e file ] || ends_alike "killed"

"$program" file 500 || true
head -c 1000 file >damaged
! "$program" damaged >again 2>&1 || fail "goes on from a damaged file"
[ "$(wc -c <damaged)" -eq 1000 ] || fail "wrote over a damaged file"
