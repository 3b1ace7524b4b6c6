/* SPDX-License-Identifier: BSD-2-Clause */
/* The convolution handle, between conv.c (making and asking) and conv_run.c. */
#ifndef MSW_LIB_CONV_H
#define MSW_LIB_CONV_H

#include "internal.h"
#include "planes.h"

struct msw_conv {
    msw__refs refs;
    msw_context *ctx;
    msw_gemm **gemms;          /* one per group */
    size_t groups;
    size_t outputs;            /* of one group */
    size_t elements;           /* of the reduction */
    uint32_t image;            /* msw_image */
    msw__window window;
    msw__transpose *transpose;
};

/* Weights of one group of a grouped layer, as weights of their own; group.c. */
msw_status msw__unified_group(msw_unified **out, const msw_unified *u,
                              size_t group) MSW_NODISCARD;

#endif /* MSW_LIB_CONV_H */
