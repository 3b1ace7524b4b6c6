/* SPDX-License-Identifier: BSD-2-Clause */
/* The solver as an object: layers, options, setters and getters. */
#include "admm.h"
#include "elements.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    OLDEST_OPTIONS = sizeof(msw_admm_options),
    OLDEST_LAYER_OPTIONS = sizeof(msw_layer_options),
    OLDEST_MEMORY = sizeof(msw_admm_memory),
    FIRST_ROOM = 8 /* layers */
};

/* Beyond them rho and its inverse leave the range of floats. */
#define MIN_RHO 1e-30
#define MAX_RHO 1e30

/* Options */

static void default_to(double *value, double standard)
{
    if (*value == 0)
        *value = standard;
}

static void fill_defaults(msw_admm_options *o)
{
    const bool adam = o->optimiser == MSW_OPTIMISER_ADAM;

    if (!o->updates)
        o->updates = 24;
    if (!o->update_every)
        o->update_every = 100;
    default_to(&o->rho, 1e-2);
    default_to(&o->rho_end, o->rho_schedule == MSW_RHO_TO_END ? 1 : MAX_RHO);
    default_to(&o->rho_factor, o->rho_schedule == MSW_RHO_STAGES ? 10 : 1.3);
    default_to(&o->guard, 10);
    default_to(&o->learning_rate, adam ? 0.001 : 0.01);
    default_to(&o->momentum, 0.9);
    default_to(&o->beta2, 0.999);
    if (o->momentum < 0)
        o->momentum = 0;
}

static bool in_range(double x, double low, double high)
{
    return x >= low && x <= high; /* false for NaN */
}

static bool rho_valid(double rho)
{
    return in_range(rho, MIN_RHO, MAX_RHO);
}

static bool positive(double x)
{
    return x > 0 && isfinite(x);
}

static bool options_valid(const msw_admm_options *o)
{
    return o->rho_schedule <= MSW_RHO_STAGES && o->optimiser <= MSW_OPTIMISER_ADAM &&
           o->rollback <= 1 && o->updates <= UINT32_MAX && rho_valid(o->rho) &&
           rho_valid(o->rho_end) && in_range(o->rho_factor, 1, MAX_RHO) &&
           in_range(o->tolerance, 0, HUGE_VAL) && in_range(o->ramp, 0, 1) &&
           in_range(o->guard, 0, HUGE_VAL) && positive(o->learning_rate) &&
           o->momentum >= 0 && o->momentum < 1 && o->beta2 >= 0 && o->beta2 < 1 &&
           in_range(o->weight_decay, 0, MAX_RHO);
}

static msw_status take_options(msw_admm_options *o, const msw_admm_options *options)
{
    msw_status status = MSW_OK;

    msw_admm_options_init(o);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
    if (status)
        return status;
    if (o->reserved)
        return MSW_E_VERSION;
    fill_defaults(o);
    return options_valid(o) ? MSW_OK : MSW_E_INVAL;
}

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

static msw_status leave_to(msw_admm *admm, enum msw__admm_state state, msw_status status)
{
    if (status && !admm->explained)
        msw__admm_fail(admm, status, "%s", msw_status_text(status));
    admm->state = state;
    return status;
}

msw_status msw__admm_leave(msw_admm *admm, msw_status status)
{
    return leave_to(admm, MSW__IDLE, status);
}

/* The setters may be called from inside progress, and return there. */
static msw_status enter_setter(msw_admm *admm, enum msw__admm_state *from)
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

/* Tasks */

typedef struct tracked {
    void (*task)(size_t index, void *arg);
    void *arg;
    uint8_t *done;
} tracked;

static void run_tracked(size_t index, void *arg)
{
    const tracked *t = arg;

    t->task(index, t->arg);
    t->done[index] = 1;
}

msw_status msw__admm_reserve_tasks(msw_admm *admm)
{
    size_t most = 1;
    msw_status status;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        const size_t elements = msw__element_tasks(l->weights->count);
        const size_t blocks = l->plan ? msw__update_tasks(l->plan) : 0;

        most = most > elements ? most : elements;
        most = most > blocks ? most : blocks;
    }
    if (admm->done_count >= most)
        return MSW_OK;
    status = msw__alloc(&memory, admm->ctx, most, 1);
    if (status)
        return status;
    msw__free(admm->ctx, admm->done, admm->done_count, 1);
    admm->done = memory;
    admm->done_count = most;
    return MSW_OK;
}

msw_status msw__admm_try_tasks(msw_admm *admm, size_t count,
                               void (*task)(size_t index, void *arg), void *arg)
{
    tracked t = {task, arg, admm->done};
    msw_status status;

    memset(admm->done, 0, count);
    status = msw__parallel(admm->ctx, count, run_tracked, &t);
    if (!status && memchr(admm->done, 0, count))
        status = MSW_E_HOST;
    return status;
}

void msw__admm_all_tasks(msw_admm *admm, size_t count,
                         void (*task)(size_t index, void *arg), void *arg)
{
    if (!msw__admm_try_tasks(admm, count, task, arg))
        return;
    msw__log(admm->ctx, MSW_LOG_WARNING,
             "parallel_for failed in the middle of a change: ended on the caller's thread");
    for (size_t i = 0; i < count; i++)
        if (!admm->done[i])
            task(i, arg);
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
    status = take_options(&o, options);
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

static void free_layer(msw_admm *admm, msw__layer *l)
{
    msw__layer_free_state(admm, l);
    free_text(admm->ctx, l->name);
    msw_tensor_free(l->weights);
    msw_tensor_free(l->importance);
    msw_unified_free(l->frozen);
    msw_tensor_free(l->gradient);
    msw_tensor_free(l->rollback);
    for (size_t k = 0; k < MSW__SLOTS; k++)
        msw_tensor_free(l->slots[k]);
    msw_plan_free(l->plan);
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
        free_layer(admm, &admm->layers[i]);
    msw__free(ctx, admm->gradient_data, admm->layer_count, sizeof *admm->gradient_data);
    msw__free(ctx, admm->weight_data, admm->layer_count, sizeof *admm->weight_data);
    msw__free(ctx, admm->layers, admm->layer_room, sizeof *admm->layers);
    msw__free(ctx, admm->done, admm->done_count, 1);
    msw__free(ctx, admm->columns, admm->column_count, sizeof *admm->columns);
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

static void set_ratios(msw__layer *l, double prune, double unify)
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
    if (o->reserved || o->exclude & ~(MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY))
        return MSW_E_VERSION;
    if (!msw__shares_valid(o->prune, o->unify))
        return msw__admm_fail(admm, MSW_E_INVAL, "shares %g pruned and %g unified", o->prune,
                              o->unify);
    return MSW_OK;
}

static msw_status add_layer(msw_admm *admm, msw_tensor *weights, msw_plan *plan,
                            const msw_layer_options *options)
{
    msw_layer_options o;
    msw_status status;
    msw__layer *l;
    char *name;

    if (admm->begun)
        return msw__admm_fail(admm, MSW_E_STATE, "layers come before everything else");
    if (!weights || (plan && !msw__plan_fits(plan, weights)))
        return msw__admm_fail(admm, MSW_E_INVAL,
                              "layer %u: no weights, or not of the shape of their plan",
                              (unsigned)admm->layer_count);
    status = take_layer_options(admm, &o, options);
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
    l->exclude = o.exclude;
    set_ratios(l, o.prune, o.unify);
    l->rho = plan ? admm->options.rho : (double)NAN;
    l->primal = l->dual = (double)NAN;
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

/* Importance */

/* Normalised and dense; NULL when it is all zero, which says nothing. */
static msw_status copy_importance(msw_tensor **out, msw_admm *admm, const msw_tensor *h)
{
    msw__importance given;
    msw_status status = msw__importance_of(&given, h);

    *out = NULL;
    if (status || !given.h)
        return status;
    status = msw_tensor_new(out, admm->ctx, h->shape, h->rank);
    if (status)
        return status;
    msw__copy_elements(*out, h);
    for (size_t i = 0; i < h->count; i++)
        (*out)->data[i] = msw__importance_at((*out)->data[i], given.scale);
    return MSW_OK;
}

/* h_old / h_new at the most: the mean is 1 and the floor is known. */
static double largest_change(const msw__layer *l)
{
    return (double)l->weights->count / (double)MSW__IMPORTANCE_FLOOR;
}

static msw_status set_importance(msw_admm *admm, msw__layer *l, const msw_tensor *h)
{
    msw_tensor *copy;
    msw_status status;

    if (admm->phase != MSW_PHASE_ADMM)
        return msw__admm_fail(admm, MSW_E_STATE, "importance comes before freezing");
    if (!l->plan)
        return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has no plan", l->name);
    if (h && !msw__tensor_same_shape(h, l->weights))
        return msw__admm_fail(admm, MSW_E_INVAL, "importance of \"%s\" has another shape",
                              l->name);
    status = copy_importance(&copy, admm, h);
    if (status)
        return msw__admm_fail(admm, status, "importance of \"%s\": %s", l->name,
                              msw_status_text(status));
    if (admm->begun && !msw__admm_can_rescale(l, largest_change(l)))
        status = MSW_E_NUMERIC;
    if (!status && admm->begun)
        status = msw__admm_open_scratch(admm, false);
    if (status) {
        msw_tensor_free(copy);
        return status;
    }
    if (admm->begun) {
        msw__admm_rescale(admm, l, 1, l->importance, copy);
        msw__admm_close_scratch(admm);
    }
    msw_tensor_free(l->importance);
    l->importance = copy;
    return MSW_OK;
}

msw_status msw_admm_set_importance(msw_admm *admm, uint32_t layer,
                                   const msw_tensor *importance)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l = NULL;

    if (status)
        return status;
    status = msw__admm_layer(&l, admm, layer);
    if (!status)
        status = set_importance(admm, l, importance);
    return msw__admm_leave(admm, status);
}

/* Setters */

/* The layers that a setter is about: [*first, *end), of which those with a plan. */
static msw_status select_layers(uint32_t *first, uint32_t *end, msw_admm *admm,
                                uint32_t layer)
{
    msw__layer *l;
    msw_status status;

    *first = 0;
    *end = admm->layer_count;
    if (layer == MSW_ALL_LAYERS)
        return MSW_OK;
    status = msw__admm_layer(&l, admm, layer);
    if (!status && !l->plan)
        status = msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has no plan", l->name);
    *first = layer;
    *end = layer + 1;
    return status;
}

msw_status msw_admm_set_learning_rate(msw_admm *admm, double rate)
{
    enum msw__admm_state from;
    msw_status status = enter_setter(admm, &from);

    if (status)
        return status;
    if (positive(rate))
        admm->options.learning_rate = rate;
    else
        status = msw__admm_fail(admm, MSW_E_INVAL, "learning rate %g", rate);
    return leave_to(admm, from, status);
}

static msw_status set_rho(msw_admm *admm, uint32_t layer, double rho)
{
    uint32_t first, end;
    msw_status status = select_layers(&first, &end, admm, layer);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_ADMM)
        return msw__admm_fail(admm, MSW_E_STATE, "no rho once frozen");
    if (!rho_valid(rho))
        return msw__admm_fail(admm, MSW_E_INVAL, "rho %g", rho);
    for (uint32_t i = first; i < end; i++)
        if (admm->layers[i].d &&
            !msw__admm_can_rescale(&admm->layers[i], admm->layers[i].rho / rho))
            return msw__admm_fail(admm, MSW_E_NUMERIC, "rho %g is too small for \"%s\"", rho,
                                  admm->layers[i].name);
    if (admm->begun)
        status = msw__admm_open_scratch(admm, false);
    if (status)
        return status;
    for (uint32_t i = first; i < end; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        if (l->d && l->rho != rho)
            msw__admm_rescale(admm, l, l->rho / rho, NULL, NULL);
        l->rho = rho;
    }
    msw__admm_close_scratch(admm);
    return MSW_OK;
}

msw_status msw_admm_set_rho(msw_admm *admm, uint32_t layer, double rho)
{
    enum msw__admm_state from;
    const msw_status status = enter_setter(admm, &from);

    return status ? status : leave_to(admm, from, set_rho(admm, layer, rho));
}

msw_status msw_admm_set_ratios(msw_admm *admm, uint32_t layer, double prune, double unify)
{
    enum msw__admm_state from;
    msw_status status = enter_setter(admm, &from);
    uint32_t first, end;

    if (status)
        return status;
    status = select_layers(&first, &end, admm, layer);
    if (!status && admm->phase != MSW_PHASE_ADMM)
        status = msw__admm_fail(admm, MSW_E_STATE, "no ratios once frozen");
    if (!status && !msw__shares_valid(prune, unify))
        status = msw__admm_fail(admm, MSW_E_INVAL, "shares %g pruned and %g unified", prune,
                                unify);
    for (uint32_t i = first; !status && i < end; i++)
        if (admm->layers[i].plan)
            set_ratios(&admm->layers[i], prune, unify);
    return leave_to(admm, from, status);
}

/* Getters */

static uint64_t tensor_bytes(const msw_tensor *t)
{
    return t ? sizeof *t + (uint64_t)t->count * sizeof(float) : 0;
}

static uint64_t unified_bytes(const msw_unified *u)
{
    size_t rows;

    if (!u)
        return 0;
    rows = u->plan->block_row_count;
    return sizeof *u + u->plan->block_count + 3 * (rows + 1) * sizeof *u->sign_start +
           u->magnitude_start[rows] * sizeof *u->magnitudes +
           (u->sign_start[rows] + 7) / 8 + u->free_start[rows] * sizeof *u->free_weights;
}

msw_status msw_admm_get_memory(msw_admm_memory *out, const msw_admm *admm)
{
    msw_admm_memory m;

    if (!out || !admm)
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return MSW_E_STATE;
    msw_admm_memory_init(&m);
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        m.state += msw__layer_state_bytes(l) + unified_bytes(l->frozen);
        m.gradients += tensor_bytes(l->gradient);
        m.importance += tensor_bytes(l->importance);
        m.rollback += tensor_bytes(l->rollback);
        for (size_t k = 0; k < MSW__SLOTS; k++)
            m.slots += tensor_bytes(l->slots[k]);
    }
    if (admm->weight_data)
        m.gradients += admm->layer_count * sizeof *admm->weight_data;
    if (admm->gradient_data)
        m.gradients += admm->layer_count * sizeof *admm->gradient_data;
    m.state += admm->done_count + admm->column_count * sizeof *admm->columns;
    if (admm->phase == MSW_PHASE_ADMM)
        m.scratch = msw__admm_scratch_bytes(admm);
    return msw__give_output(out, &m, sizeof m, OLDEST_MEMORY);
}

static const msw__layer *layer_of(const msw_admm *admm, uint32_t layer)
{
    return admm && layer < admm->layer_count ? &admm->layers[layer] : NULL;
}

msw_phase msw_admm_phase(const msw_admm *admm)
{
    return admm->phase;
}

uint32_t msw_admm_layer_count(const msw_admm *admm)
{
    return admm->layer_count;
}

const char *msw_admm_layer_name(const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = layer_of(admm, layer);

    return l ? l->name : NULL;
}

uint32_t msw_admm_updates(const msw_admm *admm)
{
    return admm->updates;
}

double msw_admm_learning_rate(const msw_admm *admm)
{
    return admm->options.learning_rate;
}

double msw_admm_rho(const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = layer_of(admm, layer);

    return l ? l->rho : (double)NAN;
}

double msw_admm_residual(const msw_admm *admm, uint32_t layer, msw_residual kind)
{
    const msw__layer *l = layer_of(admm, layer);

    if (!l)
        return (double)NAN;
    return kind == MSW_RESIDUAL_PRIMAL ? l->primal : l->dual;
}

msw_plan *msw_admm_plan(const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = layer_of(admm, layer);

    return l ? l->plan : NULL;
}

msw_stop_reason msw_admm_stop_reason(const msw_admm *admm)
{
    return admm->stop_reason;
}

int msw_admm_host_code(const msw_admm *admm)
{
    return admm->host_code;
}

const char *msw_admm_error(const msw_admm *admm)
{
    return admm->error;
}
