#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# From real images to a small, fast network, in one command:
#
#   examples/demo.sh
#
# Trains LeNet 20-50-500 on Fashion-MNIST, brings its weights into unified-block form
# by ADMM, retrains, saves; then a second program reloads the file, classifies the test
# images and times itself against the same network on a dense BLAS. Takes some minutes.
# Results: a table, build/demo.json, build/demo.msw (the file), build/demo.png.
#
#   SEED=2 examples/demo.sh     another run
#   DEMO=build/demo-2 ...       other files: build/demo-2.json and so on
set -eu
cd "$(dirname "$0")/.."
. tools/deps.sh
: "${SEED:=1}" "${DEMO:=build/demo}" "${BUILD:=build/demo}"

need_packages gcc meson ninja-build pkg-config libopenblas-dev zlib1g-dev \
    dataset-fashion-mnist

if [ ! -f "$BUILD/build.ninja" ]; then
    meson setup "$BUILD" --buildtype=release -Dexamples=enabled -Dtests=disabled \
        -Ddoc=disabled
fi
ninja -C "$BUILD" --quiet
programs=$BUILD/examples/fashion
export OMP_WAIT_POLICY=passive # waiting threads leave a busy machine to others

# Each program prints figures, one "name value" a line, and talks on stderr.
figures=$DEMO.figures
started=$(date +%s)
"$programs/fashion-train" --seed "$SEED" --save "$DEMO.dense.f32" >"$figures"
"$programs/fashion-compress" --seed "$SEED" --load "$DEMO.dense.f32" --save "$DEMO.msw" \
    --save-dense "$DEMO.pruned.f32" --picture "$DEMO.png" >>"$figures"
# Both variables make OpenBLAS slower than it is, and the comparison unfair.
env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE \
    "$programs/fashion-evaluate" --file "$DEMO.msw" --dense "$DEMO.pruned.f32" >>"$figures"

bytes() { wc -c <"$1" | tr -d ' '; }
gzipped() { gzip -9 -n -c "$1" | wc -c | tr -d ' '; }
cat >>"$figures" <<END
bytes.f32 $(bytes "$DEMO.dense.f32")
bytes.f32_gzip $(gzipped "$DEMO.dense.f32")
bytes.pruned_gzip $(gzipped "$DEMO.pruned.f32")
bytes.file $(bytes "$DEMO.msw")
seed $SEED
seconds $(($(date +%s) - started))
END
awk '{ f[$1] = $2 } END { print "bits_per_weight", 32 * f["bytes.file"] / f["bytes.f32"] }' \
    "$figures" >"$figures.bits"
cat "$figures.bits" >>"$figures"
rm "$figures.bits"

LC_ALL=C sort "$figures" | awk -f examples/json.awk >"$DEMO.json"
awk -f examples/table.awk "$figures"
echo
echo "Files: $DEMO.json $DEMO.msw $DEMO.png"
