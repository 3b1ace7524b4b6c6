/* SPDX-License-Identifier: BSD-2-Clause */
/* The im2col matrix of a convolution, some output pixels at a time. */
#ifndef MSW_LIB_IM2COL_H
#define MSW_LIB_IM2COL_H

#include <msw/base.h>
#include <stdbool.h>

/* What one output pixel sees of the image. */
typedef struct msw__window {
    size_t channels;           /* of one group */
    size_t kernel_h, kernel_w;
    size_t stride_h, stride_w, dilation_h, dilation_w;
    size_t pad_top, pad_left;
    bool channels_fastest;     /* order of the reduction: (h, w, i); else (i, h, w) */
} msw__window;

/* The images of one group of channels, and the size of what becomes of them. */
typedef struct msw__images {
    const float *data;
    size_t height, width;
    size_t ld;                 /* between channels (NCHW) or pixels (NHWC) */
    size_t batch_stride;
    size_t out_height, out_width;
} msw__images;

/* Output pixels are numbered through the batch: image, row, column.
 * NCHW: row k of dst is reduction element k of pixels first ... first + count - 1.
 * NHWC: row j of dst holds all reduction elements of pixel first + j.
 * Rows of dst are ld apart; what lies between them is not touched. */
void msw__im2col_nchw(float *dst, size_t ld, const msw__window *w, const msw__images *x,
                      size_t first, size_t count);
void msw__im2col_nhwc(float *dst, size_t ld, const msw__window *w, const msw__images *x,
                      size_t first, size_t count);

#endif /* MSW_LIB_IM2COL_H */
