/* SPDX-License-Identifier: BSD-2-Clause */
#include "fann_layer.h"

#include <stdbool.h>

/* Every neuron reads all neurons of the layer before, the bias last, and nothing else. */
static bool is_dense(const struct fann *net, const struct fann_layer *layer)
{
    const struct fann_neuron *inputs = layer[-1].first_neuron;
    size_t row = (size_t)(layer[-1].last_neuron - inputs);
    size_t expected = layer->first_neuron->first_con;

    /* The last neuron of a layer is the bias of the next: it has no inputs. */
    const struct fann_neuron *bias = layer->last_neuron - 1;

    for (const struct fann_neuron *n = layer->first_neuron; n < bias; n++) {
        if (n->first_con != expected || n->last_con != expected + row)
            return false;
        for (size_t i = 0; i < row; i++)
            if (net->connections[n->first_con + i] != inputs + i)
                return false;
        expected += row;
    }
    return true;
}

const char *fann_layer_view(struct fann_layer_view *view, msw_context *ctx,
                            const struct fann *net, unsigned layer)
{
    const struct fann_layer *l = net->first_layer + layer;
    msw_status status;

    *view = (struct fann_layer_view){0};
    if (layer == 0 || l >= net->last_layer)
        return "the network has no such layer";
    if (net->network_type != FANN_NETTYPE_LAYER || !is_dense(net, l))
        return "the layer is not fully connected to the one before it";
    if (net->train_slopes == NULL)
        return "no slopes: call fann_clear_train_arrays() first";

    const size_t in = (size_t)(l[-1].last_neuron - l[-1].first_neuron) - 1;
    const size_t out = (size_t)(l->last_neuron - l->first_neuron) - 1;
    const size_t first = l->first_neuron->first_con;
    const size_t shape[2] = {out, in}, strides[2] = {in + 1, 1};

    status =
        msw_tensor_borrow(&view->weights, ctx, net->weights + first, shape, strides, 2);
    if (status == MSW_OK)
        status = msw_tensor_borrow(&view->weight_slopes, ctx, net->train_slopes + first,
                                   shape, strides, 2);
    if (status == MSW_OK)
        status = msw_tensor_borrow(&view->bias, ctx, net->weights + first + in, shape,
                                   strides, 1);
    if (status == MSW_OK)
        return NULL;
    fann_layer_view_free(view);
    return msw_status_text(status);
}

void fann_layer_view_free(struct fann_layer_view *view)
{
    msw_tensor_free(view->weights);
    msw_tensor_free(view->weight_slopes);
    msw_tensor_free(view->bias);
    *view = (struct fann_layer_view){0};
}
