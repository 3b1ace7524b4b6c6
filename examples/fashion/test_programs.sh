#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# test_programs.sh FOLDER: fake-data, fashion-train, -compress and -evaluate of that
# folder, one after the other on a small data set; both ways of driving the solver.
set -eu
programs=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_WAIT_POLICY=passive # the machine may be busy

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

# at_least FIGURE NUMBER FILE
at_least() {
    awk -v name="$1" -v least="$2" '$1 == name { found = $2 >= least } END { exit !found }' \
        "$3" || fail "$1 is below $2 in $(cat "$3")"
}

# The loss before and after filters and units are put in another order.
same_loss() {
    awk '$1 == "order.loss" { off = $2 - $3; same = off * off <= 1e-6 * $2 * $2 }
         END { exit !same }' "$1" || fail "another network: $(cat "$1")"
}

"$programs/fake-data" .
"$programs/fashion-train" --data . --epochs 3 --save dense.f32 >figures
at_least accuracy.dense 90 figures

for way in '' --callbacks --order --latent '--latent --callbacks'; do
    # shellcheck disable=SC2086 # none when empty, or two arguments
    "$programs/fashion-compress" $way --data . --load dense.f32 --save small.msw \
        --save-dense small.f32 --picture weights.png --admm-epochs 5 --retrain-epochs 4 \
        --updates 25 --fc1 fc1:4x8:0.4:0.5 --conv2 conv2:5x4:0.2:0.7 >figures
    at_least accuracy.retrained 80 figures
    [ "$way" != --order ] || same_loss figures
    "$programs/fashion-evaluate" --data . --file small.msw --dense small.f32 --rounds 1 >figures
    at_least accuracy.file 80 figures
    [ "$(wc -c <small.msw)" -lt 150000 ] || fail "the file is too large"
done

# Each program refuses what it cannot read, and says which file it is.
refuses() {
    ! "$@" >output 2>&1 || fail "accepted: $*"
    grep -q broken output || fail "does not name the file: $(cat output)"
}
head -c 1000 small.f32 >broken.f32
refuses "$programs/fashion-compress" --data . --load broken.f32
head -c 1000 small.msw >broken.msw
refuses "$programs/fashion-evaluate" --data . --file broken.msw --dense small.f32
mkdir broken
refuses "$programs/fashion-train" --data broken
