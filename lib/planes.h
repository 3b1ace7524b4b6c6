/* SPDX-License-Identifier: BSD-2-Clause */
/* x as a convolution reads it.
 *
 * Padded, and for strides cut into phases, each channel becomes a few planes in which any
 * reduction element of neighbouring output pixels lies together: that of output (p, q) is
 * p rows and q floats behind that of output (0, 0). So there is no im2col matrix, whose
 * rows are the same numbers over and over.
 *
 * From NCHW, planes lie one after the other. From NHWC, which is transposed row by row,
 * the rows of all planes lie next to each other. */
#ifndef MSW_LIB_PLANES_H
#define MSW_LIB_PLANES_H

#include "transpose.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct msw__axis {
    size_t kernel, stride, dilation;
    size_t before, after;  /* padding; beyond the image, x is 0 however much is read */
} msw__axis;

/* Kernel positions after which strides and dilation meet again. */
size_t msw__axis_period(const msw__axis *a);

/* What one output pixel sees of the image. */
typedef struct msw__window {
    size_t channels;       /* of one group */
    msw__axis h, w;
    bool channels_fastest; /* order of the reduction: (h, w, i); else (i, h, w) */
} msw__window;

/* x, and the size of what becomes of it. */
typedef struct msw__images {
    const float *data;
    size_t channels;       /* of all groups */
    size_t height, width;
    size_t pitch;          /* pixels from one row to the next */
    size_t ld;             /* between channels (NCHW) or pixels (NHWC) */
    size_t batch_stride;
    size_t out_height, out_width;
    bool nhwc;
} msw__images;

/* Output rows of one image, or all of several images. */
typedef struct msw__band {
    size_t image, images;
    size_t row, rows;
} msw__band;

/* Where things lie in the planes of a band. */
typedef struct msw__planes {
    size_t phases_h, phases_w; /* planes of a channel */
    size_t height, width;      /* of a plane */
    size_t pitch, plane, channel, image; /* floats from one row, ... to the next */
    bool in_place;             /* x itself is as it should be */
} msw__planes;

/* Planes for bands of @p images images and @p rows rows each; false when their size
 * overflows. */
bool msw__planes_init(msw__planes *p, const msw__window *w, const msw__images *x,
                      size_t images, size_t rows);
/* Floats for that. */
size_t msw__planes_size(const msw__planes *p, size_t images);
/* place[k]: where reduction element k of output (0, 0) is, from where the planes of its
 * group begin. */
void msw__planes_elements(size_t *place, const msw__planes *p, const msw__window *w);
/* The part of x where planes that are in place begin. */
const float *msw__planes_place(const msw__planes *p, const msw__images *x,
                               const msw__band *band);

/* The work of filling the planes of a band falls into so many independent units. */
size_t msw__planes_units(const msw__planes *p, const msw__images *x,
                         const msw__band *band);
void msw__planes_fill(float *planes, const msw__planes *p, const msw__window *w,
                      const msw__images *x, const msw__band *band,
                      msw__transpose *transpose, size_t unit);

#endif /* MSW_LIB_PLANES_H */
