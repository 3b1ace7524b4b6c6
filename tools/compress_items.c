/* SPDX-License-Identifier: BSD-2-Clause */
/* One tensor from the input to the writer. */
#include "compress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int compress_problem(struct job *j, msw_status status, const struct item *item)
{
    return problem_status(j->p, status, j->model.path, item ? item->name : NULL,
                          j->writer ? msw_writer_error(j->writer) : "");
}

uint32_t compress_store(msw_store_options *out, const struct job *j,
                        const struct item *item, bool unified)
{
    const struct compress_options *o = &j->options;
    const bool half = o->f16 || item->type == ELEMENT_F16;

    msw_store_options_init(out);
    out->encoding = o->transport ? MSW_ENCODING_TRANSPORT : MSW_ENCODING_PLAIN;
    out->magnitudes = out->free_weights = half ? MSW_DTYPE_F16 : MSW_DTYPE_F32;
    if (!o->bits || !unified)
        return half ? 16 : 32;
    out->magnitudes = out->free_weights = MSW_DTYPE_UNIFORM;
    out->magnitude_bits = out->free_bits = o->bits;
    return o->bits;
}

int compress_plan(msw_plan **out, struct job *j, const struct item *item,
                     const msw_plan_options *how)
{
    const msw_status status = msw_plan_new(out, j->ctx, item->shape, item->rank, how);

    if (status == MSW_E_INVAL)
        return model_problem(j->p, CODE_USAGE, &j->model, item,
                             "--kind or --groups do not fit its shape");
    return status ? compress_problem(j, status, item) : j->p->code;
}

/* Of the shares that were asked for. */
static msw_status project(msw_unified **out, const struct job *j, msw_plan *plan,
                          const msw_tensor *weights)
{
    msw_projection_options shares;

    msw_projection_options_init(&shares);
    shares.prune = j->options.prune;
    shares.unify = j->options.unify;
    return msw_unified_from(out, plan, weights, &shares);
}

/* Onto the classes and nodes that the budget chose for the next layer. */
static msw_status project_chosen(msw_unified **out, struct job *j, msw_plan *plan,
                                 const msw_tensor *weights)
{
    msw_plan_info info;
    msw_status status;

    *out = NULL;
    msw_plan_info_init(&info);
    status = msw_plan_get_info(&info, plan);
    if (status)
        return status;
    status = msw_unified_new_merged(out, plan, weights,
                                    msw_budget_classes(j->budget, j->layer),
                                    msw_budget_merge_levels(j->budget, j->layer),
                                    info.block_count);
    j->layer++;
    return status;
}

/* ||to_dense(u) - weights|| / ||weights||; weights become the dense form of u. */
static msw_status measure_error(double *out, msw_tensor *weights, const msw_unified *u,
                                struct problem *p)
{
    const size_t count = msw_tensor_count(weights);
    float *data = msw_tensor_data(weights), *given = allocate(count, sizeof *given, p);
    double distance = 0, norm = 0;
    msw_status status;

    if (!given)
        return MSW_E_NOMEM;
    memcpy(given, data, count * sizeof *given);
    status = msw_unified_to_dense(weights, u);
    for (size_t i = 0; i < count && !status; i++) {
        const double change = (double)data[i] - (double)given[i];
        distance += change * change;
        norm += (double)given[i] * (double)given[i];
    }
    *out = norm > 0 ? sqrt(distance / norm) : 0;
    free(given);
    return status;
}

static int add_unified(struct job *j, const struct item *item, msw_tensor *weights,
                       const msw_plan_options *how, struct outcome *outcome)
{
    msw_store_options store;
    msw_store_info loss;
    msw_unified *u;
    msw_plan *plan;
    msw_status status;

    if (compress_plan(&plan, j, item, how))
        return j->p->code;
    if (compress_order(&plan, j, item, weights)) {
        msw_plan_free(plan);
        return j->p->code;
    }
    status = j->budget ? project_chosen(&u, j, plan, weights) :
             project(&u, j, plan, weights);
    compress_store(&store, j, item, true);
    msw_store_info_init(&loss);
    msw_unified_info_init(&outcome->info);
    outcome->unified = true;
    if (!status)
        status = msw_writer_add_unified(j->writer, item->name, u, &store);
    if (!status)
        status = msw_writer_get_loss(&loss, j->writer, item->name);
    outcome->rounding = loss.relative_error;
    if (!status)
        status = msw_unified_get_info(&outcome->info, u);
    if (!status)
        status = measure_error(&outcome->error, weights, u, j->p);
    if (status)
        compress_problem(j, status, item);
    msw_unified_free(u);
    msw_plan_free(plan);
    return j->p->code;
}

static int add_plain(struct job *j, const struct item *item, const msw_tensor *values)
{
    msw_store_options store;
    msw_status status;

    compress_store(&store, j, item, false);
    status = msw_writer_add_tensor(j->writer, item->name, values, &store);
    if (status == MSW_E_NUMERIC) { /* infinities exist in f32 only */
        store.free_weights = MSW_DTYPE_F32;
        status = msw_writer_add_tensor(j->writer, item->name, values, &store);
    }
    return status ? compress_problem(j, status, item) : j->p->code;
}

/* What is no tensor for the library: bytes in the metadata. */
static int add_kept(struct job *j, const struct item *item)
{
    const size_t room = item->bytes + 32 + 21 * (size_t)item->rank;
    char *key = allocate(strlen(item->name) + sizeof KEPT_PREFIX, 1, j->p);
    char *value = key ? allocate(room, 1, j->p) : NULL;
    size_t length;
    msw_status status;

    if (value) {
        strcat(strcpy(key, KEPT_PREFIX), item->name);
        length = (size_t)sprintf(value, "%s[", element_name(item->type));
        for (uint32_t i = 0; i < item->rank; i++)
            length += (size_t)sprintf(value + length, i ? ",%zu" : "%zu", item->shape[i]);
        length += (size_t)sprintf(value + length, "]\n");
        if (model_read((uint8_t *)value + length, &j->model, item, j->p) == CODE_OK) {
            status = msw_writer_add_metadata(j->writer, key, value, length + item->bytes);
            if (status)
                compress_problem(j, status, item);
        }
    }
    free(value);
    free(key);
    return j->p->code;
}

int compress_item(struct job *j, size_t index)
{
    const struct item *item = &j->model.items[index];
    struct outcome *outcome = &j->outcomes[index];
    const uint64_t before = msw_writer_bytes(j->writer);
    msw_plan_options how;
    msw_tensor *tensor;

    if (problem_interrupted(j->p))
        return j->p->code;
    if (!item_is_tensor(item)) {
        outcome->kept = true;
        add_kept(j, item);
    } else if (model_tensor(&tensor, &j->model, item, j->p) == CODE_OK) {
        if (compress_selects(&how, &j->options, item))
            add_unified(j, item, tensor, &how, outcome);
        else
            add_plain(j, item, tensor);
        msw_tensor_free(tensor);
    }
    outcome->bytes = msw_writer_bytes(j->writer) - before;
    if (j->p->code == CODE_OK)
        progress_step(&j->progress, item->bytes, item->name);
    return j->p->code;
}
