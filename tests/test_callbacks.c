/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs whose callbacks fail, stop, poison, re-enter, free, or never return. Callbacks
 * only record; assertions come after the call. */
#include "admm.h"
#include "faults.h"
#include "ref.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 20, COLUMNS = 28, COUNT = ROWS * COLUMNS, BIAS = 20, EVERY = 3 };
enum { LOSS, STEP, PROGRESS, KINDS };

typedef struct rig rig;

struct rig {
    faults memory;
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *w, *bias;
    msw_admm *admm;
    msw_host host;
    float weights[COUNT], bias_data[BIAS], target[COUNT];
    unsigned calls[KINDS];

    /* At call number `at` of callback `where`: return `code`, and do `act` before. */
    int where, code;
    unsigned at;
    void (*act)(rig *r);

    unsigned poison_at;        /* call of loss_gradient; 0: none */
    double poison_loss;        /* 0: none */
    float poison;
    uint32_t poison_layer;
    size_t poison_element;

    double scale;              /* of the loss */
    msw_admm_progress last;    /* as progress saw it */
    msw_status statuses[24];
    unsigned status_count;
    char log[256];
    unsigned logged;
    jmp_buf jump;
};

static int answer(rig *r, int kind)
{
    if (++r->calls[kind] != r->at || kind != r->where)
        return 0;
    if (r->act)
        r->act(r);
    return r->code;
}

/* 1/2 ||W - target||^2 + 1/2 ||bias - 1||^2 */
static int on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    rig *r = user;

    (void)layer_count;
    *loss = 0;
    for (size_t i = 0; i < COUNT; i++) {
        grads[0][i] = weights[0][i] - r->target[i];
        *loss += 0.5 * (double)grads[0][i] * (double)grads[0][i];
    }
    for (size_t i = 0; i < BIAS; i++) {
        grads[1][i] = weights[1][i] - 1;
        *loss += 0.5 * (double)grads[1][i] * (double)grads[1][i];
    }
    if (r->scale != 0)
        *loss *= r->scale;
    if (r->calls[LOSS] + 1 == r->poison_at) {
        if (r->poison_loss != 0)
            *loss = r->poison_loss;
        else
            grads[r->poison_layer][r->poison_element] = r->poison;
    }
    return answer(r, LOSS);
}

static int on_step(float *const *weights, const float *const *grads, uint32_t layer_count,
                   void *user)
{
    (void)layer_count;
    for (size_t i = 0; i < COUNT; i++)
        weights[0][i] -= 0.1f * grads[0][i] + 1e-3f;
    for (size_t i = 0; i < BIAS; i++)
        weights[1][i] -= 0.1f * grads[1][i];
    return answer(user, STEP);
}

static int on_progress(const msw_admm_progress *progress, void *user)
{
    rig *r = user;

    r->last = *progress;
    return answer(r, PROGRESS);
}

static void on_log(int level, const char *text, void *user)
{
    rig *r = user;

    (void)level;
    r->logged++;
    strncpy(r->log, text, sizeof r->log - 1);
}

typedef struct setting {
    bool frozen, own_step, adam;
    msw_admm_options *options; /* NULL: the rig's defaults */
    pool *pool;
} setting;

static void rig_setup(rig *r, setting s)
{
    static const size_t shape[2] = {ROWS, COLUMNS}, bias_shape[1] = {BIAS};
    msw_context_options c;
    msw_plan_options p;
    msw_admm_options o;
    msw_layer_options l;
    uint64_t random = 3;

    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < COUNT; i++) {
        r->weights[i] = (float)ref_normal(&random);
        r->target[i] = (float)ref_normal(&random);
    }
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&r->memory);
    c.log = on_log;
    c.log_user = r;
    c.parallel_for = s.pool ? pool_run : NULL;
    c.parallel_user = s.pool;
    assert_int_equal(msw_context_new(&r->ctx, &c), MSW_OK);
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 4;
    assert_int_equal(msw_plan_new(&r->plan, r->ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&r->w, r->ctx, r->weights, shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&r->bias, r->ctx, r->bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    msw_admm_options_init(&o);
    o.update_every = EVERY;
    o.updates = 6;
    o.optimiser = s.adam ? MSW_OPTIMISER_ADAM : MSW_OPTIMISER_SGD;
    assert_int_equal(msw_admm_new(&r->admm, r->ctx, s.options ? s.options : &o), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.4;
    l.unify = 0.4;
    assert_int_equal(msw_admm_add_layer(r->admm, r->w, r->plan, &l), MSW_OK);
    assert_int_equal(msw_admm_add_layer(r->admm, r->bias, NULL, NULL), MSW_OK);
    msw_host_init(&r->host);
    r->host.user = r;
    r->host.loss_gradient = on_loss;
    r->host.step = s.own_step ? on_step : NULL;
    r->host.progress = on_progress;
    if (s.frozen)
        assert_int_equal(msw_admm_freeze(r->admm), MSW_OK);
}

static void rig_teardown(rig *r)
{
    msw_admm_free(r->admm);
    msw_tensor_free(r->w);
    msw_tensor_free(r->bias);
    msw_plan_free(r->plan);
    msw_context_free(r->ctx);
    assert_true(faults_clean(&r->memory));
}

static msw_status rig_run(rig *r, uint64_t iterations)
{
    return msw_admm_run(r->admm, &r->host, iterations);
}

/* What a run that nothing disturbs leaves after so many mini-batches. */
static void undisturbed(rig *r, setting s, uint64_t iterations)
{
    rig_setup(r, s);
    assert_int_equal(rig_run(r, iterations), MSW_OK);
}

static bool same_weights(const rig *a, const rig *b)
{
    return !memcmp(a->weights, b->weights, sizeof a->weights) &&
           !memcmp(a->bias_data, b->bias_data, sizeof a->bias_data);
}

static uint64_t violations(const rig *r)
{
    msw_verify_info v;

    msw_verify_info_init(&v);
    assert_int_equal(msw_unified_verify(&v, r->admm->layers[0].frozen, r->w), MSW_OK);
    return v.violations;
}

/* Failing and stopping */

/* One callback returns one code at one call. What was trained until then stays, the
 * solver is as it should be, and a later run ends where one run would have. */
static void answer_once(setting s, int where, unsigned at, int code)
{
    enum { TOTAL = 10 };
    static rig r, whole, part;
    const msw_status wanted = code < 0 ? MSW_E_HOST : MSW_OK;
    uint64_t steps = at;

    if (where == LOSS)
        steps = at - 1;
    else if (where == PROGRESS)
        steps = (uint64_t)at * EVERY;
    rig_setup(&r, s);
    r.where = where;
    r.at = at;
    r.code = code;
    assert_int_equal(rig_run(&r, TOTAL), wanted);
    assert_int_equal(msw_admm_stop_reason(r.admm), code < 0 ? MSW_STOP_ERROR : MSW_STOP_HOST);
    assert_int_equal(msw_admm_host_code(r.admm), code);
    assert_int_equal(strlen(msw_admm_error(r.admm)) > 0, code < 0);
    assert_int_equal(r.calls[where], at);
    undisturbed(&part, s, steps);
    assert_true(same_weights(&r, &part));
    rig_teardown(&part);
    if (s.frozen)
        assert_int_equal(violations(&r), 0);
    r.at = 0;
    if (where != STEP || code > 0) { /* a failed step does not count as one */
        undisturbed(&whole, s, TOTAL);
        assert_int_equal(rig_run(&r, TOTAL - steps), MSW_OK);
        assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_ITERATIONS);
        assert_true(same_weights(&r, &whole) || where == STEP);
        rig_teardown(&whole);
    } else {
        assert_int_equal(rig_run(&r, 4), MSW_OK);
    }
    assert_int_equal(msw_admm_host_code(r.admm), code);
    rig_teardown(&r);
}

static void callbacks_fail_and_stop(void **state)
{
    static const int codes[] = {-1, 1, INT_MIN, INT_MAX};

    (void)state;
    for (int frozen = 0; frozen < 2; frozen++)
        for (int own = 0; own < 2; own++)
            for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
                const setting s = {.frozen = frozen, .own_step = own};

                for (unsigned at = 1; at <= 7; at++)
                    answer_once(s, LOSS, at, codes[c]);
                for (unsigned at = 1; own && at <= 7; at++)
                    answer_once(s, STEP, at, codes[c]);
                for (unsigned at = 1; at <= 3; at++)
                    answer_once(s, PROGRESS, at, codes[c]);
            }
}

static void ask_to_stop(rig *r)
{
    msw_admm_stop(r->admm);
}

static void stopping_from_callbacks(void **state)
{
    static rig r;

    (void)state;
    for (int where = LOSS; where < KINDS; where++) {
        rig_setup(&r, (setting){.own_step = true});
        r.where = where;
        r.at = where == PROGRESS ? 1 : 3;
        r.act = ask_to_stop;
        assert_int_equal(rig_run(&r, 10), MSW_OK);
        assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_REQUESTED);
        assert_int_equal(r.calls[LOSS], 3);
        assert_int_equal(r.calls[STEP], 3); /* the current mini-batch ended */
        assert_int_equal(r.calls[PROGRESS], 1);
        assert_int_equal(rig_run(&r, 2), MSW_OK);
        assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_ITERATIONS);
        rig_teardown(&r);
    }
}

static void stopping_before_a_run(void **state)
{
    static rig r;

    (void)state;
    rig_setup(&r, (setting){0});
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_NONE);
    msw_admm_stop(r.admm);
    assert_int_equal(rig_run(&r, 10), MSW_OK);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_REQUESTED);
    assert_int_equal(r.calls[LOSS], 0);
    assert_int_equal(rig_run(&r, 0), MSW_OK);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_ITERATIONS);
    rig_teardown(&r);
}

static void *stop_thread(void *admm)
{
    msw_admm_stop(admm);
    return NULL;
}

static pthread_t stopper;

static void start_stopper(rig *r)
{
    pthread_create(&stopper, NULL, stop_thread, r->admm);
}

static void stopping_from_another_thread(void **state)
{
    static rig r;

    (void)state;
    rig_setup(&r, (setting){0});
    r.where = LOSS;
    r.at = 5;
    r.act = start_stopper;
    assert_int_equal(rig_run(&r, UINT64_MAX), MSW_OK); /* ends only by the other thread */
    assert_int_equal(pthread_join(stopper, NULL), 0);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_REQUESTED);
    rig_teardown(&r);
}

static void runs_that_cannot_start(void **state)
{
    static rig r;
    msw_admm *empty;

    (void)state;
    rig_setup(&r, (setting){0});
    assert_int_equal(msw_admm_run(NULL, &r.host, 1), MSW_E_INVAL);
    assert_int_equal(msw_admm_run(r.admm, NULL, 1), MSW_E_INVAL);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_ERROR);
    r.host.loss_gradient = NULL;
    assert_int_equal(rig_run(&r, 1), MSW_E_INVAL);
    r.host.loss_gradient = on_loss;
    r.host.size = 8;
    assert_int_equal(rig_run(&r, 1), MSW_E_INVAL);
    r.host.size = sizeof r.host;
    assert_int_equal(msw_admm_new(&empty, r.ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_run(empty, &r.host, 1), MSW_E_INVAL);
    msw_admm_free(empty);
    r.host.progress = NULL;
    assert_int_equal(rig_run(&r, 7), MSW_OK);
    assert_int_equal(msw_admm_updates(r.admm), 2);
    rig_teardown(&r);
}

/* Poison */

static void poison_once(setting s, unsigned at, double loss, uint32_t layer, float poison)
{
    static rig r, part, whole;

    undisturbed(&part, s, at - 1);
    for (size_t element = 0; element < (layer ? BIAS : COUNT); element += layer ? 7 : 41) {
        rig_setup(&r, s);
        r.poison_at = at;
        r.poison_loss = loss;
        r.poison_layer = layer;
        r.poison_element = element;
        r.poison = poison;
        assert_int_equal(rig_run(&r, 10), MSW_E_NUMERIC);
        assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_ERROR);
        assert_true(strlen(msw_admm_error(r.admm)) > 0);
        assert_true(same_weights(&r, &part));
        r.poison_at = 0;
        assert_int_equal(rig_run(&r, 11 - at), MSW_OK);
        undisturbed(&whole, s, 10);
        assert_true(same_weights(&r, &whole)); /* slots were not poisoned either */
        rig_teardown(&whole);
        rig_teardown(&r);
        if (loss != 0)
            break;
    }
    rig_teardown(&part);
}

static void poison_takes_no_step(void **state)
{
    static const float poisons[] = {NAN, INFINITY, -INFINITY};

    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        const setting s = {.frozen = kind & 1, .own_step = kind / 2 == 1,
                           .adam = kind / 2 == 2};

        for (unsigned at = 1; at <= 7; at += 3)
            for (size_t p = 0; p < 3; p++) {
                poison_once(s, at, (double)poisons[p], 0, 0);
                poison_once(s, at, 0, 0, poisons[p]);
                poison_once(s, at, 0, 1, poisons[p]);
            }
        if (s.adam) /* its square is not finite */
            poison_once(s, 4, 0, 1, 1e38f);
    }
}

/* Re-entry and freeing */

static void note(rig *r, msw_status status)
{
    r->statuses[r->status_count++] = status;
}

static void call_everything(rig *r)
{
    msw_unified *u;

    note(r, msw_admm_run(r->admm, &r->host, 1));
    note(r, msw_admm_update(r->admm));
    note(r, msw_admm_freeze(r->admm));
    note(r, msw_admm_add_penalty(r->admm, 0, r->w, 1));
    note(r, msw_admm_mask_gradient(r->admm, 0, r->w));
    note(r, msw_admm_mask_slot(r->admm, 0, r->w, MSW_SLOT_LINEAR));
    note(r, msw_admm_mask_weights(r->admm, 0));
    note(r, msw_admm_add_layer(r->admm, r->w, r->plan, NULL));
    note(r, msw_admm_set_weights(r->admm, 0, r->w));
    note(r, msw_admm_set_importance(r->admm, 0, r->w));
    note(r, msw_admm_unify(&u, r->admm, 0));
    msw_admm_free(r->admm);
}

static void call_setters(rig *r)
{
    msw_admm_memory m;
    float data[COUNT];
    msw_tensor *z;

    msw_admm_memory_init(&m);
    note(r, msw_tensor_borrow(&z, r->ctx, data, r->plan->shape, NULL, 2));
    note(r, msw_admm_get_z(z, r->admm, 0));
    note(r, msw_admm_get_memory(&m, r->admm));
    note(r, msw_admm_set_learning_rate(r->admm, 0.02));
    note(r, msw_admm_set_rho(r->admm, MSW_ALL_LAYERS, 0.5));
    note(r, msw_admm_set_ratios(r->admm, 0, 0.2, 0.6));
    msw_tensor_free(z);
}

static void re_entry_is_refused(void **state)
{
    static rig r, same;

    (void)state;
    for (int frozen = 0; frozen < 2; frozen++)
        for (int where = LOSS; where < KINDS; where++) {
            const setting s = {.frozen = frozen, .own_step = true};

            rig_setup(&r, s);
            r.where = where;
            r.at = 1;
            r.act = call_everything;
            assert_int_equal(rig_run(&r, 7), MSW_OK);
            assert_int_equal(r.status_count, 11);
            for (unsigned i = 0; i < r.status_count; i++)
                assert_int_equal(r.statuses[i], MSW_E_STATE);
            assert_int_equal(r.logged, 1); /* the free that was ignored */
            assert_non_null(strstr(r.log, "msw_admm_free"));
            undisturbed(&same, s, 7);
            assert_true(same_weights(&r, &same));
            rig_teardown(&same);
            rig_teardown(&r);
        }
}

static void setters_belong_into_progress(void **state)
{
    static rig r;

    (void)state;
    for (int where = LOSS; where < KINDS; where++) {
        rig_setup(&r, (setting){.own_step = true});
        r.where = where;
        r.at = 1;
        r.act = call_setters;
        assert_int_equal(rig_run(&r, EVERY), MSW_OK);
        assert_int_equal(r.statuses[0], MSW_OK);
        for (unsigned i = 1; i < 6; i++)
            assert_int_equal(r.statuses[i], where == PROGRESS ? MSW_OK : MSW_E_STATE);
        if (where == PROGRESS) {
            assert_true(msw_admm_learning_rate(r.admm) == (double)0.02);
            assert_true(msw_admm_rho(r.admm, 0) == 0.5);
            assert_true(r.admm->layers[0].unify == (double)0.6);
        }
        assert_int_equal(rig_run(&r, EVERY), MSW_OK);
        rig_teardown(&r);
    }
}

static void jump_out(rig *r)
{
    longjmp(r->jump, 1);
}

/* True: a callback jumped here. The run is well below in the stack: by the stack the
 * solver tells that what frees it later is not inside the callback. */
static bool jumped(rig *r)
{
    volatile char room[4096];

    if (setjmp(r->jump))
        return true;
    room[0] = 0;
    return rig_run(r, 20 + (uint64_t)room[0]) == MSW_E_INVAL; /* never */
}

static void leaving_by_longjmp_loses_nothing(void **state)
{
    static rig r;

    (void)state;
    for (int frozen = 0; frozen < 2; frozen++)
        for (int where = LOSS; where < KINDS; where++) {
            rig_setup(&r, (setting){.frozen = frozen, .own_step = true});
            r.where = where;
            r.at = 2;
            r.act = jump_out;
            assert_true(jumped(&r));
            assert_int_equal(rig_run(&r, 1), MSW_E_STATE);
            assert_int_equal(msw_admm_update(r.admm), MSW_E_STATE);
            rig_teardown(&r); /* which frees it all */
        }
}

/* Weights may move between callbacks: the host lets its tensor point elsewhere. */
static float moved_weights[COUNT];

static void move_weights(rig *r)
{
    memcpy(moved_weights, r->weights, sizeof moved_weights);
    if (msw_tensor_repoint(r->w, moved_weights) != MSW_OK)
        r->code = -1;
}

static void weights_that_move(void **state)
{
    static rig r, same;

    (void)state;
    for (int own = 0; own < 2; own++) {
        rig_setup(&r, (setting){.own_step = own});
        r.where = LOSS;
        r.at = 3;
        r.act = move_weights;
        assert_int_equal(rig_run(&r, 10), MSW_OK);
        undisturbed(&same, (setting){.own_step = own}, 10);
        assert_memory_equal(moved_weights, same.weights, sizeof moved_weights);
        rig_teardown(&same);
        rig_teardown(&r);
    }
}

/* Progress, convergence, guard */

static void progress_tells(void **state)
{
    static rig r;
    double mean = 0;

    (void)state;
    rig_setup(&r, (setting){0});
    for (int k = 0; k < 2 * EVERY; k++) {
        double loss = 0;

        for (size_t i = 0; i < COUNT; i++)
            loss += 0.5 * pow((double)(r.weights[i] - r.target[i]), 2);
        for (size_t i = 0; i < BIAS; i++)
            loss += 0.5 * pow((double)(r.bias_data[i] - 1), 2);
        if (k >= EVERY)
            mean += loss / EVERY;
        assert_int_equal(rig_run(&r, 1), MSW_OK);
    }
    assert_int_equal(r.calls[PROGRESS], 2);
    assert_int_equal(r.last.size, sizeof r.last);
    assert_int_equal(r.last.layer_count, 2);
    assert_int_equal(r.last.iteration, 1);
    assert_int_equal(r.last.iterations, 1);
    assert_int_equal(r.last.updates, 2);
    assert_int_equal(r.last.phase, MSW_PHASE_ADMM);
    assert_true(fabs(r.last.loss - mean) < 1e-5 * mean);
    assert_true(r.last.rho == msw_admm_rho(r.admm, 0));
    assert_true(r.last.primal == msw_admm_residual(r.admm, 0, MSW_RESIDUAL_PRIMAL));
    assert_true(r.last.dual == msw_admm_residual(r.admm, 0, MSW_RESIDUAL_DUAL));
    assert_int_equal(msw_admm_freeze(r.admm), MSW_OK);
    assert_int_equal(rig_run(&r, 2 * EVERY + 1), MSW_OK);
    assert_int_equal(r.calls[PROGRESS], 4);
    assert_int_equal(r.last.iteration, 2 * EVERY);
    assert_int_equal(r.last.iterations, 2 * EVERY + 1);
    assert_int_equal(r.last.updates, 2);
    assert_int_equal(r.last.phase, MSW_PHASE_FROZEN);
    assert_true(isnan(r.last.rho) && isnan(r.last.primal) && isnan(r.last.dual));
    rig_teardown(&r);
}

static void residuals_close_until_they_converge(void **state)
{
    static rig r;
    msw_admm_options o;
    double first;

    (void)state;
    msw_admm_options_init(&o);
    o.update_every = 20;
    o.learning_rate = 0.05;
    o.updates = 40;
    o.rho_end = 20;
    o.ramp = 0.2;
    rig_setup(&r, (setting){.options = &o});
    assert_int_equal(rig_run(&r, 40), MSW_OK);
    first = msw_admm_residual(r.admm, 0, MSW_RESIDUAL_PRIMAL);
    r.admm->options.tolerance = 1e-3;
    assert_int_equal(rig_run(&r, 100000), MSW_OK);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_CONVERGED);
    assert_true(msw_admm_residual(r.admm, 0, MSW_RESIDUAL_PRIMAL) <= 1e-3);
    assert_true(first > 0.05);
    assert_int_equal(r.last.updates, msw_admm_updates(r.admm)); /* progress saw the last */
    rig_teardown(&r);
}

/* Any residual will do, but not while the ratios rise. */
static void convergence_waits_for_the_ramp(void **state)
{
    static rig r;
    msw_admm_options o;

    (void)state;
    msw_admm_options_init(&o);
    o.update_every = 2;
    o.updates = 10;
    o.ramp = 0.5;
    o.tolerance = 100;
    rig_setup(&r, (setting){.options = &o});
    assert_int_equal(rig_run(&r, 100), MSW_OK);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_CONVERGED);
    assert_int_equal(msw_admm_updates(r.admm), 5);
    rig_teardown(&r);
}

static void grow_loss(rig *r)
{
    r->scale = 1000;
}

static void diverge(bool frozen, bool rollback)
{
    static rig r, part;
    msw_admm_options o;
    float after[COUNT];

    msw_admm_options_init(&o);
    o.update_every = EVERY;
    o.rollback = rollback;
    rig_setup(&r, (setting){.frozen = frozen, .options = &o});
    r.where = LOSS;
    r.at = 2 * EVERY;
    r.act = grow_loss;
    assert_int_equal(rig_run(&r, 3 * EVERY), MSW_E_DIVERGED);
    assert_int_equal(msw_admm_stop_reason(r.admm), MSW_STOP_ERROR);
    assert_non_null(strstr(msw_admm_error(r.admm), "loss"));
    assert_int_equal(r.calls[LOSS], 3 * EVERY);
    assert_int_equal(r.calls[PROGRESS], 2);
    undisturbed(&part, (setting){.frozen = frozen, .options = &o},
                rollback ? 2 * EVERY : 3 * EVERY);
    if (rollback)
        assert_true(same_weights(&r, &part));
    else if (frozen)
        assert_true(same_weights(&r, &part)); /* one step more than the last progress */
    rig_teardown(&part);
    r.scale = 1;
    memcpy(after, r.weights, sizeof after);
    assert_int_equal(rig_run(&r, 3 * EVERY), MSW_OK);
    assert_memory_not_equal(after, r.weights, sizeof after);
    if (frozen)
        assert_int_equal(violations(&r), 0);
    rig_teardown(&r);
}

static void the_guard_stops_divergence(void **state)
{
    (void)state;
    for (int frozen = 0; frozen < 2; frozen++)
        for (int rollback = 0; rollback < 2; rollback++)
            diverge(frozen, rollback);
}

/* Losses below zero, as some hosts have them, do not trip it. */
static void negative_losses_are_fine(void **state)
{
    static rig r;

    (void)state;
    rig_setup(&r, (setting){0});
    r.scale = -1;
    assert_int_equal(rig_run(&r, 5 * EVERY), MSW_OK);
    rig_teardown(&r);
}

static void reported_memory_is_held(void **state)
{
    static rig r;
    msw_admm_options o;
    msw_admm_memory m;
    uint64_t before;

    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        msw_admm_options_init(&o);
        o.rollback = 1;
        o.optimiser = MSW_OPTIMISER_ADAM;
        rig_setup(&r, (setting){.frozen = frozen, .options = &o});
        msw_admm_memory_init(&m);
        assert_int_equal(msw_admm_get_memory(&m, r.admm), MSW_OK);
        before = msw_context_memory(r.ctx) - m.state;
        assert_int_equal(rig_run(&r, 3), MSW_OK);
        assert_int_equal(msw_admm_get_memory(&m, r.admm), MSW_OK);
        assert_true(m.rollback >= (COUNT + BIAS) * sizeof(float));
        assert_true(m.slots >= 2 * (COUNT + BIAS) * sizeof(float));
        assert_true(m.gradients >= (COUNT + BIAS) * sizeof(float));
        assert_int_equal(msw_context_memory(r.ctx) - before,
                         m.state + m.gradients + m.slots + m.rollback);
        rig_teardown(&r);
    }
}

/* A pool that fails in a run: the weights are those of some whole number of steps. */
static void pools_that_fail_in_a_run(void **state)
{
    static rig r, steps[12];
    enum { TOTAL = 10 };

    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        for (unsigned k = 0; k <= TOTAL; k++)
            undisturbed(&steps[k], (setting){.frozen = frozen}, k);
        for (uint64_t k = 1; k < 60; k++) {
            pool p = {.mode = POOL_PARTIAL, .fail_from = UINT64_MAX};
            msw_status status;
            bool found = false;

            rig_setup(&r, (setting){.frozen = frozen, .pool = &p});
            p.fail_from = atomic_load(&p.calls) + k;
            status = rig_run(&r, TOTAL);
            assert_true(status == MSW_OK || status == MSW_E_HOST);
            for (unsigned i = 0; i <= TOTAL; i++)
                found = found || same_weights(&r, &steps[i]);
            assert_true(found);
            rig_teardown(&r);
        }
        for (unsigned k = 0; k <= TOTAL; k++)
            rig_teardown(&steps[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callbacks_fail_and_stop),
        cmocka_unit_test(stopping_from_callbacks),
        cmocka_unit_test(stopping_before_a_run),
        cmocka_unit_test(stopping_from_another_thread),
        cmocka_unit_test(runs_that_cannot_start),
        cmocka_unit_test(poison_takes_no_step),
        cmocka_unit_test(re_entry_is_refused),
        cmocka_unit_test(setters_belong_into_progress),
        cmocka_unit_test(leaving_by_longjmp_loses_nothing),
        cmocka_unit_test(weights_that_move),
        cmocka_unit_test(progress_tells),
        cmocka_unit_test(residuals_close_until_they_converge),
        cmocka_unit_test(convergence_waits_for_the_ramp),
        cmocka_unit_test(the_guard_stops_divergence),
        cmocka_unit_test(negative_losses_are_fine),
        cmocka_unit_test(reported_memory_is_held),
        cmocka_unit_test(pools_that_fail_in_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
