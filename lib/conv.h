/* SPDX-License-Identifier: BSD-2-Clause */
/* The convolution handle, between conv.c (making), conv_plan.c (cutting a call into bands)
 * and conv_run.c. */
#ifndef MSW_LIB_CONV_H
#define MSW_LIB_CONV_H

#include "direct.h"
#include "internal.h"
#include "planes.h"

struct msw_conv {
    msw__refs refs;
    msw_context *ctx;
    bool is_direct;
    msw__direct direct;        /* or else: */
    msw_gemm **gemms;          /* one per group */
    const char *reason;        /* for a direct one */
    size_t groups;
    size_t outputs;            /* of one group */
    size_t elements;           /* of the reduction */
    uint32_t image;            /* msw_image */
    msw__window window;
    msw__transpose *transpose;
};

/* A call, checked, with its strides filled in. */
typedef struct msw__conv_job {
    const msw_conv *conv;
    msw_conv_call call;
    msw__images x;
    size_t pixels;           /* of an image of y */
} msw__conv_job;

/* How it is cut into bands: some output rows of an image, or some images. */
typedef struct msw__conv_cut {
    size_t images, rows;     /* of a band; the last one may have fewer */
    bool copy_y;             /* y of a band is put together, then copied */
    msw__planes planes;
} msw__conv_cut;

/* Its workspace: offsets in bytes. */
typedef struct msw__conv_layout {
    size_t places;           /* of the reduction elements in the planes */
    size_t planes;
    size_t matrix;           /* X, where a product wants it as a matrix */
    size_t y, y_ld;          /* all outputs of a band */
    size_t gemm, gemm_bytes;
    size_t bytes;
} msw__conv_layout;

/* Sizes and strides; x and y are not looked at. */
msw_status msw__conv_open(msw__conv_job *job, const msw_conv *c,
                          const msw_conv_call *call) MSW_NODISCARD;
msw_status msw__conv_plan(msw__conv_cut *cut, msw__conv_layout *layout,
                          const msw__conv_job *job) MSW_NODISCARD;
/* A 1x1 convolution that reads x as it is. */
bool msw__conv_is_matrix(const msw_conv *c, const msw__conv_cut *cut);

/* Weights of one group of a grouped layer, as weights of their own; group.c. */
msw_status msw__unified_group(msw_unified **out, const msw_unified *u,
                              size_t group) MSW_NODISCARD;

#endif /* MSW_LIB_CONV_H */
