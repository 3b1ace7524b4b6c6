/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of the ADMM phase, and the check of tensors. */
#include "admm.h"
#include "elements.h"
#include "lanes.h"

#include <math.h>
#include <string.h>

/* Scratch */

/* Layers one behind the other where all are chosen for together. */
static void place_layers(msw_admm *admm)
{
    size_t block = 0;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        l->scratch_block = block;
        if (l->plan && admm->budget.target)
            block += l->plan->block_count;
    }
}

static void largest_sizes(const msw_admm *admm, msw__admm_scratch *s)
{
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        const msw_plan *p = l->plan;
        size_t tasks;

        if (!p)
            continue;
        if (msw__layer_dense(l)) {
            tasks = msw__element_tasks(l->weights->count);
            s->sum_count = s->sum_count > tasks ? s->sum_count : tasks;
            if (!l->project && s->envelope_count < p->block_count)
                s->envelope_count = p->block_count;
            continue;
        }
        if (admm->budget.target)
            s->blocks += p->block_count;
        else
            s->blocks = s->blocks > p->block_count ? s->blocks : p->block_count;
        s->column_count = s->column_count > p->columns ? s->column_count : p->columns;
        tasks = msw__update_tasks(p);
        s->sum_count = s->sum_count > tasks ? s->sum_count : tasks;
        if (msw__ranks_many(admm))
            s->choice_count += (l->merging ? 2 : 1) * p->block_count;
        if (l->merging)
            s->merged = SIZE_MAX;
    }
    s->merged = s->merged ? s->blocks : 0;
}

void msw__admm_close_scratch(msw_admm *admm)
{
    msw__admm_scratch *s = &admm->scratch;

    msw__free(admm->ctx, s->candidates, s->blocks, sizeof *s->candidates);
    msw__free(admm->ctx, s->magnitudes, s->blocks, sizeof *s->magnitudes);
    msw__free(admm->ctx, s->classes, s->blocks, 1);
    msw__free(admm->ctx, s->weights, s->merged, sizeof *s->weights);
    msw__free(admm->ctx, s->levels, s->merged, 1);
    for (size_t i = 0; i < 2; i++)
        msw__free(admm->ctx, s->columns[i], s->column_count, sizeof *s->columns[i]);
    msw__free(admm->ctx, s->sums, s->sum_count, sizeof *s->sums);
    msw__free(admm->ctx, s->choice, s->choice_count, sizeof *s->choice);
    msw__free(admm->ctx, s->envelope, s->envelope_count, sizeof *s->envelope);
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw_tensor_free(admm->layers[i].proposed);
        admm->layers[i].proposed = NULL;
    }
}

static msw_status open_proposed(msw_admm *admm)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];

        if (msw__layer_dense(l))
            status = msw_tensor_new(&l->proposed, admm->ctx, l->plan->shape, l->plan->rank);
    }
    return status;
}

static msw_status open_merging(msw_admm *admm)
{
    msw__admm_scratch *s = &admm->scratch;
    void *memory;
    msw_status status = msw__alloc(&memory, admm->ctx, s->merged, sizeof *s->weights);

    s->weights = memory;
    if (status)
        return status;
    status = msw__calloc(&memory, admm->ctx, s->merged, 1);
    s->levels = memory;
    return status;
}

msw_status msw__admm_open_scratch(msw_admm *admm, bool all)
{
    msw__admm_scratch *s = &admm->scratch;
    msw_status status = MSW_OK;
    void *memory;

    largest_sizes(admm, s);
    place_layers(admm);
    for (size_t i = 0; i < 2 && !status; i++) {
        status = msw__alloc(&memory, admm->ctx, s->column_count, sizeof *s->columns[i]);
        s->columns[i] = memory;
    }
    if (!status) {
        status = msw__alloc(&memory, admm->ctx, s->sum_count, sizeof *s->sums);
        s->sums = memory;
    }
    if (!status && all) {
        status = msw__alloc(&memory, admm->ctx, s->blocks, sizeof *s->candidates);
        s->candidates = memory;
    }
    if (!status && all) {
        status = msw__alloc(&memory, admm->ctx, s->blocks, sizeof *s->magnitudes);
        s->magnitudes = memory;
    }
    if (!status && all) {
        status = msw__alloc(&memory, admm->ctx, s->blocks, 1);
        s->classes = memory;
    }
    if (!status && all && s->merged > 0)
        status = open_merging(admm);
    if (!status && all && s->choice_count > 0) {
        status = msw__calloc(&memory, admm->ctx, s->choice_count, sizeof *s->choice);
        s->choice = memory;
    }
    if (!status && all && s->envelope_count > 0) {
        status = msw__alloc(&memory, admm->ctx, s->envelope_count, sizeof *s->envelope);
        s->envelope = memory;
    }
    if (!status && all)
        status = open_proposed(admm);
    if (status)
        msw__admm_close_scratch(admm);
    return status;
}

uint64_t msw__admm_scratch_bytes(const msw_admm *admm)
{
    uint64_t proposed = 0;
    msw__admm_scratch s;

    largest_sizes(admm, &s);
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (msw__layer_dense(&admm->layers[i]))
            proposed += sizeof(msw_tensor) +
                        (uint64_t)admm->layers[i].weights->count * sizeof(float);
    return proposed + (uint64_t)s.blocks * (sizeof *s.candidates + sizeof *s.magnitudes + 1) +
           (uint64_t)s.column_count * 2 * sizeof *s.columns[0] +
           (uint64_t)s.sum_count * sizeof *s.sums +
           (uint64_t)s.choice_count * sizeof *s.choice +
           (uint64_t)s.merged * (sizeof *s.weights + 1) +
           (uint64_t)s.envelope_count * sizeof *s.envelope;
}

/* State */

size_t msw__sign_bytes(const msw_plan *p)
{
    return p->block_row_count * msw__sign_panel(p);
}

bool msw__layer_dense(const msw__layer *l)
{
    return l->plan && (l->project || l->envelope);
}

void msw__layer_free_state(msw_admm *admm, msw__layer *l)
{
    msw_tensor_free(l->d);
    msw_tensor_free(l->z);
    msw_tensor_free(l->latent);
    l->d = l->z = l->latent = NULL;
    if (!l->plan)
        return;
    msw__free(admm->ctx, l->classes, l->plan->block_count, 1);
    msw__free(admm->ctx, l->magnitudes, l->plan->block_count, sizeof *l->magnitudes);
    msw__free(admm->ctx, l->signs, msw__sign_bytes(l->plan), 1);
    msw__free(admm->ctx, l->levels, l->plan->block_count, 1);
    l->classes = l->levels = NULL;
    l->magnitudes = NULL;
    l->signs = NULL;
}

uint64_t msw__layer_state_bytes(const msw__layer *l)
{
    if (l->latent)
        return sizeof *l->latent + (uint64_t)l->latent->count * sizeof(float) +
               l->plan->block_count;
    if (!l->d)
        return 0;
    if (l->z)
        return 2 * (sizeof *l->d + (uint64_t)l->d->count * sizeof(float));
    return sizeof *l->d + (uint64_t)l->d->count * sizeof(float) +
           (uint64_t)l->plan->block_count * (1 + sizeof *l->magnitudes + l->merging) +
           msw__sign_bytes(l->plan);
}

msw_status msw__layer_allocate_state(msw_admm *admm, msw__layer *l)
{
    void *memory;
    msw_status status = msw_tensor_new(&l->d, admm->ctx, l->plan->shape, l->plan->rank);

    if (!status && msw__layer_dense(l))
        return msw_tensor_new(&l->z, admm->ctx, l->plan->shape, l->plan->rank);
    if (!status) { /* all blocks FREE: U = 0 whatever D holds */
        status = msw__calloc(&memory, admm->ctx, l->plan->block_count, 1);
        l->classes = memory;
    }
    if (!status && l->merging) {
        status = msw__calloc(&memory, admm->ctx, l->plan->block_count, 1);
        l->levels = memory;
    }
    if (!status) {
        status = msw__calloc(&memory, admm->ctx, l->plan->block_count,
                             sizeof *l->magnitudes);
        l->magnitudes = memory;
    }
    if (!status) {
        status = msw__calloc(&memory, admm->ctx, msw__sign_bytes(l->plan), 1);
        l->signs = memory;
    }
    return status;
}

/* Checks */

typedef struct check_job {
    const msw__lane_kernels *lanes;
    msw__elements elements;
    float limit;
    atomic_bool failed;
} check_job;

static bool within(const check_job *j, const float *x, size_t n)
{
    const size_t stride = j->elements.stride;

    if (stride == 1)
        return j->lanes->within(x, j->limit, n);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i * stride]) <= j->limit))
            return false;
    return true;
}

static void check_task(size_t index, void *arg)
{
    check_job *j = arg;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t left = j->elements.t->count - i;
    const size_t end = i + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);

    while (i < end) {
        size_t n = end - i;
        const float *x = msw__elements_at(&j->elements, i, &n);

        if (!within(j, x, n))
            atomic_store_explicit(&j->failed, true, memory_order_relaxed);
        i += n;
    }
}

msw_status msw__admm_check(msw_admm *admm, const msw__layer *layer, const msw_tensor *t,
                           float limit, const char *what)
{
    check_job j = {.lanes = msw__lanes(admm->ctx->cpu),
                   .elements = msw__elements_of(t), .limit = limit};
    msw_status status;

    atomic_init(&j.failed, false);
    status = msw__admm_try_tasks(admm, msw__element_tasks(t->count), check_task, &j);
    if (status)
        return msw__admm_fail(admm, status, "parallel_for failed");
    if (atomic_load(&j.failed))
        return msw__admm_fail(admm, MSW_E_NUMERIC, "%s of \"%s\" not finite or too large",
                              what, layer->name);
    return MSW_OK;
}
