/* SPDX-License-Identifier: BSD-2-Clause */
/* fann-compress NAME [DENSE ADMM RETRAINING [FOLDER]]: train a network with FANN,
 * compress it with libmsw in the same loop, and write NAME.msw and, for comparison,
 * NAME.net. The three numbers are epochs. */
#include <math.h>
#include <string.h>

#include "../must.h"
#include "fann_layer.h"
#include "mlp.h"

enum { LAYERS = 2, UPDATES_PER_EPOCH = 10 };

/* Blocks, and shares of them. The last layer is small and matters: it is not pruned. */
static const struct {
    const char *name;
    uint32_t block_rows, block_columns;
    double prune, unify;
} recipe[LAYERS] = {{"hidden", 4, 8, 0.6, 0.4}, {"output", 2, 8, 0, 1}};

static const double dense_rate = 1.2, admm_rate = 0.2, retraining_rate = 0.8;

struct host {
    struct mlp mlp;
    struct fann_layer_view layer[LAYERS];
    msw_context *ctx;
    msw_admm *admm;
};

/* From `first` to nearly 0, as a cosine. */
static double rate_at(double first, uint32_t step, uint32_t steps)
{
    return first * 0.5 * (1 + cos(3.14159265358979 * step / steps));
}

static void train_dense(struct mlp *mlp, uint32_t steps)
{
    for (uint32_t step = 0; step < steps; step++) {
        mlp_slopes(mlp);
        mlp_step(mlp, rate_at(dense_rate, step, steps));
    }
}

static void new_solver(struct host *h, size_t updates)
{
    msw_admm_options options;

    msw_admm_options_init(&options);
    options.updates = updates;
    options.ramp = 0.5;
    options.rho = 1e-2;
    options.rho_end = 1;
    must(msw_admm_new(&h->admm, h->ctx, &options), "solver");
    for (int i = 0; i < LAYERS; i++) {
        const char *wrong =
            fann_layer_view(&h->layer[i], h->ctx, h->mlp.net, (unsigned)i + 1);
        msw_plan_options blocks;
        msw_layer_options layer;
        msw_plan *plan;

        if (wrong != NULL) {
            fprintf(stderr, "layer %s: %s\n", recipe[i].name, wrong);
            exit(EXIT_FAILURE);
        }
        const size_t shape[2] = {msw_tensor_dim(h->layer[i].weights, 0),
                                 msw_tensor_dim(h->layer[i].weights, 1)};
        msw_plan_options_init(&blocks);
        blocks.block_rows = recipe[i].block_rows;
        blocks.block_columns = recipe[i].block_columns;
        must(msw_plan_new(&plan, h->ctx, shape, 2, &blocks), "plan");
        msw_layer_options_init(&layer);
        layer.name = recipe[i].name;
        layer.prune = recipe[i].prune;
        layer.unify = recipe[i].unify;
        must(msw_admm_add_layer(h->admm, h->layer[i].weights, plan, &layer), "layer");
        msw_plan_free(plan);
    }
}

static void train_admm(struct host *h, uint32_t steps, uint32_t update_every)
{
    for (uint32_t step = 0; step < steps; step++) {
        mlp_slopes(&h->mlp);
        /* FANN's slopes are minus the gradient, summed over the mini-batch. */
        for (uint32_t i = 0; i < LAYERS; i++)
            must(msw_admm_add_penalty(h->admm, i, h->layer[i].weight_slopes, -BATCH),
                 "penalty");
        mlp_step(&h->mlp, admm_rate);
        if ((step + 1) % update_every == 0)
            must(msw_admm_update(h->admm), "update");
    }
}

/* No slots to mask: FANN's batch step has no momentum. */
static void retrain(struct host *h, uint32_t steps)
{
    for (uint32_t step = 0; step < steps; step++) {
        mlp_slopes(&h->mlp);
        for (uint32_t i = 0; i < LAYERS; i++)
            must(msw_admm_mask_gradient(h->admm, i, h->layer[i].weight_slopes), "slopes");
        mlp_step(&h->mlp, rate_at(retraining_rate, step, steps));
        for (uint32_t i = 0; i < LAYERS; i++)
            must(msw_admm_mask_weights(h->admm, i), "weights");
    }
}

static void save(const struct host *h, const char *path)
{
    msw_writer *writer;
    msw_store_options half;

    msw_store_options_init(&half);
    half.magnitudes = half.free_weights = MSW_DTYPE_F16;
    must(msw_writer_new(&writer, h->ctx), "writer");
    for (uint32_t i = 0; i < LAYERS; i++) {
        char bias[32];
        msw_unified *unified;

        snprintf(bias, sizeof bias, "%s.bias", recipe[i].name);
        must(msw_admm_unify(&unified, h->admm, i), "unified weights");
        must(msw_writer_add_unified(writer, recipe[i].name, unified, &half), "weights");
        must(msw_writer_add_tensor(writer, bias, h->layer[i].bias, &half), "bias");
        msw_unified_free(unified);
    }
    must(msw_writer_save(writer, path), path);
    printf("bytes.f32 %zu\n",
           fann_get_total_connections(h->mlp.net) * sizeof *h->mlp.net->weights);
    printf("bytes.file %llu\n", (unsigned long long)msw_writer_bytes(writer));
    msw_writer_free(writer);
}

static void compress(struct host *h, const struct dataset *test, const int *epochs,
                     const char *name)
{
    const uint32_t epoch = mlp_epoch_steps(&h->mlp);
    char path[4096];

    train_dense(&h->mlp, (uint32_t)epochs[0] * epoch);
    printf("accuracy.dense %.2f\n", mlp_accuracy(h->mlp.net, test));
    new_solver(h, (size_t)epochs[1] * UPDATES_PER_EPOCH);
    train_admm(h, (uint32_t)epochs[1] * epoch, epoch / UPDATES_PER_EPOCH);
    for (uint32_t i = 0; i < LAYERS; i++)
        printf("residual %.3f\n", msw_admm_residual(h->admm, i, MSW_RESIDUAL_PRIMAL));
    must(msw_admm_freeze(h->admm), "freezing");
    printf("accuracy.projected %.2f\n", mlp_accuracy(h->mlp.net, test));
    retrain(h, (uint32_t)epochs[2] * epoch);
    printf("accuracy.retrained %.2f\n", mlp_accuracy(h->mlp.net, test));

    snprintf(path, sizeof path, "%s.msw", name);
    save(h, path);
    snprintf(path, sizeof path, "%s.net", name);
    if (fann_save(h->mlp.net, path) != 0) /* which has said why */
        exit(EXIT_FAILURE);
}

static bool parse(int *epochs, int argc, char **argv)
{
    if (argc != 2 && argc != 5 && argc != 6)
        return false;
    for (int i = 0; argc > 2 && i < 3; i++)
        epochs[i] = atoi(argv[i + 2]);
    return epochs[0] > 0 && epochs[1] > 0 && epochs[2] > 0;
}

int main(int argc, char **argv)
{
    int epochs[3] = {6, 6, 4};
    struct dataset training, test;
    struct host h = {0};

    if (!parse(epochs, argc, argv)) {
        fputs("usage: fann-compress NAME [DENSE ADMM RETRAINING [FOLDER]]\n", stderr);
        return 2;
    }
    const char *folder = argc > 5 ? argv[5] : DATA_FOLDER;
    if (!dataset_load(&training, folder, "train") || !dataset_load(&test, folder, "t10k"))
        return EXIT_FAILURE;
    if (training.count < BATCH * UPDATES_PER_EPOCH) {
        fputs("too few images\n", stderr);
        return EXIT_FAILURE;
    }
    if (!mlp_new(&h.mlp, &training, 1))
        must(MSW_E_NOMEM, "network");
    must(msw_context_new(&h.ctx, NULL), "context");

    compress(&h, &test, epochs, argv[1]);

    for (int i = 0; i < LAYERS; i++)
        fann_layer_view_free(&h.layer[i]);
    msw_admm_free(h.admm);
    msw_context_free(h.ctx);
    mlp_free(&h.mlp);
    dataset_free(&training);
    dataset_free(&test);
    return EXIT_SUCCESS;
}
