/* SPDX-License-Identifier: BSD-2-Clause */
/* The im2col matrix of a convolution, as a dense rival needs it. */
#ifndef MSW_BENCH_IM2COL_H
#define MSW_BENCH_IM2COL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one output pixel sees of the image. */
typedef struct im2col_window {
    size_t channels;           /* of one group */
    size_t kernel_h, kernel_w;
    size_t stride_h, stride_w, dilation_h, dilation_w;
    size_t pad_top, pad_left;
    bool channels_fastest;     /* order of the reduction: (h, w, i); else (i, h, w) */
} im2col_window;

/* The images of one group of channels, and the size of what becomes of them. */
typedef struct im2col_images {
    const float *data;
    size_t height, width;
    size_t ld;                 /* between channels (NCHW) or pixels (NHWC) */
    size_t batch_stride;
    size_t out_height, out_width;
} im2col_images;

/* Output pixels are numbered through the batch: image, row, column.
 * NCHW: row k of dst is reduction element k of pixels first ... first + count - 1.
 * NHWC: row j of dst holds all reduction elements of pixel first + j.
 * Rows of dst are ld apart; what lies between them is not touched. */
void im2col_nchw(float *dst, size_t ld, const im2col_window *w, const im2col_images *x,
                      size_t first, size_t count);
void im2col_nhwc(float *dst, size_t ld, const im2col_window *w, const im2col_images *x,
                      size_t first, size_t count);

#endif /* MSW_BENCH_IM2COL_H */
