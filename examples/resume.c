/* SPDX-License-Identifier: BSD-2-Clause */
/* own_loop.c for a machine that may stop at any time: started again, it goes on from the
 * last file and ends with the bits that it would have ended with.
 * Usage: resume [FILE [STEP]]. With STEP it ends there all of a sudden, to try it. */
#include "must.h"
#include "toy.h"

#include <errno.h>
#include <stdbool.h>

enum { ADMM_STEPS = 1000, STEPS = 2000, UPDATE_EVERY = 100, SAVE_EVERY = 150 };

static toy network;
static float weights_grad[TOY_WEIGHTS], weights_momentum[TOY_WEIGHTS];
static float bias_grad[TOY_OUTPUTS], bias_momentum[TOY_OUTPUTS];

/* What the host trains with, beside the solver. */
typedef struct training {
    msw_context *ctx;
    msw_admm *admm;
    msw_tensor *grad, *momentum[2];
} training;

static const char *const momentum_names[2] = {"momentum.weights", "momentum.bias"};

/* The solver adds its state, which has weights and bias in it, and the host the rest. */
static void save(const training *t, uint32_t step, const char *path)
{
    msw_writer *writer;

    must(msw_writer_new(&writer, t->ctx), "writer");
    must(msw_admm_save(writer, t->admm), "solver");
    for (int i = 0; i < 2; i++)
        must(msw_writer_add_tensor(writer, momentum_names[i], t->momentum[i], NULL),
             momentum_names[i]);
    must(msw_writer_add_metadata(writer, "step", &step, sizeof step), "step");
    must(msw_writer_save(writer, path), path); /* the whole new file or the old one */
    msw_writer_free(writer);
}

static void load_momentum(msw_reader *reader, const char *name, msw_tensor *to)
{
    msw_tensor *t;

    must(msw_reader_tensor(&t, reader, name), name);
    must(msw_tensor_count(t) == msw_tensor_count(to) ? MSW_OK : MSW_E_CORRUPT, name);
    memcpy(msw_tensor_data(to), msw_tensor_data(t), msw_tensor_count(to) * sizeof(float));
    msw_tensor_free(t);
}

/* The step that the file is of. */
static uint32_t load(const training *t, const char *path)
{
    msw_reader *reader;
    const void *value;
    uint32_t step;
    size_t size;

    must(msw_reader_open(&reader, t->ctx, path, NULL), path);
    must(msw_admm_load(t->admm, reader), "solver"); /* weights and bias, too */
    for (int i = 0; i < 2; i++)
        load_momentum(reader, momentum_names[i], t->momentum[i]);
    must(msw_reader_get_metadata(&value, &size, reader, "step"), "step");
    must(size == sizeof step ? MSW_OK : MSW_E_CORRUPT, "step");
    memcpy(&step, value, sizeof step);
    msw_reader_free(reader);
    return step;
}

static bool exists(const char *path)
{
    FILE *file = fopen(path, "rb");

    must(file || errno == ENOENT ? MSW_OK : MSW_E_IO, path); /* there, but not to be read */
    if (file)
        fclose(file);
    return file != NULL;
}

/* Either phase, as in own_loop.c. The mini-batch depends on the step alone. */
static double train(const training *t, uint32_t step)
{
    const bool frozen = msw_admm_phase(t->admm) == MSW_PHASE_FROZEN;
    double loss;

    srand(step);
    loss = toy_loss(&network, weights_grad, bias_grad);
    if (frozen)
        must(msw_admm_mask_gradient(t->admm, 0, t->grad), "gradient");
    else
        must(msw_admm_add_penalty(t->admm, 0, t->grad, 1), "penalty");
    toy_step(network.weights, weights_grad, weights_momentum, TOY_WEIGHTS);
    toy_step(network.bias, bias_grad, bias_momentum, TOY_OUTPUTS);
    if (frozen)
        must(msw_admm_mask_weights(t->admm, 0), "weights");
    else if (step % UPDATE_EVERY == 0)
        must(msw_admm_update(t->admm), "update");
    return loss;
}

static void freeze(const training *t)
{
    must(msw_admm_freeze(t->admm), "freezing");
    must(msw_admm_mask_slot(t->admm, 0, t->momentum[0], MSW_SLOT_LINEAR), "momentum");
}

static void train_from(const training *t, uint32_t step, uint32_t last, const char *path)
{
    double loss = 0;

    while (step < last) {
        step++;
        loss = train(t, step);
        if (step == ADMM_STEPS)
            freeze(t);
        if (step % SAVE_EVERY == 0)
            save(t, step, path);
    }
    if (step < STEPS)
        _Exit(EXIT_FAILURE); /* as if the machine had stopped */
    must(loss < 1 ? MSW_OK : MSW_E_DIVERGED, "training");
}

static void print_result(const training *t)
{
    uint64_t hash;

    must(msw_admm_hash(&hash, t->admm), "hash");
    printf("weights %016llx, momentum %.9g\n", (unsigned long long)hash,
           (double)bias_momentum[0]);
}

/* The same whether there is a file or not. */
static void set_up(training *t)
{
    const size_t shape[2] = {TOY_OUTPUTS, TOY_INPUTS};
    msw_tensor *weights, *bias;
    msw_plan *plan;
    msw_plan_options blocks;
    msw_admm_options options;
    msw_layer_options layer;

    must(msw_context_new(&t->ctx, NULL), "context");
    must(msw_tensor_borrow(&weights, t->ctx, network.weights, shape, NULL, 2), "weights");
    must(msw_tensor_borrow(&bias, t->ctx, network.bias, shape, NULL, 1), "bias");
    must(msw_tensor_borrow(&t->grad, t->ctx, weights_grad, shape, NULL, 2), "gradient");
    must(msw_tensor_borrow(&t->momentum[0], t->ctx, weights_momentum, shape, NULL, 2),
         "momentum");
    must(msw_tensor_borrow(&t->momentum[1], t->ctx, bias_momentum, shape, NULL, 1),
         "momentum");
    msw_plan_options_init(&blocks);
    blocks.block_rows = blocks.block_columns = 4;
    must(msw_plan_new(&plan, t->ctx, shape, 2, &blocks), "plan");
    msw_admm_options_init(&options);
    options.updates = ADMM_STEPS / UPDATE_EVERY;
    must(msw_admm_new(&t->admm, t->ctx, &options), "solver");
    msw_layer_options_init(&layer);
    layer.prune = 0.5;
    layer.unify = 0.4;
    must(msw_admm_add_layer(t->admm, weights, plan, &layer), "layer");
    must(msw_admm_add_layer(t->admm, bias, NULL, NULL), "bias"); /* only to be saved */
    msw_plan_free(plan);
    msw_tensor_free(bias);
    msw_tensor_free(weights);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "resume.msw";
    const unsigned long last = argc > 2 ? strtoul(argv[2], NULL, 10) : STEPS;
    training t;
    uint32_t step = 0;

    toy_init(&network);
    set_up(&t);
    if (exists(path))
        step = load(&t, path);
    printf("goes on after step %lu\n", (unsigned long)step);
    train_from(&t, step, last < STEPS ? (uint32_t)last : STEPS, path);
    print_result(&t);
    remove(path); /* the training has come to its end */
    msw_tensor_free(t.momentum[1]);
    msw_tensor_free(t.momentum[0]);
    msw_tensor_free(t.grad);
    msw_admm_free(t.admm);
    msw_context_free(t.ctx);
    return EXIT_SUCCESS;
}
