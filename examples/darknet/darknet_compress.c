/* SPDX-License-Identifier: BSD-2-Clause */
/* darknet-compress CFG NAME [DENSE ADMM RETRAINING [FOLDER]]: train the network of a
 * configuration file with darknet, compress it with libmsw in the same loop, and write
 * NAME.msw and, for comparison, NAME.weights. The three numbers are epochs. */
#include <math.h>

#include "../must.h"
#include "cnn.h"
#include "darknet_layer.h"

/* Momentum wants some steps to answer an update. */
enum { LAYERS = 4, UPDATE_EVERY = 40 };

/* Blocks, and shares of them. The first and the last layer are small and matter most. */
static const struct {
    const char *name;
    int index; /* in the configuration */
    uint32_t block_rows, block_columns;
    double prune, unify;
} recipe[LAYERS] = {
    {"conv1", 0, 4, 5, 0, 0},
    {"conv2", 2, 4, 4, 0.3, 0.7},
    {"fc1", 4, 4, 8, 0.5, 0.5},
    {"fc2", 5, 2, 8, 0, 1},
};

static const double dense_rate = 0.05, admm_rate = 0.02, retraining_rate = 0.02;

struct host {
    struct cnn cnn;
    struct darknet_layer_view layer[LAYERS];
    msw_context *ctx;
    msw_admm *admm;
};

/* From `first` to nearly 0, as a cosine. */
static double rate_at(double first, uint32_t step, uint32_t steps)
{
    return first * 0.5 * (1 + cos(3.14159265358979 * step / steps));
}

static void train_dense(struct cnn *cnn, uint32_t steps)
{
    for (uint32_t step = 0; step < steps; step++) {
        cnn_updates(cnn);
        cnn_step(cnn, rate_at(dense_rate, step, steps));
    }
}

static void view_layer(struct host *h, int i)
{
    const network *net = h->cnn.net;
    const char *wrong = "the configuration has no such layer";

    if (recipe[i].index < net->n)
        wrong = darknet_layer_view(&h->layer[i], h->ctx, &net->layers[recipe[i].index]);
    if (wrong != NULL) {
        fprintf(stderr, "layer %d (%s): %s\n", recipe[i].index, recipe[i].name, wrong);
        exit(EXIT_FAILURE);
    }
}

static void new_solver(struct host *h, uint32_t updates)
{
    msw_admm_options options;

    msw_admm_options_init(&options);
    options.updates = updates;
    options.ramp = 0.5;
    must(msw_admm_new(&h->admm, h->ctx, &options), "solver");
    for (int i = 0; i < LAYERS; i++) {
        msw_layer_options layer;
        msw_plan *plan;

        must(darknet_layer_plan(&plan, h->ctx, &h->layer[i], recipe[i].block_rows,
                                recipe[i].block_columns),
             "plan");
        msw_layer_options_init(&layer);
        layer.name = recipe[i].name;
        layer.prune = recipe[i].prune;
        layer.unify = recipe[i].unify;
        must(msw_admm_add_layer(h->admm, h->layer[i].weights, plan, &layer), "layer");
        msw_plan_free(plan);
    }
}

static void train_admm(struct host *h, uint32_t steps)
{
    /* darknet's updates are minus the gradient, summed over the mini-batch. */
    const double scale = -h->cnn.net->batch;

    for (uint32_t step = 0; step < steps; step++) {
        cnn_updates(&h->cnn);
        for (uint32_t i = 0; i < LAYERS; i++)
            must(msw_admm_add_penalty(h->admm, i, h->layer[i].weight_updates, scale),
                 "penalty");
        cnn_step(&h->cnn, admm_rate);
        if ((step + 1) % UPDATE_EVERY == 0)
            must(msw_admm_update(h->admm), "update");
    }
}

/* The momentum lies in the same array as the updates, and is masked with them. */
static void retrain(struct host *h, uint32_t steps)
{
    for (uint32_t step = 0; step < steps; step++) {
        cnn_updates(&h->cnn);
        for (uint32_t i = 0; i < LAYERS; i++)
            must(msw_admm_mask_gradient(h->admm, i, h->layer[i].weight_updates),
                 "updates");
        cnn_step(&h->cnn, rate_at(retraining_rate, step, steps));
        for (uint32_t i = 0; i < LAYERS; i++)
            must(msw_admm_mask_weights(h->admm, i), "weights");
    }
}

static void save(const struct host *h, const char *path)
{
    size_t values = 0;
    msw_writer *writer;
    msw_store_options half;

    msw_store_options_init(&half);
    half.magnitudes = half.free_weights = MSW_DTYPE_F16;
    must(msw_writer_new(&writer, h->ctx), "writer");
    for (uint32_t i = 0; i < LAYERS; i++) {
        const struct darknet_layer_view *l = &h->layer[i];
        char bias[32];
        msw_unified *unified;

        snprintf(bias, sizeof bias, "%s.bias", recipe[i].name);
        must(msw_admm_unify(&unified, h->admm, i), "unified weights");
        must(msw_writer_add_unified(writer, recipe[i].name, unified, &half), "weights");
        must(msw_writer_add_tensor(writer, bias, l->bias, &half), "bias");
        msw_unified_free(unified);
        values += msw_tensor_count(l->weights) + msw_tensor_count(l->bias);
    }
    must(msw_writer_save(writer, path), path);
    printf("bytes.f32 %zu\n", values * sizeof(float));
    printf("bytes.file %llu\n", (unsigned long long)msw_writer_bytes(writer));
    msw_writer_free(writer);
}

static void compress(struct host *h, const struct dataset *test, const int *epochs,
                     const char *name)
{
    const uint32_t epoch = cnn_epoch_steps(&h->cnn);
    char path[4096];

    train_dense(&h->cnn, (uint32_t)epochs[0] * epoch);
    printf("accuracy.dense %.2f\n", cnn_accuracy(h->cnn.net, test));
    fflush(stdout);
    new_solver(h, (uint32_t)epochs[1] * epoch / UPDATE_EVERY);
    train_admm(h, (uint32_t)epochs[1] * epoch);
    for (uint32_t i = 0; i < LAYERS; i++)
        printf("residual %.3f\n", msw_admm_residual(h->admm, i, MSW_RESIDUAL_PRIMAL));
    must(msw_admm_freeze(h->admm), "freezing");
    printf("accuracy.projected %.2f\n", cnn_accuracy(h->cnn.net, test));
    fflush(stdout);
    retrain(h, (uint32_t)epochs[2] * epoch);
    printf("accuracy.retrained %.2f\n", cnn_accuracy(h->cnn.net, test));

    snprintf(path, sizeof path, "%s.msw", name);
    save(h, path);
    snprintf(path, sizeof path, "%s.weights", name);
    save_weights(h->cnn.net, path);
}

static bool parse(int *epochs, int argc, char **argv)
{
    if (argc != 3 && argc != 6 && argc != 7)
        return false;
    for (int i = 0; argc > 3 && i < 3; i++)
        epochs[i] = atoi(argv[i + 3]);
    return epochs[0] > 0 && epochs[1] > 0 && epochs[2] > 0;
}

int main(int argc, char **argv)
{
    int epochs[3] = {2, 2, 1};
    struct dataset training, test;
    struct host h = {0};

    if (!parse(epochs, argc, argv)) {
        fputs("usage: darknet-compress CFG NAME [DENSE ADMM RETRAINING [FOLDER]]\n",
              stderr);
        return 2;
    }
    const char *folder = argc > 6 ? argv[6] : DATA_FOLDER;
    if (!dataset_load(&training, folder, "train") || !dataset_load(&test, folder, "t10k"))
        return EXIT_FAILURE;
    if (!cnn_new(&h.cnn, argv[1], &training, 1))
        return EXIT_FAILURE;
    must(msw_context_new(&h.ctx, NULL), "context");
    for (int i = 0; i < LAYERS; i++)
        view_layer(&h, i);

    compress(&h, &test, epochs, argv[2]);

    for (int i = 0; i < LAYERS; i++)
        darknet_layer_view_free(&h.layer[i]);
    msw_admm_free(h.admm);
    msw_context_free(h.ctx);
    cnn_free(&h.cnn);
    dataset_free(&training);
    dataset_free(&test);
    return EXIT_SUCCESS;
}
