/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of at most so many bytes. What the blocks take before any coding is known; what
 * surrounds them, and what coding gains, shows when all is encoded. What was too much or
 * too little then is taken off or added: in the plain form the second time fits. */
#include "compress.h"

#include <string.h>

enum {
    ATTEMPTS = 12,
    FRAME = 512,          /* header, section table, padding */
    RECORD = 40,          /* of a tensor in the index, without its name */
    BLOCKS_PER_BYTE = 5,  /* class map */
    ALIGNMENT = 64,       /* of sections */
    SLACK_SHARE = 1000, SLACK = 128 /* left unused without another attempt */
};

static int measure_item(struct job *j, const struct item *item, const msw_plan_options *how)
{
    msw_store_options store;
    const uint32_t bits = compress_store(&store, j, item, true);
    msw_tensor *weights;
    msw_plan *plan;
    msw_status status;

    if (problem_interrupted(j->p) || compress_plan(&plan, j, item, how))
        return j->p->code;
    if (model_tensor(&weights, &j->model, item, j->p) == CODE_OK) {
        status = budget_add(&j->budget, weights, plan, bits);
        if (status)
            compress_problem(j, status, item);
        msw_tensor_free(weights);
    }
    msw_plan_free(plan);
    return j->p->code;
}

/* Costs of all blocks; gives what all else will take, about. */
static int measure_all(uint64_t *overhead, struct job *j)
{
    msw_plan_options how;

    *overhead = FRAME;
    progress_start(&j->progress, j->input_bytes, j->options.quiet);
    for (size_t i = 0; i < j->model.count && j->p->code == CODE_OK; i++) {
        const struct item *item = &j->model.items[i];

        *overhead += RECORD + strlen(item->name);
        if (compress_selects(&how, &j->options, item)) {
            if (measure_item(j, item, &how) == CODE_OK)
                *overhead += j->budget.layers[j->budget.count - 1].count / BLOCKS_PER_BYTE;
        } else {
            *overhead += item->bytes;
        }
        if (j->p->code == CODE_OK)
            progress_step(&j->progress, item->bytes, item->name);
    }
    progress_end(&j->progress);
    return j->p->code;
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
    uint64_t overhead, room, most, bytes = 0;

    if (measure_all(&overhead, j))
        return j->p->code;
    most = budget_choose(&j->budget, UINT64_MAX) / 8; /* all free */
    room = target > overhead ? target - overhead : 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        const uint64_t used = budget_choose(&j->budget, 8 * room) / 8;

        if (compress_all(j))
            return j->p->code;
        bytes = msw_writer_bytes(j->writer);
        if (close_enough(bytes, target) ||
            (bytes <= target && (attempt >= settled || used == most)))
            return j->p->code;
        if (bytes <= target) {
            room = used + (target - bytes);
        } else if (room == 0) {
            break;
        } else { /* sections begin at multiples of 64 bytes */
            const uint64_t excess = bytes - target;
            const uint64_t less = attempt && excess < ALIGNMENT ? ALIGNMENT : excess;
            room = used > less ? used - less : 0;
        }
    }
    return problem_set(j->p, CODE_UNMET, "%s: %llu bytes cannot be reached; %llu can",
                       j->options.output, (unsigned long long)target,
                       (unsigned long long)bytes);
}
