/* SPDX-License-Identifier: BSD-2-Clause */
/* Depthwise convolution on NHWC: channels lie together, and each has its own weights, so
 * that x is read as it is. */
#ifndef MSW_LIB_DEPTHWISE_H
#define MSW_LIB_DEPTHWISE_H

#include "internal.h"
#include "planes.h"

/* Neighbouring pixels of an output row that the same kernel positions reach. */
typedef struct msw__depthwise_unit {
    const float *x;          /* what the first of these reads for the first pixel */
    size_t step_x;           /* from one pixel to the next */
    size_t step_h, step_w;   /* from one kernel position to the next */
    size_t count_h, count_w; /* kernel positions */
    const float *weights;    /* of the first one, channel by channel */
    size_t row;              /* from there to the next kernel row */
    const float *bias;
    size_t channels;
    float *y;
    size_t step_y, pixels;
    float low, high;         /* the activation as a clamp */
    bool beta;
} msw__depthwise_unit;

typedef void msw__depthwise_kernel(const msw__depthwise_unit *u);
msw__depthwise_kernel msw__depthwise_c;

typedef struct msw__depthwise {
    msw__depthwise_kernel *kernel;
    size_t channels, positions;
    float *weights, *bias;
    float low, high;
} msw__depthwise;

/* Of a plan with as many groups as rows, and one channel in each. @p bias and
 * @p activation as in msw_conv_options. */
msw_status msw__depthwise_init(msw__depthwise *d, msw_context *ctx, const msw_unified *u,
                               const float *bias, uint32_t activation) MSW_NODISCARD;
void msw__depthwise_free(msw__depthwise *d, msw_context *ctx);
uint64_t msw__depthwise_bytes(const msw__depthwise *d);
const char *msw__depthwise_name(uint32_t cpu);
/* Output row @p row of image @p image, its pixels at y, y + step_y, ... */
void msw__depthwise_run(const msw__depthwise *d, const msw__window *w,
                        const msw__images *x, size_t image, size_t row, float *y,
                        size_t step_y, bool beta);

#endif /* MSW_LIB_DEPTHWISE_H */
