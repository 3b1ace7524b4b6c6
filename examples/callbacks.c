/* SPDX-License-Identifier: BSD-2-Clause */
/* libmsw runs the training loop and calls back for loss and gradients. own_loop.c does
 * the same in the host's own loop. */
#include "must.h"
#include "toy.h"

static toy host_network;

/* Of the next mini-batch. The weights handed in are those of host_network itself. */
static int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    (void)weights;
    (void)layer_count;
    *loss = toy_loss(user, grads[0], grads[1]); /* as the layers were added */
    return 0; /* > 0 ends the run cleanly, < 0 makes it fail */
}

static int progress(const msw_admm_progress *p, void *user)
{
    (void)user;
    printf("%s %4u updates: loss %.4f\n",
           p->phase == MSW_PHASE_FROZEN ? "retraining" : "ADMM      ", p->updates, p->loss);
    return 0;
}

int main(void)
{
    const size_t shape[2] = {TOY_OUTPUTS, TOY_INPUTS}, bias_shape[1] = {TOY_OUTPUTS};
    msw_context *ctx;
    msw_tensor *weights, *bias;
    msw_plan *plan;
    msw_admm *admm;
    msw_unified *unified;
    msw_verify_info found;
    msw_plan_options blocks;
    msw_admm_options options;
    msw_layer_options layer;
    msw_host host;

    toy_init(&host_network);
    must(msw_context_new(&ctx, NULL), "context");
    must(msw_tensor_borrow(&weights, ctx, host_network.weights, shape, NULL, 2), "weights");
    must(msw_tensor_borrow(&bias, ctx, host_network.bias, bias_shape, NULL, 1), "bias");
    msw_plan_options_init(&blocks);
    blocks.block_rows = blocks.block_columns = 4;
    must(msw_plan_new(&plan, ctx, shape, 2, &blocks), "plan");

    msw_admm_options_init(&options);
    options.updates = 10;       /* of Z and U, ... */
    options.update_every = 100; /* ... one after so many mini-batches */
    must(msw_admm_new(&admm, ctx, &options), "solver");
    msw_layer_options_init(&layer);
    layer.prune = 0.5; /* shares of the blocks */
    layer.unify = 0.4;
    must(msw_admm_add_layer(admm, weights, plan, &layer), "layer");
    must(msw_admm_add_layer(admm, bias, NULL, NULL), "bias"); /* only trained */

    msw_host_init(&host);
    host.user = &host_network;
    host.loss_gradient = loss_gradient;
    host.progress = progress; /* host.step would be the host's own optimiser */
    must(msw_admm_run(admm, &host, 1000), "ADMM");
    must(msw_admm_freeze(admm), "freezing");
    must(msw_admm_run(admm, &host, 1000), "retraining");

    /* What files and kernels are made of. The weights have the same structure. */
    must(msw_admm_unify(&unified, admm, 0), "unified weights");
    msw_verify_info_init(&found);
    must(msw_unified_verify(&found, unified, weights), "check");
    printf("%llu blocks pruned, %llu unified, %llu wrong\n",
           (unsigned long long)found.pruned_blocks, (unsigned long long)found.unified_blocks,
           (unsigned long long)found.violations);

    msw_unified_free(unified);
    msw_admm_free(admm);
    msw_plan_free(plan);
    msw_tensor_free(weights);
    msw_tensor_free(bias);
    msw_context_free(ctx);
    return found.violations ? EXIT_FAILURE : EXIT_SUCCESS;
}
