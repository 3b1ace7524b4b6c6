/* SPDX-License-Identifier: BSD-2-Clause */
/* Checking a dense tensor against the structure of a msw_unified. */
#include "internal.h"
#include "walk.h"

#include <math.h>

enum { OLDEST_VERIFY_INFO = sizeof(msw_verify_info) };

/* What tasks find, in any order. */
typedef struct verify_job {
    _Atomic uint64_t violations[MSW_CLASS_UNIFIED + 1]; /* by class */
    _Atomic uint64_t first;                             /* block */
    msw_verify_info *info; /* of the first violating block */
    float *references;     /* of unified blocks, where some are merged */
} verify_job;

/* A weight as read in the order of the block. */
static float weight_at(const msw__cell *cell, size_t i)
{
    return cell->v[i / cell->columns * cell->ld + i % cell->columns];
}

static float sign_at(const msw__cell *cell, size_t i)
{
    return msw__sign_get(cell->u->signs, cell->sign + i) ? -1.0f : 1.0f;
}

/* What all s_i w_i of a unified block should be: what two of the first three agree on,
 * so that a single wrong weight is the one reported. */
static float signed_reference(const msw__cell *cell)
{
    const size_t weights = cell->rows * cell->columns;
    float x[3];

    for (size_t i = 0; i < 3; i++)
        x[i] = weight_at(cell, i % weights) * sign_at(cell, i % weights);
    if (!isfinite(x[0]) || x[1] == x[2])
        x[0] = x[1];
    return isfinite(x[0]) ? x[0] : cell->u->magnitudes[cell->magnitude];
}

/* What weight i should be; a free one may be anything finite. */
static float expected_at(const msw__cell *cell, size_t i, float reference)
{
    const float v = weight_at(cell, i);

    if (cell->label == MSW_CLASS_PRUNED)
        return 0;
    if (cell->label == MSW_CLASS_UNIFIED)
        return reference * sign_at(cell, i);
    return isfinite(v) ? v : cell->u->free_weights[cell->free + i];
}

/* The first offending weight of a block; their number when there is none. */
static size_t offending_weight(const msw__cell *cell, const verify_job *job,
                               float *expected)
{
    const float reference = cell->label != MSW_CLASS_UNIFIED ? 0
                            : job->references
                                ? job->references[cell->u->leaders[cell->magnitude]]
                                : signed_reference(cell);
    size_t i = 0;

    for (; i < cell->rows * cell->columns; i++) {
        *expected = expected_at(cell, i, reference);
        if (!(weight_at(cell, i) == *expected))
            break;
    }
    return i;
}

static void keep_reference(const msw__cell *cell, void *arg)
{
    verify_job *job = arg;

    if (cell->label == MSW_CLASS_UNIFIED)
        job->references[cell->magnitude] = signed_reference(cell);
}

/* A merged block's is that of the first of its node. */
static msw_status find_references(verify_job *job, const msw__walk *verify)
{
    const msw_plan *p = verify->plan;
    msw__walk walk = *verify;
    msw_status status;
    void *memory;

    if (!walk.u->leaders)
        return MSW_OK;
    status = msw__alloc(&memory, p->ctx, walk.u->magnitude_start[p->block_row_count],
                        sizeof *job->references);
    job->references = memory;
    if (status)
        return status;
    walk.visit = keep_reference;
    return msw__walk_blocks(&walk);
}

static void verify_block(const msw__cell *cell, void *arg)
{
    verify_job *job = arg;
    uint64_t first;
    float expected;

    if (offending_weight(cell, job, &expected) == cell->rows * cell->columns)
        return;
    atomic_fetch_add(&job->violations[cell->label], 1);
    first = atomic_load(&job->first);
    while (cell->block < first &&
           !atomic_compare_exchange_weak(&job->first, &first, cell->block)) {
    }
}

/* Name the weight, once the first violating block is known. */
static void report_block(const msw__cell *cell, void *arg)
{
    verify_job *job = arg;
    float expected;
    size_t i;

    if (cell->block != job->info->first)
        return;
    i = offending_weight(cell, job, &expected);
    job->info->row = cell->row + i / cell->columns;
    job->info->column = cell->column + i % cell->columns;
    job->info->value = (double)weight_at(cell, i);
    job->info->expected = (double)expected;
}

static void count_blocks(msw_verify_info *info, verify_job *job, const msw_unified *u)
{
    uint64_t blocks[MSW_CLASS_UNIFIED + 1] = {0};

    for (size_t b = 0; b < u->plan->block_count; b++)
        blocks[u->classes[b]]++;
    for (size_t k = 0; k <= MSW_CLASS_UNIFIED; k++) {
        const uint64_t violations = atomic_load(&job->violations[k]);

        blocks[k] -= violations;
        info->violations += violations;
    }
    info->free_blocks = blocks[MSW_CLASS_FREE];
    info->pruned_blocks = blocks[MSW_CLASS_PRUNED];
    info->unified_blocks = blocks[MSW_CLASS_UNIFIED];
    info->first = atomic_load(&job->first);
}

msw_status msw_unified_verify(msw_verify_info *out, const msw_unified *u,
                              const msw_tensor *weights)
{
    msw_verify_info info;
    verify_job job = {.info = &info};
    msw__walk walk = {.tensor = weights, .u = u, .access = MSW__READ,
                      .visit = verify_block, .arg = &job};
    msw_status status;

    if (!out || !u || !weights)
        return MSW_E_INVAL;
    walk.plan = u->plan;
    atomic_init(&job.first, UINT64_MAX);
    msw_verify_info_init(&info);
    status = find_references(&job, &walk);
    if (!status)
        status = msw__walk_blocks(&walk);
    if (!status) {
        count_blocks(&info, &job, u);
        walk.visit = report_block;
        if (info.violations)
            status = msw__walk_blocks(&walk);
    }
    msw__free(u->plan->ctx, job.references, u->magnitude_start[u->plan->block_row_count],
              sizeof *job.references);
    return status ? status : msw__give_output(out, &info, sizeof info, OLDEST_VERIFY_INFO);
}
