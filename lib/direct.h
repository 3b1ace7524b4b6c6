/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolution without tables: each weight that is not 0 times the plane of x that it
 * meets. For groups with few outputs, which do not repay building tables (depthwise
 * layers), and for weights of which little is left. */
#ifndef MSW_LIB_DIRECT_H
#define MSW_LIB_DIRECT_H

#include "internal.h"

/* Some outputs of one group in one image. */
typedef struct msw__direct_unit {
    const float *x;          /* the planes of the group (planes.h) */
    const size_t *place;     /* of each reduction element */
    const uint32_t *element; /* of each tap */
    const float *weights;    /* `rows` for each tap */
    const float *bias;
    size_t taps;
    uint32_t rows;           /* 1, 2 or 4 outputs are computed, */
    uint32_t outputs;        /* and so many of them stored */
    size_t height, width, pitch; /* output rows; pitch of a plane */
    float *y;
    size_t ldy;              /* between outputs; rows of an output lie together */
    float low, high;         /* the activation as a clamp */
    bool beta;
} msw__direct_unit;

/* Bitwise the same from kernels of any width, but not from the one in C. */
typedef void msw__direct_kernel(const msw__direct_unit *u);
msw__direct_kernel msw__direct_c;

typedef struct msw__direct {
    msw__direct_kernel *kernel, *half; /* half: of half the width; or NULL */
    size_t lanes;            /* of kernel */
    size_t groups, outputs;  /* outputs of a group */
    uint32_t rows;           /* of a block */
    size_t blocks;           /* of all groups */
    size_t *start;           /* first tap of each block, and the end */
    uint32_t *element;
    float *weights, *bias;
    float low, high;
} msw__direct;

/* Weight of reduction element @p k for output @p o, in a dense copy of the tensor. */
float msw__dense_weight(const msw_plan *p, const float *dense, size_t o, size_t k);

/* An activation as a clamp. */
void msw__activation_range(float *low, float *high, uint32_t activation);

/* @p bias and @p activation as in msw_conv_options. */
msw_status msw__direct_init(msw__direct *d, msw_context *ctx, const msw_unified *u,
                            const float *bias, uint32_t activation) MSW_NODISCARD;
/* Also of one that is all zero. */
void msw__direct_free(msw__direct *d, msw_context *ctx);
uint64_t msw__direct_bytes(const msw__direct *d);
const char *msw__direct_name(uint32_t cpu); /* of the kernel */
/* Seconds for an output pixel of all groups, by a model of measured costs. */
double msw__direct_cost(const msw_unified *u);
/* Block @p block into @p u, of which the place, the extent and the planes and outputs of
 * the block's group are filled in. */
void msw__direct_run(const msw__direct *d, size_t block, msw__direct_unit *u);

#endif /* MSW_LIB_DIRECT_H */
