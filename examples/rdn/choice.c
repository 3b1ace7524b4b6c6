/* SPDX-License-Identifier: BSD-2-Clause */
#include "choice.h"

#include "../must.h"
#include "memory.h"
#include "weights.h"

/* Of blocks; the budget takes for each layer what costs least. */
static const uint32_t shapes[][2] = {{2, 4}, {4, 4}, {4, 8}, {8, 8}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct entry {
    msw_tensor *weights, *importance;
    float *influence;
    msw_budget_layer options;
};

static void add_layer(struct entry *e, msw_budget *budget, msw_context *ctx,
                      const struct layer *l, const struct influence *influence)
{
    msw_plan *plans[SHAPES];

    e->weights = weights_tensor(ctx, l, l->weights);
    msw_budget_layer_init(&e->options);
    if (influence != NULL) {
        e->influence = weights_data(l);
        e->options.weight = influence_weights(e->influence, influence, l);
        e->importance = weights_tensor(ctx, l, e->influence);
        e->options.importance = e->importance;
    }
    for (int i = 0; i < SHAPES; i++)
        plans[i] = weights_plan(ctx, l, shapes[i][0], shapes[i][1]);
    must(msw_budget_add_any(budget, plans, SHAPES, e->weights, &e->options), l->name);
    for (int i = 0; i < SHAPES; i++)
        msw_plan_free(plans[i]);
}

/* What the biases take in a file. */
static double bias_bytes(msw_context *ctx, const struct network *net)
{
    msw_writer *writer;
    msw_store_options half;
    double bytes;

    msw_store_options_init(&half);
    half.free_weights = MSW_DTYPE_F16;
    must(msw_writer_new(&writer, ctx), "writer");
    bytes = -(double)msw_writer_bytes(writer);
    for (size_t i = 0; i < net->count; i++)
        if (net->layers[i].kind == LAYER_CONV)
            weights_store_bias(writer, ctx, &net->layers[i], net->layers[i].bias);
    bytes += (double)msw_writer_bytes(writer);
    msw_writer_free(writer);
    return bytes;
}

static msw_unified *chosen(const msw_budget *budget, uint32_t number, struct entry *e,
                           const struct layer *l)
{
    msw_plan *plan = msw_budget_plan(budget, number);
    msw_plan_info info;
    msw_unified *u;

    msw_plan_info_init(&info);
    must(msw_plan_get_info(&info, plan), l->name);
    must(msw_unified_new(&u, plan, e->weights, msw_budget_classes(budget, number),
                         info.block_count),
         l->name);
    msw_tensor_free(e->weights);
    msw_tensor_free(e->importance);
    free(e->influence);
    return u;
}

msw_unified **choose(msw_context *ctx, const struct network *net,
                     const struct influence *influence, double bytes,
                     const msw_store_options *store)
{
    struct entry *entries = allocate(net->count, sizeof *entries);
    msw_unified **u = allocate(net->count, sizeof *u);
    uint32_t number = 0;
    msw_budget *budget;
    msw_budget_options options;

    msw_budget_options_init(&options);
    options.store = store;
    options.rest = bias_bytes(ctx, net);
    options.scale = influence != NULL ? MSW_SCALE_NONE : MSW_SCALE_RMS;
    must(msw_budget_new(&budget, ctx, &options), "budget");
    for (size_t i = 0; i < net->count; i++)
        if (net->layers[i].kind == LAYER_CONV)
            add_layer(&entries[i], budget, ctx, &net->layers[i],
                      influence != NULL ? &influence[i] : NULL);
    must(msw_budget_choose(budget, bytes), "budget");
    for (size_t i = 0; i < net->count; i++)
        if (net->layers[i].kind == LAYER_CONV)
            u[i] = chosen(budget, number++, &entries[i], &net->layers[i]);
    msw_budget_free(budget);
    free(entries);
    return u;
}
