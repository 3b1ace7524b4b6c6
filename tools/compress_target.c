/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of at most so many bytes. What the blocks take before any coding is known; what
 * surrounds them, and what coding gains, shows when all is encoded. What was too much or
 * too little then is taken off or added: in the plain form the second time fits. */
#include "compress.h"

#include <string.h>

enum {
    ATTEMPTS = 12,
    RECORD = 40,          /* of a plain tensor in the index, without its name */
    ALIGNMENT = 64,       /* of sections */
    SLACK_SHARE = 1000, SLACK = 128 /* left unused without another attempt */
};

static int measure_item(struct job *j, const struct item *item, const msw_plan_options *how)
{
    msw_budget_layer layer;
    msw_store_options store;
    msw_tensor *weights;
    msw_plan *plan;
    msw_status status;

    msw_budget_layer_init(&layer);
    layer.float_bits = compress_store(&store, j, item, true);
    layer.levels = j->options.levels;
    if (layer.levels && j->options.transport) { /* the coder tells what merging saves */
        layer.float_bits = 0;
        layer.store = &store;
    }
    if (problem_interrupted(j->p) || compress_plan(&plan, j, item, how))
        return j->p->code;
    if (model_tensor(&weights, &j->model, item, j->p) == CODE_OK) {
        if (compress_order(&plan, j, item, weights) == CODE_OK) {
            status = msw_budget_add(j->budget, plan, weights, &layer);
            if (status)
                compress_problem(j, status, item);
        }
        msw_tensor_free(weights);
    }
    msw_plan_free(plan);
    return j->p->code;
}

/* What the tensors that stay as they are take, about, and all names. */
static uint64_t rest_bytes(struct job *j)
{
    msw_plan_options how;
    uint64_t rest = 0;

    for (size_t i = 0; i < j->model.count; i++) {
        const struct item *item = &j->model.items[i];

        rest += strlen(item->name);
        if (!compress_selects(&how, &j->options, item))
            rest += RECORD + item->bytes;
    }
    return rest;
}

/* Costs of all blocks. */
static int measure_all(struct job *j)
{
    msw_budget_options options;
    msw_plan_options how;
    msw_status status;

    msw_budget_options_init(&options);
    options.rest = (double)rest_bytes(j);
    status = msw_budget_new(&j->budget, j->ctx, &options);
    if (status)
        return compress_problem(j, status, NULL);
    progress_start(&j->progress, j->input_bytes, j->options.quiet);
    for (size_t i = 0; i < j->model.count && j->p->code == CODE_OK; i++) {
        const struct item *item = &j->model.items[i];

        if (compress_selects(&how, &j->options, item))
            measure_item(j, item, &how);
        if (j->p->code == CODE_OK)
            progress_step(&j->progress, item->bytes, item->name);
    }
    progress_end(&j->progress);
    return j->p->code;
}

/* Classes that should fit so many bytes, or, when nothing does, the least; how many they
 * should take. */
static int choose(msw_budget_info *info, struct job *j, double room)
{
    msw_status status = msw_budget_choose(j->budget, room > 1 ? room : 1);

    msw_budget_info_init(info);
    if (!status || status == MSW_E_RANGE)
        status = msw_budget_get_info(info, j->budget);
    return status ? compress_problem(j, status, NULL) : j->p->code;
}

static bool close_enough(uint64_t bytes, uint64_t target)
{
    return bytes <= target && target - bytes <= SLACK + target / SLACK_SHARE;
}

static uint64_t target_of(const struct job *j)
{
    return j->options.bytes ? j->options.bytes :
                              (uint64_t)((double)j->input_bytes / j->options.ratio);
}

int compress_to_target(struct job *j)
{
    const int settled = j->options.transport ? 3 : 1; /* the coder's gain varies */
    const uint64_t target = target_of(j);
    double room = (double)target;
    uint64_t bytes = 0;

    if (measure_all(j))
        return j->p->code;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        msw_budget_info info;

        if (choose(&info, j, room) || compress_all(j))
            return j->p->code;
        bytes = msw_writer_bytes(j->writer);
        if (close_enough(bytes, target) ||
            (bytes <= target && (attempt >= settled || info.amount >= info.all_free)))
            return j->p->code;
        if (bytes <= target) {
            room = info.amount + (double)(target - bytes);
        } else if (info.amount > room) {
            break; /* the least there is */
        } else { /* sections begin at multiples of 64 bytes */
            const uint64_t excess = bytes - target;

            room = info.amount -
                   (double)(attempt && excess < ALIGNMENT ? ALIGNMENT : excess);
        }
    }
    return problem_set(j->p, CODE_UNMET, "%s: %llu bytes cannot be reached; %llu can",
                       j->options.output, (unsigned long long)target,
                       (unsigned long long)bytes);
}
