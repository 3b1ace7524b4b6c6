/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolution by oneDNN 2, as a rival in conv_bench.c. */
#ifndef MSW_BENCH_DNNL_RIVAL_H
#define MSW_BENCH_DNNL_RIVAL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct dnnl_rival dnnl_rival;

typedef struct dnnl_shape {
    size_t batch, groups, outputs, channels; /* outputs and channels of all groups */
    size_t height, width, out_height, out_width, kernel, stride, pad, dilation;
    bool nhwc;
    bool plain; /* x and y stay in that layout; otherwise as oneDNN likes it best */
} dnnl_shape;

/* NULL where oneDNN has no such convolution. Weights are OIHW, put into oneDNN's own
 * layout here, and so is x unless it is plain. */
dnnl_rival *dnnl_rival_new(const dnnl_shape *s, float *weights, float *bias, float *x,
                           float *y);
void dnnl_rival_run(dnnl_rival *r); /* y is read when it is plain */
void dnnl_rival_free(dnnl_rival *r);

#endif /* MSW_BENCH_DNNL_RIVAL_H */
