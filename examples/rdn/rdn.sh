#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# rdn.sh [BUILD [SCALE]]: fetch the network of @upscalerjs/esrgan-slim that enlarges SCALE
# times (2) and photographs of three Debian packages, compress it in all ways to several
# sizes, and leave BUILD/table.txt, BUILD/psnr.svg and BUILD/picture.png.
#
# The network is compressed by the pictures of one package and reported on those of two
# others. The settings were chosen on a fourth one's (python3-skimage).
set -eu
cd "$(dirname "$0")"
mkdir -p "${1:-build}"
build=$(cd "${1:-build}" && pwd)
scale=${2:-2}
make "BUILD=$build"
cp psnr.gnuplot "$build"
cd "$build"

[ -d package ] || tar xzf "$(npm pack --silent @upscalerjs/esrgan-slim@1.0.0)"
model=package/models/x$scale/model.json
for name in darknet python3-sklearn python-matplotlib-data; do # only unpacked
    [ -d "$name" ] || { apt-get download "$name" && dpkg-deb -x "$name"_*.deb "$name"; }
done
training=darknet/usr/share/darknet/data
sklearn=python3-sklearn/usr/lib/python3/dist-packages/sklearn/datasets/images
matplotlib=python-matplotlib-data/usr/share/matplotlib/mpl-data/sample_data

for bytes in 20000 30000 45000 60000 90000; do
    for method in plain statistics fit admm; do
        ./rdn-compress "$model" "$method-$bytes.msw" "$bytes" "$method" 48 \
            "$training/dog.jpg" "$training/eagle.jpg" "$training/giraffe.jpg" \
            "$training/horses.jpg" "$training/kite.jpg" "$training/person.jpg"
    done
done
./rdn-evaluate "$model" picture.png plain-*.msw statistics-*.msw fit-*.msw admm-*.msw -- \
    "$sklearn/flower.jpg" "$sklearn/china.jpg" "$matplotlib/grace_hopper.jpg" |
    tee table.txt
gnuplot psnr.gnuplot
