#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# hosts.sh [HOST...]: install libmsw into a prefix, build against it the programs whose
# training code others wrote, one on several ranks, one for a network that was trained
# elsewhere, and one that compares ways to compress (fann, darknet, libtorch, mpi, rdn,
# compare; all when none is named), and run a short training of each on a small made-up
# data set. Installs what is missing. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/deps.sh
top=$PWD
work=$top/build/hosts
prefix=$work/prefix
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # threads would only wait
passed=0 failed=0

check() {
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok   $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        return 1
    fi
}

packages() {
    case $1 in
        fann) need_packages libfann-dev ;;
        darknet) need_packages darknet ;;
        libtorch | compare) need_packages libtorch-dev libopenblas0-pthread cmake ;;
        mpi) need_packages libopenmpi-dev openmpi-bin ;;
        rdn) need_packages libjansson-dev libpng-dev libjpeg-dev python3-numpy ;;
        *) echo "unknown host: $1" >&2; false ;;
    esac
}

install_library() {
    meson setup "$work/lib" "$top" --prefix="$prefix" --libdir=lib -Dbuildtype=release \
        -Dtests=disabled -Dexamples=disabled -Ddoc=disabled &&
        ninja -C "$work/lib" && meson install -C "$work/lib" --no-rebuild --quiet
}

# A bar in noise, easy to learn: what fails on it is the program.
make_data() {
    mkdir -p "$work/data" &&
        cc -std=c11 -O2 -o "$work/fake-data" examples/fashion/fake_data.c \
            examples/fashion/random.c -lz && "$work/fake-data" "$work/data"
}

# within LEAST NAME MOST FILE: every line "NAME figure" of the file, at least one.
within() {
    awk -v least="$1" -v name="$2" -v most="$3" '
        $1 == name { found = 1; bad = bad || $2 < least || $2 > most }
        END { exit !found || bad }' "$4" && return
    echo "$2 is not within $1 and $3:"
    cat "$4"
    return 1
}

# names WORD COMMAND...: fails, and says which file or what it is about.
names() {
    word=$1
    shift
    if said=$("$@" 2>&1); then
        echo "accepted: $*"
        return 1
    fi
    case $said in
        *"$word"*) ;;
        *) echo "does not name $word: $said"; return 1 ;;
    esac
}

# good FIGURES RESIDUAL BYTES: accuracy of each stage, whether ADMM came near its end, and
# the file against the network that it was made from.
good() {
    cat "$1"
    within 90 accuracy.dense 100 "$1" && within 0 residual "$2" "$1" &&
        within 80 accuracy.retrained 100 "$1" && within 80 accuracy.file 100 "$1" &&
        within 0 predictions.changed_by_saving 2 "$1" && within 1 bytes.file "$3" "$1"
}

fann_trains() {
    "$dir/fann-compress" "$dir/mlp" 4 4 3 "$work/data" >"$dir/figures" &&
        "$dir/fann-classify" "$dir/mlp" "$work/data" >>"$dir/figures" &&
        good "$dir/figures" 0.1 20000
}

test_fann() {
    check "fann: builds" make -C examples/fann "BUILD=$dir" || return
    check "fann: slopes" make -C examples/fann "BUILD=$dir" check
    check "fann: trains" fann_trains || return
    check "fann: data missing" names "$dir/none/train" \
        "$dir/fann-compress" "$dir/x" 1 1 1 "$dir/none"
    head -c 1000 "$dir/mlp.msw" >"$dir/damaged.msw"
    check "fann: file damaged" names damaged.msw "$dir/fann-classify" "$dir/damaged" \
        "$work/data"
}

darknet_trains() {
    "$dir/darknet-compress" "$cfg" "$dir/cnn" 2 10 2 "$work/data" >"$dir/figures" &&
        "$dir/darknet-classify" "$cfg" "$dir/cnn" "$work/data" >>"$dir/figures" &&
        good "$dir/figures" 0.1 9000
}

test_darknet() {
    cfg=$top/examples/darknet/lenet.cfg
    mkdir -p "$dir"
    check "darknet: builds" make -C examples/darknet "BUILD=$dir" || return
    check "darknet: updates" make -C examples/darknet "BUILD=$dir" check
    check "darknet: trains" darknet_trains || return
    check "darknet: data missing" names "$dir/none/train" \
        "$dir/darknet-compress" "$cfg" "$dir/x" 1 1 1 "$dir/none"
    check "darknet: configuration missing" names none.cfg \
        "$dir/darknet-compress" none.cfg "$dir/x" 1 1 1 "$work/data"
    sed 's/^filters=24/batch_normalize=1\n&/' "$cfg" >"$dir/norm.cfg"
    check "darknet: batch normalisation" names "batch normalisation" \
        "$dir/darknet-compress" "$dir/norm.cfg" "$dir/x" 1 1 1 "$work/data"
    head -c 1000 "$dir/cnn.msw" >"$dir/damaged.msw"
    check "darknet: file damaged" names damaged.msw \
        "$dir/darknet-classify" "$cfg" "$dir/damaged" "$work/data"
}

libtorch_builds() {
    cmake -S examples/libtorch -B "$dir" -G Ninja && ninja -C "$dir"
}

libtorch_trains() {
    "$dir/vgg-train" "$dir/vgg.pt" 6 1 "$work/data" &&
        "$dir/vgg-compress" "$dir/vgg.pt" "$dir/vgg" 40 4 1 "$work/data" \
            >"$dir/figures" &&
        "$dir/vgg-classify" "$dir/vgg" "$work/data" >>"$dir/figures" &&
        good "$dir/figures" 0.3 60000 &&
        within 90 accuracy.folded 100 "$dir/figures"
}

test_libtorch() {
    check "libtorch: builds" libtorch_builds || return
    check "libtorch: trains" libtorch_trains || return
    check "libtorch: data missing" names "$dir/none/train" \
        "$dir/vgg-train" "$dir/x.pt" 1 1 "$dir/none"
    check "libtorch: network missing" names none.pt \
        "$dir/vgg-compress" "$dir/none.pt" "$dir/x" 1 1 1 "$work/data"
    head -c 1000 "$dir/vgg.msw" >"$dir/damaged.msw"
    check "libtorch: file damaged" names damaged.msw "$dir/vgg-classify" "$dir/damaged" \
        "$work/data"
}

mpi_run() {
    n=$1
    shift
    mpirun --oversubscribe --allow-run-as-root -n "$n" "$dir/mpi-compress" "$@"
}

# One hash on all ranks, and as many lines of it.
same_hashes() {
    awk -v ranks="$1" '
        $1 ~ /^hash[.]/ { count++; bad = bad || (hash != "" && $2 != hash); hash = $2 }
        END { exit bad || count != ranks }' "$2"
}

mpi_trains() {
    mpi_run "$1" "$dir/lenet.msw" 3 12 3 "$work/data" >"$dir/figures" || return
    cat "$dir/figures"
    within 90 accuracy.dense 100 "$dir/figures" && within 0 residual 0.3 "$dir/figures" &&
        within 80 accuracy.retrained 100 "$dir/figures" && same_hashes "$1" "$dir/figures"
}

test_mpi() {
    check "mpi: builds" make -C examples/mpi "BUILD=$dir" || return
    for ranks in 1 2 4; do
        check "mpi: trains on $ranks" mpi_trains "$ranks"
        mv "$dir/lenet.msw" "$dir/lenet-$ranks.msw"
    done
    check "mpi: data missing" names "$dir/none/train" \
        mpi_run 2 "$dir/x" 1 1 1 "$dir/none"
}

# The network itself and pictures, where rdn.sh has fetched them; nothing is fetched here.
rdn_compresses() {
    there=examples/rdn/build
    model=$there/package/models/x2/model.json
    picture=$there/darknet/usr/share/darknet/data/dog.jpg
    "$dir/rdn-compress" "$model" "$dir/rdn.msw" 45000 plain 8 "$picture" \
        >"$dir/figures" || return
    cat "$dir/figures"
    within 44000 bytes.file 45000 "$dir/figures"
}

test_rdn() {
    check "rdn: builds" make -C examples/rdn "BUILD=$dir" || return
    check "rdn: reader, fit, forward pass" make -C examples/rdn "BUILD=$dir" check
    check "rdn: model missing" names none.json \
        "$dir/rdn-compress" "$dir/none.json" "$dir/x" 45000 plain 8 "$dir/none.jpg"
    if [ -f examples/rdn/build/package/models/x2/model.json ]; then
        check "rdn: compresses" rdn_compresses
    else
        echo "skip rdn: compresses (examples/rdn/rdn.sh fetches @upscalerjs/esrgan-slim)"
    fi
}

compare_builds() {
    cmake -S examples/compare -B "$dir" -G Ninja && ninja -C "$dir"
}

compare_trains() {
    "$dir/compare" --folder "$work/data" --save "$dir/dense" --epochs 6 >"$dir/figures" &&
        "$dir/compare" --folder "$work/data" --load "$dir/dense" --save "$dir/small" \
            --bytes 40000 --method "$1" --admm 6 --retraining 2 --blocks conv1=4x5 \
            --blocks conv2=1x4:.1 --blocks fc1=2x4:.1 --blocks fc2=1x4:.1 \
            >>"$dir/figures" || return
    cat "$dir/figures"
    within 80 accuracy.retrained 100 "$dir/figures" &&
        within 30000 bytes.file 41000 "$dir/figures"
}

test_compare() {
    check "compare: builds" compare_builds || return
    check "compare: ADMM" compare_trains admm
    check "compare: latent weights" compare_trains latent
    check "compare: no budget" names "--bytes" \
        "$dir/compare" --folder "$work/data" --save "$dir/x" --method latent
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

[ $# -gt 0 ] || set -- fann darknet libtorch mpi rdn compare
rm -rf "$work"
mkdir -p "$work"
check "packages" need_packages gcc g++ make cmake meson ninja-build pkg-config \
    libopenblas-dev zlib1g-dev || finish
check "libmsw" install_library || finish
check "data" make_data || finish
for host in "$@"; do
    dir=$work/$host
    check "$host: packages" packages "$host" && "test_$host"
done
finish
