/* SPDX-License-Identifier: BSD-2-Clause */
/* A layer of a FANN network as libmsw sees it, in place. */
#ifndef FANN_LAYER_H
#define FANN_LAYER_H

#include <floatfann.h>
#include <msw/msw.h>

/*
 * FANN keeps one row for each neuron, its inputs and then its bias:
 *
 *     w00 w01 ... bias0  w10 w11 ... bias1  ...
 *
 * so the weights are a matrix [out][in] with rows in + 1 apart, and the biases an array
 * with the same stride. Slopes lie like the weights.
 */
struct fann_layer_view {
    msw_tensor *weights, *weight_slopes; /* [out][in] */
    msw_tensor *bias;                    /* [out] */
};

/*
 * Layer 1 is the first after the inputs. Returns NULL, or what is wrong: the network must
 * be made by fann_create_standard(), without shortcuts or missing connections, and the
 * slopes allocated by fann_clear_train_arrays().
 */
const char *fann_layer_view(struct fann_layer_view *view, msw_context *ctx,
                            const struct fann *net, unsigned layer);
void fann_layer_view_free(struct fann_layer_view *view);

#endif
