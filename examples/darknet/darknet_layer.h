/* SPDX-License-Identifier: BSD-2-Clause */
/* A layer of a darknet network as libmsw sees it, in place. */
#ifndef DARKNET_LAYER_H
#define DARKNET_LAYER_H

#include <darknet.h>
#include <msw/msw.h>

/* Convolutions are [out][in / groups][size][size], connected layers [out][in]; updates
 * lie like the weights. */
struct darknet_layer_view {
    msw_tensor *weights, *weight_updates;
    msw_tensor *bias; /* [out] */
    msw_plan_options blocks; /* kind of weights and groups are filled in */
};

/* NULL, or what is wrong with the layer. */
const char *darknet_layer_view(struct darknet_layer_view *view, msw_context *ctx,
                               const layer *l);
void darknet_layer_view_free(struct darknet_layer_view *view);

/* A plan for it, in such blocks. */
msw_status darknet_layer_plan(msw_plan **plan, msw_context *ctx,
                              const struct darknet_layer_view *view, uint32_t block_rows,
                              uint32_t block_columns);

#endif
