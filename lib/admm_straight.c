/* SPDX-License-Identifier: BSD-2-Clause */
/* Straight-through training: the host's weights are the projection of latent ones. An
 * update chooses the classes; signs, magnitudes and free weights follow in every step. */
#include "admm.h"
#include "elements.h"

#include <math.h>
#include <string.h>

bool msw__admm_straight(const msw_admm *admm)
{
    return admm->options.relaxation == MSW_RELAXATION_STRAIGHT &&
           admm->phase == MSW_PHASE_ADMM;
}

/* Memory, so that nothing but the choice of classes can fail later */

static msw_status reserve_columns(msw_admm *admm, const msw__layer *layers)
{
    msw__straight *s = &admm->straight;
    msw_status status;
    size_t most = 1;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw_plan *p = layers[i].plan;

        if (p && most < p->columns)
            most = p->columns;
    }
    if (most <= s->column_count)
        return MSW_OK;
    status = msw__alloc(&memory, admm->ctx, most, 2 * sizeof(size_t));
    if (status)
        return status;
    msw__free(admm->ctx, s->memory.columns, s->column_count, 2 * sizeof(size_t));
    s->memory.columns = memory;
    s->memory.importance_columns = s->memory.columns + most;
    s->column_count = most;
    return MSW_OK;
}

static msw_status reserve_sums(msw_admm *admm)
{
    msw__straight *s = &admm->straight;
    msw_status status;
    size_t most = 1;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const size_t tasks = msw__element_tasks(admm->layers[i].weights->count);

        most = most > tasks ? most : tasks;
    }
    if (most <= s->sum_count)
        return MSW_OK;
    status = msw__alloc(&memory, admm->ctx, most, sizeof *s->sums);
    if (status)
        return status;
    msw__free(admm->ctx, s->sums, s->sum_count, sizeof *s->sums);
    s->sums = memory;
    s->sum_count = most;
    return MSW_OK;
}

msw_status msw__straight_reserve(msw_admm *admm, const msw__layer *layers)
{
    const msw_status status = reserve_columns(admm, layers);

    return status ? status : reserve_sums(admm);
}

void msw__straight_release(msw_admm *admm)
{
    msw__straight *s = &admm->straight;

    msw__free(admm->ctx, s->memory.columns, s->column_count, 2 * sizeof(size_t));
    msw__free(admm->ctx, s->sums, s->sum_count, sizeof *s->sums);
    *s = (msw__straight){.shown = false};
}

uint64_t msw__straight_bytes(const msw_admm *admm)
{
    const msw__straight *s = &admm->straight;

    return (uint64_t)s->column_count * 2 * sizeof(size_t) +
           (uint64_t)s->sum_count * sizeof *s->sums;
}

/* Weights and latent weights */

typedef struct copy_job {
    msw__elements to, from;
} copy_job;

static size_t task_end(const msw_tensor *t, size_t i)
{
    const size_t left = t->count - i;

    return i + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);
}

static void copy_task(size_t index, void *arg)
{
    const copy_job *j = arg;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t end = task_end(j->to.t, i);

    while (i < end) {
        size_t n = end - i;
        float *to = msw__elements_at(&j->to, i, &n);
        const float *from = msw__elements_at(&j->from, i, &n);

        for (size_t k = 0; k < n; k++)
            to[k * j->to.stride] = from[k * j->from.stride];
        i += n;
    }
}

static void copy(msw_admm *admm, const msw_tensor *to, const msw_tensor *from)
{
    copy_job j = {msw__elements_of(to), msw__elements_of(from)};

    msw__admm_all_tasks(admm, msw__element_tasks(to->count), copy_task, &j);
}

typedef struct measure_job {
    msw__elements w;
    const float *v; /* dense */
    msw__admm_sums *sums;
} measure_job;

static void measure_task(size_t index, void *arg)
{
    const measure_job *j = arg;
    msw__admm_sums *sums = &j->sums[index];
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t end = task_end(j->w.t, i);

    *sums = (msw__admm_sums){0, 0, 0, 0};
    while (i < end) {
        size_t n = end - i;
        const float *w = msw__elements_at(&j->w, i, &n);

        for (size_t k = 0; k < n; k++) {
            const double v = (double)j->v[i + k];
            const double off = v - (double)w[k * j->w.stride];

            sums->weights += v * v;
            sums->primal += off * off;
        }
        i += n;
    }
}

static void project(const msw_admm *admm, const msw__layer *l, msw_tensor *t)
{
    const msw__importance h = {.h = l->importance, .scale = 1};
    const msw_status never =
        msw__project_onto(t, l->plan, &h, l->classes, &admm->straight.memory);

    (void)never;
}

static void measure(msw_admm *admm, msw__layer *l)
{
    const size_t tasks = msw__element_tasks(l->weights->count);
    measure_job j = {msw__elements_of(l->weights), l->latent->data, admm->straight.sums};
    double weights = 0, primal = 0;

    msw__admm_all_tasks(admm, tasks, measure_task, &j);
    for (size_t i = 0; i < tasks; i++) {
        weights += admm->straight.sums[i].weights;
        primal += admm->straight.sums[i].primal;
    }
    l->primal = msw__relative(primal, weights);
}

static void measure_all(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (admm->layers[i].latent)
            measure(admm, &admm->layers[i]);
}

void msw__straight_show_latent(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (admm->layers[i].latent)
            copy(admm, admm->layers[i].weights, admm->layers[i].latent);
    admm->straight.shown = true;
}

void msw__straight_restore(msw_admm *admm)
{
    msw__straight_show_latent(admm);
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (admm->layers[i].latent)
            project(admm, &admm->layers[i], admm->layers[i].weights);
    admm->straight.shown = false;
}

msw_status msw__straight_take(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        if (l->latent && !msw__tensor_finite(l->weights)) /* which no pool can fail */
            return msw__admm_fail(admm, MSW_E_NUMERIC, "weight of \"%s\" is not finite",
                                  l->name);
    }
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        if (!l->latent)
            continue;
        copy(admm, l->latent, l->weights);
        project(admm, l, l->weights);
    }
    admm->straight.shown = false;
    return MSW_OK;
}

/* Choosing classes */

/* Layers whose weights stand aside while the latent ones are projected. */
static void exchange_weights(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        if (l->latent) {
            msw_tensor *w = l->weights;

            l->weights = l->latent;
            l->latent = w;
        }
    }
}

/* Of the latent weights, to l->frozen. Half-made on failure. */
static msw_status fit(msw_admm *admm, double share, bool freezing)
{
    msw_status status;

    exchange_weights(admm);
    status = msw__admm_fit_layers(admm, share, freezing);
    exchange_weights(admm);
    return status;
}

/* The classes of l->frozen, and the weights by them. */
static void take_choice(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->latent)
            continue;
        memcpy(l->classes, l->frozen->classes, l->plan->block_count);
        copy(admm, l->weights, l->latent);
        project(admm, l, l->weights);
        measure(admm, l);
    }
}

static msw_status allocate(msw_admm *admm)
{
    msw_status status = msw__straight_reserve(admm, admm->layers);
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        status = msw_tensor_new(&l->latent, admm->ctx, l->plan->shape, l->plan->rank);
        if (status)
            break;
        status = msw__alloc(&memory, admm->ctx, l->plan->block_count, 1);
        l->classes = memory;
    }
    return status;
}

static void free_latent(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++)
        msw__layer_free_state(admm, &admm->layers[i]);
}

msw_status msw__straight_begin(msw_admm *admm)
{
    msw_status status;

    if (admm->begun)
        return MSW_OK;
    status = msw__admm_fit_layers(admm, msw__ramp(&admm->options, admm->updates), false);
    if (!status)
        status = msw__ranks_agree(admm, allocate(admm), NULL, NULL);
    if (status) {
        free_latent(admm);
        msw__admm_drop_fits(admm);
        return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (admm->layers[i].latent)
            copy(admm, admm->layers[i].latent, admm->layers[i].weights);
    take_choice(admm);
    admm->begun = true;
    msw__admm_drop_fits(admm);
    return MSW_OK;
}

static bool settled(const msw_admm *admm)
{
    return admm->begun && admm->updates >= admm->options.updates;
}

static msw_status choose(msw_admm *admm)
{
    const msw_status status = fit(admm, msw__ramp(&admm->options, admm->updates), false);

    if (!status)
        take_choice(admm);
    msw__admm_drop_fits(admm);
    return status;
}

msw_status msw__straight_update(msw_admm *admm)
{
    const bool begun = admm->begun;
    msw_status status = msw__straight_begin(admm);

    if (!status && admm->straight.shown)
        status = msw__admm_fail(admm, MSW_E_STATE, "the latent weights are shown");
    if (!status && begun && !settled(admm))
        status = choose(admm);
    else if (!status && begun)
        measure_all(admm);
    if (status)
        return status;
    admm->updates++;
    msw__admm_end_round(admm);
    return MSW_OK;
}

static msw_status fit_settled(msw_admm *admm)
{
    msw_status status = msw__admm_reserve_tasks(admm, admm->layers);

    if (!status)
        status = msw__admm_reserve_columns(admm, admm->layers);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];
        const msw__importance h = {.h = l->importance, .scale = 1};

        if (l->latent)
            status = msw__unified_take(&l->frozen, l->plan, l->latent, &h, l->classes, NULL);
    }
    return msw__ranks_agree(admm, status, NULL, NULL);
}

msw_status msw__straight_freeze(msw_admm *admm)
{
    if (admm->straight.shown)
        return msw__admm_fail(admm, MSW_E_STATE, "the latent weights are shown");
    return settled(admm) ? fit_settled(admm) : fit(admm, 1, true);
}

/* The host's own loop */

static msw_status enter(msw_admm *admm)
{
    const msw_status status = msw__admm_enter(admm);

    if (status || msw__admm_straight(admm))
        return status;
    return msw__admm_leave(admm, msw__admm_fail(admm, MSW_E_STATE,
                                                "there are no latent weights"));
}

msw_status msw_admm_show_latent(msw_admm *admm)
{
    msw_status status = enter(admm);

    if (status)
        return status;
    status = msw__straight_begin(admm);
    if (!status)
        msw__straight_show_latent(admm);
    return msw__admm_leave(admm, status);
}

msw_status msw_admm_show_blocks(msw_admm *admm)
{
    msw_status status = enter(admm);

    if (status)
        return status;
    if (admm->straight.shown)
        status = msw__straight_take(admm);
    else
        status = msw__admm_fail(admm, MSW_E_STATE, "the latent weights are not shown");
    return msw__admm_leave(admm, status);
}

/* The projection, to a tensor of the layer's shape. */
msw_status msw__straight_write(msw_tensor *z, const msw_admm *admm, const msw__layer *l)
{
    const msw__importance h = {.h = l->importance, .scale = 1};

    if (!admm->straight.shown) {
        msw__copy_elements(z, l->weights);
        return MSW_OK;
    }
    msw__copy_elements(z, l->latent);
    return msw__project_onto(z, l->plan, &h, l->classes, NULL);
}
