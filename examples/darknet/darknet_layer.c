/* SPDX-License-Identifier: BSD-2-Clause */
#include "darknet_layer.h"

static const char *why_not(const layer *l)
{
    if (l->type != CONVOLUTIONAL && l->type != CONNECTED)
        return "neither convolutional nor connected";
    if (l->batch_normalize)
        return "batch normalisation must be folded first (msw_conv_fold_batch_norm)";
    if (l->binary || l->xnor)
        return "its weights are copies of others (binary, xnor)";
    return NULL;
}

/* A connected layer has nweights 0. */
static uint32_t shape_of(size_t shape[4], const layer *l)
{
    const size_t groups = l->groups > 1 ? (size_t)l->groups : 1;

    if (l->type == CONNECTED) {
        shape[0] = (size_t)l->outputs;
        shape[1] = (size_t)l->inputs;
        return 2;
    }
    shape[0] = (size_t)l->n;
    shape[1] = (size_t)l->c / groups;
    shape[2] = shape[3] = (size_t)l->size;
    return 4;
}

const char *darknet_layer_view(struct darknet_layer_view *view, msw_context *ctx,
                               const layer *l)
{
    const char *wrong = why_not(l);
    size_t shape[4];
    uint32_t rank;
    msw_status status;

    *view = (struct darknet_layer_view){0};
    if (wrong != NULL)
        return wrong;
    rank = shape_of(shape, l);
    msw_plan_options_init(&view->blocks);
    view->blocks.weights = rank == 4 ? MSW_WEIGHTS_OIHW : MSW_WEIGHTS_OI;
    view->blocks.groups = rank == 4 ? (uint32_t)l->groups : 0;
    status = msw_tensor_borrow(&view->weights, ctx, l->weights, shape, NULL, rank);
    if (status == MSW_OK)
        status = msw_tensor_borrow(&view->weight_updates, ctx, l->weight_updates, shape,
                                   NULL, rank);
    if (status == MSW_OK)
        status = msw_tensor_borrow(&view->bias, ctx, l->biases, shape, NULL, 1);
    if (status == MSW_OK)
        return NULL;
    darknet_layer_view_free(view);
    return msw_status_text(status);
}

void darknet_layer_view_free(struct darknet_layer_view *view)
{
    msw_tensor_free(view->weights);
    msw_tensor_free(view->weight_updates);
    msw_tensor_free(view->bias);
    *view = (struct darknet_layer_view){0};
}

msw_status darknet_layer_plan(msw_plan **plan, msw_context *ctx,
                              const struct darknet_layer_view *view, uint32_t block_rows,
                              uint32_t block_columns)
{
    const uint32_t rank = msw_tensor_rank(view->weights);
    msw_plan_options blocks = view->blocks;
    size_t shape[4];

    for (uint32_t i = 0; i < rank; i++)
        shape[i] = msw_tensor_dim(view->weights, i);
    blocks.block_rows = block_rows;
    blocks.block_columns = block_columns;
    return msw_plan_new(plan, ctx, shape, rank, &blocks);
}
