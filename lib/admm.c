/* SPDX-License-Identifier: BSD-2-Clause */
/* The solver as an object: its calls, its life, its layers. */
#include "admm.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    OLDEST_LAYER_OPTIONS = offsetof(msw_layer_options, per_row),
    FIRST_ROOM = 8 /* layers */
};

/* Calls */

msw_status msw__admm_fail(msw_admm *admm, msw_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(admm->error, sizeof admm->error, format, args);
    va_end(args);
    admm->explained = true;
    return status;
}

static msw_status refuse(msw_admm *admm)
{
    return msw__admm_fail(admm, MSW_E_STATE,
                          "called from inside a callback of the same solver");
}

msw_status msw__admm_enter(msw_admm *admm)
{
    if (!admm)
        return MSW_E_INVAL;
    if (admm->state != MSW__IDLE)
        return refuse(admm);
    admm->state = MSW__BUSY;
    admm->explained = false;
    return MSW_OK;
}

msw_status msw__admm_leave_to(msw_admm *admm, enum msw__admm_state state,
                               msw_status status)
{
    if (status && !admm->explained)
        msw__admm_fail(admm, status, "%s", msw_status_text(status));
    admm->state = state;
    return status;
}

msw_status msw__admm_leave(msw_admm *admm, msw_status status)
{
    return msw__admm_leave_to(admm, MSW__IDLE, status);
}

msw_status msw__admm_enter_setter(msw_admm *admm, enum msw__admm_state *from)
{
    *from = MSW__IDLE;
    if (!admm)
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return refuse(admm);
    *from = admm->state;
    admm->state = MSW__BUSY;
    admm->explained = false;
    return MSW_OK;
}

msw_status msw__admm_layer(msw__layer **out, msw_admm *admm, uint32_t layer)
{
    *out = NULL;
    if (layer >= admm->layer_count)
        return msw__admm_fail(admm, MSW_E_RANGE, "layer %u of %u", (unsigned)layer,
                              (unsigned)admm->layer_count);
    *out = &admm->layers[layer];
    return MSW_OK;
}

/* Making and freeing */

msw_status msw_admm_new(msw_admm **out, msw_context *ctx, const msw_admm_options *options)
{
    msw_admm_options o;
    msw_status status;
    msw_admm *admm;
    void *memory;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = msw__admm_take_options(&o, options);
    if (status)
        msw__log(ctx, MSW_LOG_ERROR, "solver: %s in its options", msw_status_text(status));
    if (!status)
        status = msw__calloc(&memory, ctx, 1, sizeof *admm);
    if (status)
        return status;
    admm = memory;
    admm->ctx = msw_context_ref(ctx);
    admm->options = o;
    admm->first_loss = (double)NAN;
    atomic_init(&admm->stop, 0);
    *out = admm;
    return MSW_OK;
}

static void free_text(msw_context *ctx, char *text)
{
    if (text)
        msw__free(ctx, text, strlen(text) + 1, 1);
}

void msw__layer_free(msw_admm *admm, msw__layer *l)
{
    msw__layer_free_state(admm, l);
    free_text(admm->ctx, l->name);
    msw_tensor_free(l->weights);
    msw_tensor_free(l->importance);
    msw_tensor_free(l->squares);
    msw_tensor_free(l->renewed);
    msw_unified_free(l->frozen);
    msw_tensor_free(l->gradient);
    msw_tensor_free(l->rollback);
    msw_tensor_free(l->soft);
    msw_tensor_free(l->proposed);
    for (size_t k = 0; k < MSW__SLOTS; k++)
        msw_tensor_free(l->slots[k]);
    msw_plan_free(l->plan);
    msw__layer_free_plans(admm, l);
}

/* A callback that left by longjmp() has kept the solver busy. */
static bool left_callback(const msw_admm *admm, uintptr_t frame)
{
    return admm->callback_frame && frame >= admm->callback_frame;
}

void msw_admm_free(msw_admm *admm)
{
    msw_context *ctx;

    if (!admm)
        return;
    ctx = admm->ctx;
    if (admm->state != MSW__IDLE && !left_callback(admm, MSW__FRAME())) {
        msw__log(ctx, MSW_LOG_ERROR, "msw_admm_free() from inside a callback is ignored");
        return;
    }
    msw__admm_close_scratch(admm);
    for (uint32_t i = 0; i < admm->layer_count; i++)
        msw__layer_free(admm, &admm->layers[i]);
    msw__free(ctx, admm->gradient_data, admm->layer_count, sizeof *admm->gradient_data);
    msw__free(ctx, admm->weight_data, admm->layer_count, sizeof *admm->weight_data);
    msw__free(ctx, admm->layers, admm->layer_room, sizeof *admm->layers);
    msw__free(ctx, admm->done, admm->done_count, 1);
    msw__free(ctx, admm->masking.columns, admm->column_count,
              sizeof *admm->masking.columns);
    msw__admm_free_sums(admm);
    msw__straight_release(admm);
    msw__free(ctx, admm, 1, sizeof *admm);
    msw_context_free(ctx);
}

/* Layers */

static msw_status grow_layers(msw_admm *admm)
{
    const uint32_t room = admm->layer_room ? 2 * admm->layer_room : FIRST_ROOM;
    msw_status status;
    void *memory;

    if (admm->layer_count < admm->layer_room)
        return MSW_OK;
    if (room < admm->layer_room)
        return MSW_E_RANGE;
    status = msw__calloc(&memory, admm->ctx, room, sizeof *admm->layers);
    if (status)
        return status;
    if (admm->layers)
        memcpy(memory, admm->layers, admm->layer_count * sizeof *admm->layers);
    msw__free(admm->ctx, admm->layers, admm->layer_room, sizeof *admm->layers);
    admm->layers = memory;
    admm->layer_room = room;
    return MSW_OK;
}

static msw_status name_layer(char **out, msw_admm *admm, const char *name)
{
    char standard[32];

    snprintf(standard, sizeof standard, "layer%u", (unsigned)admm->layer_count);
    if (!name)
        name = standard;
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (!strcmp(admm->layers[i].name, name))
            return msw__admm_fail(admm, MSW_E_EXISTS, "there is a layer \"%s\"", name);
    return msw__strdup(out, admm->ctx, name);
}

void msw__layer_set_ratios(msw__layer *l, double prune, double unify)
{
    l->prune = l->exclude & MSW_EXCLUDE_PRUNE ? 0 : prune;
    l->unify = l->exclude & MSW_EXCLUDE_UNIFY ? 0 : unify;
}

static msw_status take_layer_options(msw_admm *admm, msw_layer_options *o,
                                     const msw_layer_options *options)
{
    msw_status status = MSW_OK;

    msw_layer_options_init(o);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_LAYER_OPTIONS, options);
    if (status)
        return status;
    if (o->reserved || o->reserved2 || o->exclude & ~(MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY))
        return MSW_E_VERSION;
    if (o->per_row > 1)
        return MSW_E_INVAL;
    if (!msw__shares_valid(o->prune, o->unify))
        return msw__admm_fail(admm, MSW_E_INVAL, "shares %g pruned and %g unified", o->prune,
                              o->unify);
    return MSW_OK;
}

static msw_status add_layer(msw_admm *admm, msw_tensor *weights, msw_plan *plan,
                            const msw_layer_options *options)
{
    msw__layer merging = {0};
    msw_layer_options o;
    msw_status status;
    msw__layer *l;
    char *name;

    if (msw__admm_started(admm))
        return msw__admm_fail(admm, MSW_E_STATE, "layers come before everything else");
    if (!weights || (plan && !msw__plan_fits(plan, weights)))
        return msw__admm_fail(admm, MSW_E_INVAL,
                              "layer %u: no weights, or not of the shape of their plan",
                              (unsigned)admm->layer_count);
    status = take_layer_options(admm, &o, options);
    merging.exclude = o.exclude;
    if (!status)
        status = msw__layer_take_quadtree(admm, &merging, &o);
    if (!status)
        status = grow_layers(admm);
    if (!status)
        status = name_layer(&name, admm, o.name);
    if (status)
        return status;
    l = &admm->layers[admm->layer_count++];
    memset(l, 0, sizeof *l);
    l->name = name;
    l->weights = msw_tensor_ref(weights);
    l->plan = plan ? msw_plan_ref(plan) : NULL;
    l->exclude = merging.exclude;
    l->per_row = o.per_row;
    l->merging = plan && merging.merging;
    l->quadtree = merging.quadtree;
    l->envelope = admm->options.relaxation == MSW_RELAXATION_ENVELOPE;
    msw__layer_set_ratios(l, o.prune, o.unify);
    l->rho = plan ? admm->options.rho : (double)NAN;
    l->primal = l->dual = (double)NAN;
    msw__layer_budget_init(&l->budget);
    return MSW_OK;
}

msw_status msw_admm_add_layer(msw_admm *admm, msw_tensor *weights, msw_plan *plan,
                              const msw_layer_options *options)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status
                  : msw__admm_leave(admm, add_layer(admm, weights, plan, options));
}

msw_status msw_admm_set_weights(msw_admm *admm, uint32_t layer, msw_tensor *weights)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l = NULL;

    if (status)
        return status;
    status = msw__admm_layer(&l, admm, layer);
    if (!status && (!weights || !msw__tensor_same_shape(weights, l->weights)))
        status = msw__admm_fail(admm, MSW_E_INVAL, "weights of \"%s\" have another shape",
                                l->name);
    if (!status) {
        msw_tensor_ref(weights);
        msw_tensor_free(l->weights);
        l->weights = weights;
    }
    return msw__admm_leave(admm, status);
}
