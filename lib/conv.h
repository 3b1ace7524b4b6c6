/* SPDX-License-Identifier: BSD-2-Clause */
/* The convolution handle, between conv.c (making), conv_transposed.c, conv_plan.c
 * (cutting a call into bands) and conv_run.c. */
#ifndef MSW_LIB_CONV_H
#define MSW_LIB_CONV_H

#include "depthwise.h"
#include "direct.h"
#include "gemm.h"
#include "internal.h"
#include "planes.h"

typedef enum msw__conv_kind {
    MSW__CONV_PRODUCTS, MSW__CONV_DIRECT, MSW__CONV_DEPTHWISE
} msw__conv_kind;

/* Where a call's x and y are cut for a part of a transposed convolution. */
typedef struct msw__conv_view {
    size_t crop_h, crop_w;     /* rows and columns of x that are passed over, */
    size_t row, column;        /* of y: the first, */
    size_t step_h, step_w;     /* and from each to the next */
} msw__conv_view;

/* Output rows and columns of a transposed convolution that the same kernel positions
 * reach: they are an ordinary convolution. */
typedef struct msw__conv_phase {
    msw_conv *conv;
    msw__conv_view view;
} msw__conv_phase;

struct msw_conv {
    msw__refs refs;
    msw_context *ctx;
    msw__conv_kind kind;
    msw_gemm **gemms;          /* one per group */
    msw__direct direct;
    msw__depthwise depthwise;
    const char *reason;        /* where there are no products */
    uint32_t placement;        /* the same, and of the weights */
    const char *placement_reason;
    size_t groups;
    size_t outputs;            /* of one group */
    size_t elements;           /* of the reduction */
    uint32_t image;            /* msw_image */
    msw__window window;
    msw__transpose *transpose;

    bool transposed;           /* kernels are in the phases */
    size_t output_pad_h, output_pad_w;
    float *bias;               /* of a transposed one; or NULL */
    float low, high;
    msw__conv_phase *phases;
    size_t phase_count;
};

/* A call, checked, with its strides filled in. */
typedef struct msw__conv_job {
    const msw_conv *conv;
    msw_conv_call call;
    msw__images x;
    size_t pixels;           /* of an image of y, as far as it is computed */
    /* Where these are in y: output (p, q) is pixel first + p row + q column. */
    size_t first, row, column;
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

/* conv.c. With packings in place of u where such options run on them. */
msw_status msw__conv_new(msw_conv **out, msw_context *ctx, const msw__weights *w,
                         const msw_conv_options *options) MSW_NODISCARD;
msw_status msw__conv_take_options(msw_conv_options *o, const msw_conv_options *options,
                                  const msw_plan *plan) MSW_NODISCARD;
/* Does it, with such options, run on packings, those of each group? */
bool msw__conv_runs_packings(const msw_plan *plan, const msw_conv_options *o);

/* Sizes and strides; x and y are not looked at. */
msw_status msw__conv_open(msw__conv_job *job, const msw_conv *c,
                          const msw_conv_call *call) MSW_NODISCARD;
/* The part of an open job that is a phase; false when there is none. */
bool msw__conv_open_phase(msw__conv_job *job, const msw__conv_job *whole,
                          const msw__conv_phase *phase);
msw_status msw__conv_plan(msw__conv_cut *cut, msw__conv_layout *layout,
                          const msw__conv_job *job) MSW_NODISCARD;
/* The workspace of an open job. */
msw_status msw__conv_space(size_t *out, const msw__conv_job *job) MSW_NODISCARD;
/* What counts against max_bytes. */
msw_status msw__conv_bytes(uint64_t *out, const msw_conv *c) MSW_NODISCARD;
/* A 1x1 convolution that reads x as it is. */
bool msw__conv_is_matrix(const msw_conv *c, const msw__conv_cut *cut);

/* conv_transposed.c. The phases of a handle whose geometry is set; and y where no kernel
 * position reaches. */
msw_status msw__conv_make_phases(msw_conv *c, const msw_unified *u,
                                 const msw_conv_options *o) MSW_NODISCARD;
void msw__conv_fill_gaps(const msw__conv_job *job);
/* Height or width of y; false when there is none. */
bool msw__conv_transposed_size(size_t *out, const msw__axis *a, size_t size,
                               size_t output_pad);

/* group.c. One group of a grouped layer as a layer of its own: its plan, its weights. */
msw_status msw__group_plan(msw_plan **out, const msw_plan *p, size_t group) MSW_NODISCARD;
msw_status msw__unified_group(msw_unified **out, const msw_unified *u,
                              size_t group) MSW_NODISCARD;

#endif /* MSW_LIB_CONV_H */
