/* SPDX-License-Identifier: BSD-2-Clause */
/* The host keeps its training loop and its optimiser; libmsw adds a few lines to it.
 * callbacks.c lets libmsw run the loop. */
#include "must.h"
#include "toy.h"

enum { STEPS = 1000, UPDATE_EVERY = 100 };

static toy network;
static float weights_grad[TOY_WEIGHTS], weights_momentum[TOY_WEIGHTS];
static float bias_grad[TOY_OUTPUTS], bias_momentum[TOY_OUTPUTS];

static void host_step(void)
{
    toy_step(network.weights, weights_grad, weights_momentum, TOY_WEIGHTS);
    toy_step(network.bias, bias_grad, bias_momentum, TOY_OUTPUTS);
}

/* The weights are drawn towards Z, which has the structure, and Z follows them. */
static void train_admm(msw_admm *admm, msw_tensor *grad)
{
    for (int step = 1; step <= STEPS; step++) {
        toy_loss(&network, weights_grad, bias_grad);
        must(msw_admm_add_penalty(admm, 0, grad, 1), "penalty");
        host_step();
        if (step % UPDATE_EVERY == 0)
            must(msw_admm_update(admm), "update");
    }
}

/* Pruned weights stay 0, and a unified block trains its one magnitude. */
static double retrain(msw_admm *admm, msw_tensor *grad, msw_tensor *momentum)
{
    double loss = 0;

    must(msw_admm_freeze(admm), "freezing");
    must(msw_admm_mask_slot(admm, 0, momentum, MSW_SLOT_LINEAR), "momentum");
    for (int step = 1; step <= STEPS; step++) {
        loss = toy_loss(&network, weights_grad, bias_grad);
        must(msw_admm_mask_gradient(admm, 0, grad), "gradient");
        host_step();
        must(msw_admm_mask_weights(admm, 0), "weights");
    }
    return loss;
}

int main(void)
{
    const size_t shape[2] = {TOY_OUTPUTS, TOY_INPUTS};
    msw_context *ctx;
    msw_tensor *weights, *grad, *momentum;
    msw_plan *plan;
    msw_admm *admm;
    msw_unified *unified;
    msw_plan_options blocks;
    msw_admm_options options;
    msw_layer_options layer;
    double loss;

    toy_init(&network);
    must(msw_context_new(&ctx, NULL), "context");
    must(msw_tensor_borrow(&weights, ctx, network.weights, shape, NULL, 2), "weights");
    must(msw_tensor_borrow(&grad, ctx, weights_grad, shape, NULL, 2), "gradient");
    must(msw_tensor_borrow(&momentum, ctx, weights_momentum, shape, NULL, 2), "momentum");
    msw_plan_options_init(&blocks);
    blocks.block_rows = blocks.block_columns = 4;
    must(msw_plan_new(&plan, ctx, shape, 2, &blocks), "plan");
    msw_admm_options_init(&options);
    options.updates = STEPS / UPDATE_EVERY;
    must(msw_admm_new(&admm, ctx, &options), "solver");
    msw_layer_options_init(&layer);
    layer.prune = 0.5;
    layer.unify = 0.4;
    must(msw_admm_add_layer(admm, weights, plan, &layer), "layer");

    train_admm(admm, grad);
    loss = retrain(admm, grad, momentum);
    printf("loss after retraining: %.4f\n", loss);
    must(msw_admm_unify(&unified, admm, 0), "unified weights"); /* for files and kernels */

    msw_unified_free(unified);
    msw_admm_free(admm);
    msw_plan_free(plan);
    msw_tensor_free(momentum);
    msw_tensor_free(grad);
    msw_tensor_free(weights);
    msw_context_free(ctx);
    return loss < 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
