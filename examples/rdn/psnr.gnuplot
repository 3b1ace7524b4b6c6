# SPDX-License-Identifier: BSD-2-Clause
set terminal svg size 720,480 background "white"
set output "psnr.svg"
set xlabel "bytes of the file"
set ylabel "PSNR to the uncompressed network, dB"
set key bottom right
set grid
set xrange [0:*]
bicubic = real(system("awk '$1 == \"bicubic\" { print $4 }' table.txt"))
plot for [method in "admm fit statistics plain"] \
        sprintf("< grep '^%s-' table.txt | sort -n -k2", method) using 2:4 \
        with linespoints linewidth 2 title method, \
    bicubic with lines dashtype 2 linecolor "grey" title "bicubic"
