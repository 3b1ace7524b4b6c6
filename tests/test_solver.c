/* SPDX-License-Identifier: BSD-2-Clause */
/* The solver as an object: options, layers, setters, schedules, memory, poison, threads. */
#include "admm.h"
#include "faults.h"
#include "ref.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A solver of one or two layers over arrays of the test. */
typedef struct bench {
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *w[2], *grad;
    msw_admm *admm;
    float *data[2], *slope;
    size_t count;
} bench;

static msw_context *plain_context(void)
{
    msw_context *ctx;

    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    return ctx;
}

static float *random_floats(size_t count, uint64_t seed)
{
    float *x = malloc(count * sizeof *x);

    assert_non_null(x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)ref_normal(&seed);
    return x;
}

static msw_status add_layer(bench *b, uint32_t i, double prune, double unify)
{
    msw_layer_options o;

    msw_layer_options_init(&o);
    o.prune = prune;
    o.unify = unify;
    return msw_admm_add_layer(b->admm, b->w[i], b->plan, &o);
}

static bench setup(msw_context *ctx, size_t rows, size_t columns, uint32_t side,
                   const msw_admm_options *options)
{
    const size_t shape[2] = {rows, columns};
    bench b = {.ctx = ctx, .count = rows * columns};
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.block_rows = o.block_columns = side;
    assert_int_equal(msw_plan_new(&b.plan, ctx, shape, 2, &o), MSW_OK);
    for (uint64_t i = 0; i < 2; i++) {
        b.data[i] = random_floats(b.count, 7 + i);
        assert_int_equal(msw_tensor_borrow(&b.w[i], ctx, b.data[i], shape, NULL, 2),
                         MSW_OK);
    }
    b.slope = random_floats(b.count, 9);
    assert_int_equal(msw_tensor_borrow(&b.grad, ctx, b.slope, shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_admm_new(&b.admm, ctx, options), MSW_OK);
    return b;
}

static void teardown(bench *b)
{
    msw_admm_free(b->admm);
    msw_tensor_free(b->grad);
    for (uint32_t i = 0; i < 2; i++) {
        msw_tensor_free(b->w[i]);
        free(b->data[i]);
    }
    free(b->slope);
    msw_plan_free(b->plan);
    assert_int_equal(msw_context_memory(b->ctx), sizeof(struct msw_context));
    msw_context_free(b->ctx);
}

/* Options */

static msw_status try_options(const msw_admm_options *o)
{
    msw_context *ctx = plain_context();
    msw_admm *admm;
    const msw_status status = msw_admm_new(&admm, ctx, o);

    assert_int_equal(admm == NULL, status != MSW_OK);
    msw_admm_free(admm);
    msw_context_free(ctx);
    return status;
}

static void options_out_of_range(void **state)
{
    static const struct {
        size_t field;
        double good, bad;
    } cases[] = {
        {offsetof(msw_admm_options, rho), 5, -1},
        {offsetof(msw_admm_options, rho), 1e-5, HUGE_VAL},
        {offsetof(msw_admm_options, rho), 5, (double)NAN},
        {offsetof(msw_admm_options, rho_end), 5, -1},
        {offsetof(msw_admm_options, rho_factor), 2, 0.5},
        {offsetof(msw_admm_options, rho_factor), 2, (double)NAN},
        {offsetof(msw_admm_options, rho_threshold), 2, 0.5},
        {offsetof(msw_admm_options, rho_threshold), 2, (double)NAN},
        {offsetof(msw_admm_options, tolerance), 0.1, -0.1},
        {offsetof(msw_admm_options, tolerance), 0.1, (double)NAN},
        {offsetof(msw_admm_options, ramp), 1, 1.01},
        {offsetof(msw_admm_options, ramp), 0.5, -0.1},
        {offsetof(msw_admm_options, guard), HUGE_VAL, -1},
        {offsetof(msw_admm_options, guard), 3, (double)NAN},
        {offsetof(msw_admm_options, learning_rate), 0.5, -0.5},
        {offsetof(msw_admm_options, learning_rate), 0.5, HUGE_VAL},
        {offsetof(msw_admm_options, momentum), -1, 1},
        {offsetof(msw_admm_options, momentum), 0.5, (double)NAN},
        {offsetof(msw_admm_options, beta2), 0.5, 1},
        {offsetof(msw_admm_options, beta2), 0.5, -0.5},
        {offsetof(msw_admm_options, weight_decay), 0.5, -0.5},
        {offsetof(msw_admm_options, weight_decay), 0.5, (double)NAN},
    };
    msw_admm_options o;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msw_admm_options_init(&o);
        memcpy((char *)&o + cases[i].field, &cases[i].good, sizeof(double));
        assert_int_equal(try_options(&o), MSW_OK);
        memcpy((char *)&o + cases[i].field, &cases[i].bad, sizeof(double));
        assert_int_equal(try_options(&o), MSW_E_INVAL);
    }
    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_BALANCE + 1;
    assert_int_equal(try_options(&o), MSW_E_INVAL);
    msw_admm_options_init(&o);
    o.optimiser = 2;
    assert_int_equal(try_options(&o), MSW_E_INVAL);
    msw_admm_options_init(&o);
    o.rollback = 2;
    assert_int_equal(try_options(&o), MSW_E_INVAL);
    msw_admm_options_init(&o);
    o.reserved = 1;
    assert_int_equal(try_options(&o), MSW_E_VERSION);
    assert_int_equal(try_options(NULL), MSW_OK);
}

static void layers_and_their_names(void **state)
{
    bench b = setup(plain_context(), 16, 16, 8, NULL);
    msw_layer_options o;
    const size_t other[2] = {16, 17};
    msw_tensor *wrong;

    (void)state;
    assert_int_equal(msw_tensor_new(&wrong, b.ctx, other, 2), MSW_OK);
    msw_layer_options_init(&o);
    o.name = "layer1";
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[0], b.plan, &o), MSW_OK);
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, &o), MSW_E_EXISTS);
    assert_non_null(strstr(msw_admm_error(b.admm), "layer1"));
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, NULL), MSW_E_EXISTS);
    o.name = "second";
    assert_int_equal(msw_admm_add_layer(b.admm, wrong, b.plan, &o), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_layer(b.admm, NULL, b.plan, &o), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_layer(NULL, wrong, NULL, &o), MSW_E_INVAL);
    o.prune = o.unify = 0.6;
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, &o), MSW_E_INVAL);
    o.prune = (double)NAN;
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, &o), MSW_E_INVAL);
    o.prune = 0.1;
    o.exclude = 4;
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, &o), MSW_E_VERSION);
    o.exclude = 0;
    o.reserved = 1;
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, &o), MSW_E_VERSION);
    assert_int_equal(msw_admm_layer_count(b.admm), 1);
    assert_int_equal(msw_admm_add_layer(b.admm, wrong, NULL, NULL), MSW_E_EXISTS);
    o.reserved = 0;
    assert_int_equal(msw_admm_add_layer(b.admm, wrong, NULL, &o), MSW_OK);
    assert_string_equal(msw_admm_layer_name(b.admm, 0), "layer1");
    assert_string_equal(msw_admm_layer_name(b.admm, 1), "second");
    assert_null(msw_admm_layer_name(b.admm, 2));
    assert_ptr_equal(msw_admm_plan(b.admm, 0), b.plan);
    assert_null(msw_admm_plan(b.admm, 1));
    assert_null(msw_admm_plan(b.admm, 7));
    assert_true(isnan(msw_admm_rho(b.admm, 1)) && isnan(msw_admm_rho(b.admm, 7)));
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    o.name = "late";
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], b.plan, &o), MSW_E_STATE);
    msw_tensor_free(wrong);
    teardown(&b);
}

/* Memory for the largest layer, wherever it stands. */
static void layers_of_any_size(void **state)
{
    static const size_t sizes[3][2] = {{8, 8}, {400, 512}, {24, 40}};

    (void)state;
    for (size_t first = 0; first < 3; first++) {
        faults memory = {0};
        msw_context *ctx = faults_context(&memory);
        msw_tensor *w[3];
        msw_admm *admm;

        assert_non_null(ctx);
        assert_int_equal(msw_admm_new(&admm, ctx, NULL), MSW_OK);
        for (size_t i = 0; i < 3; i++) {
            const size_t *shape = sizes[(first + i) % 3];
            msw_layer_options l;
            msw_plan *plan;

            msw_layer_options_init(&l);
            l.prune = l.unify = 0.4;
            assert_int_equal(msw_tensor_new(&w[i], ctx, shape, 2), MSW_OK);
            for (size_t k = 0; k < msw_tensor_count(w[i]); k++)
                msw_tensor_data(w[i])[k] = (float)(k * 7 % 11) - 5;
            assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, NULL), MSW_OK);
            assert_int_equal(msw_admm_add_layer(admm, w[i], plan, &l), MSW_OK);
            msw_plan_free(plan);
        }
        assert_int_equal(msw_admm_update(admm), MSW_OK);
        assert_int_equal(msw_admm_set_rho(admm, MSW_ALL_LAYERS, 0.1), MSW_OK);
        assert_int_equal(msw_admm_update(admm), MSW_OK);
        assert_int_equal(msw_admm_freeze(admm), MSW_OK);
        msw_admm_free(admm);
        for (size_t i = 0; i < 3; i++)
            msw_tensor_free(w[i]);
        msw_context_free(ctx);
        assert_true(faults_clean(&memory)); /* nothing written behind an array's end */
    }
}

static void many_layers(void **state)
{
    bench b = setup(plain_context(), 4, 4, 2, NULL);

    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(add_layer(&b, 0, 0.5, 0), MSW_OK);
    assert_int_equal(msw_admm_layer_count(b.admm), 40);
    assert_string_equal(msw_admm_layer_name(b.admm, 0), "layer0");
    assert_string_equal(msw_admm_layer_name(b.admm, 39), "layer39");
    teardown(&b);
}

static void calls_out_of_place(void **state)
{
    bench b = setup(plain_context(), 16, 16, 8, NULL);
    msw_unified *u;
    msw_tensor *wrong;
    const size_t other[2] = {16, 17};

    (void)state;
    assert_int_equal(msw_tensor_new(&wrong, b.ctx, other, 2), MSW_OK);
    assert_int_equal(add_layer(&b, 0, 0.5, 0.2), MSW_OK);
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[1], NULL, NULL), MSW_OK);
    assert_string_equal(msw_admm_error(b.admm), "");
    assert_int_equal(msw_admm_mask_gradient(b.admm, 0, b.grad), MSW_E_STATE);
    assert_int_equal(msw_admm_mask_slot(b.admm, 0, b.grad, MSW_SLOT_LINEAR), MSW_E_STATE);
    assert_int_equal(msw_admm_mask_weights(b.admm, 0), MSW_E_STATE);
    assert_int_equal(msw_admm_unify(&u, b.admm, 0), MSW_E_STATE);
    assert_null(u);
    assert_int_equal(msw_admm_unify(&u, b.admm, 1), MSW_E_INVAL);
    assert_int_equal(msw_admm_unify(&u, b.admm, 2), MSW_E_RANGE);
    assert_int_equal(msw_admm_unify(NULL, b.admm, 0), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_penalty(b.admm, 2, b.grad, 1), MSW_E_RANGE);
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, NULL, 1), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, wrong, 1), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, (double)NAN), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_weights(b.admm, 0, wrong), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_weights(b.admm, 5, wrong), MSW_E_RANGE);
    assert_int_equal(msw_admm_set_importance(b.admm, 0, wrong), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_importance(b.admm, 1, b.grad), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_importance(b.admm, 0, b.grad), MSW_E_INVAL); /* < 0 */
    assert_int_equal(msw_admm_get_z(wrong, b.admm, 0), MSW_E_INVAL);
    assert_int_equal(msw_admm_get_z(b.grad, b.admm, 2), MSW_E_RANGE);
    assert_int_equal(msw_admm_set_rho(b.admm, 0, 0), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_rho(b.admm, 1, 1), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_rho(b.admm, 2, 1), MSW_E_RANGE);
    assert_int_equal(msw_admm_set_rho(b.admm, MSW_ALL_LAYERS, (double)NAN), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_ratios(b.admm, 0, 0.6, 0.6), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_ratios(b.admm, 1, 0.1, 0.1), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_learning_rate(b.admm, 0), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_learning_rate(b.admm, (double)NAN), MSW_E_INVAL);
    assert_false(b.admm->begun); /* none of them has begun anything */
    assert_int_equal(msw_admm_set_learning_rate(b.admm, 0.25), MSW_OK);
    assert_true(msw_admm_learning_rate(b.admm) == 0.25);
    assert_int_equal(msw_admm_add_penalty(b.admm, 1, b.grad, 1), MSW_OK);
    assert_int_equal(msw_admm_freeze(b.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(b.admm), MSW_E_STATE);
    assert_int_equal(msw_admm_update(b.admm), MSW_E_STATE);
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, 1), MSW_E_STATE);
    assert_int_equal(msw_admm_set_rho(b.admm, 0, 1), MSW_E_STATE);
    assert_int_equal(msw_admm_set_ratios(b.admm, 0, 0, 0), MSW_E_STATE);
    assert_int_equal(msw_admm_set_importance(b.admm, 0, NULL), MSW_E_STATE);
    assert_int_equal(add_layer(&b, 1, 0, 0), MSW_E_STATE);
    assert_true(strlen(msw_admm_error(b.admm)) > 0);
    msw_admm_free(NULL);
    msw_admm_stop(NULL);
    msw_tensor_free(wrong);
    teardown(&b);
}

static void moved_weights_carry_on(void **state)
{
    bench b = setup(plain_context(), 16, 16, 8, NULL);
    float *z = malloc(b.count * sizeof *z);
    msw_tensor *copy;
    const size_t shape[2] = {16, 16};

    (void)state;
    assert_non_null(z);
    assert_int_equal(msw_tensor_borrow(&copy, b.ctx, z, shape, NULL, 2), MSW_OK);
    assert_int_equal(add_layer(&b, 0, 0.25, 0.5), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    memcpy(b.data[1], b.data[0], b.count * sizeof *z);
    memset(b.data[0], 0xff, b.count * sizeof *z); /* NaN: no longer looked at */
    assert_int_equal(msw_admm_set_weights(b.admm, 0, b.w[1]), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(msw_admm_get_z(copy, b.admm, 0), MSW_OK);
    assert_int_equal(msw_admm_freeze(b.admm), MSW_OK);
    assert_int_equal(msw_admm_set_weights(b.admm, 0, b.w[1]), MSW_OK); /* the same again */
    msw_tensor_free(copy);
    free(z);
    teardown(&b);
}

/* Schedules */

static void assert_close(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 * fabs(b)))
        fail_msg("%.17g is not %.17g", a, b);
}

/* rho at updates 1, 2, ...: what the W steps before them and they themselves use. */
static void run_schedule(const msw_admm_options *o, const double *rho, size_t count)
{
    bench b = setup(plain_context(), 8, 8, 4, o);

    assert_int_equal(add_layer(&b, 0, 0.25, 0.25), MSW_OK);
    for (size_t i = 0; i < count; i++) {
        assert_close(msw_admm_rho(b.admm, 0), rho[i]);
        assert_int_equal(msw_admm_update(b.admm), MSW_OK);
        assert_int_equal(msw_admm_updates(b.admm), i + 1);
    }
    teardown(&b);
}

static void schedules_of_rho(void **state)
{
    const double to_end[] = {0.01, 0.1, 1, 10, 100, 100, 100};
    const double down[] = {1, 0.1, 0.01, 0.01};
    const double fixed[] = {0.5, 0.5, 0.5, 0.5};
    const double grow[] = {1, 1.3, 1.69, 2, 2, 2};
    const double planned[] = {1, 3, 9, 9, 9};
    const double stages[] = {1, 1, 10, 10, 100, 100, 1000, 1000, 1000, 1000};
    const double few[] = {1, 100, 100};
    msw_admm_options o;

    (void)state;
    msw_admm_options_init(&o);
    o.updates = 5;
    o.rho = 0.01;
    o.rho_end = 100;
    run_schedule(&o, to_end, 7);
    o.updates = 3;
    o.rho = 1;
    o.rho_end = 0.01;
    run_schedule(&o, down, 4);
    o.rho_schedule = MSW_RHO_FIXED;
    o.rho = 0.5;
    run_schedule(&o, fixed, 4);
    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_GROW;
    o.rho = 1;
    o.rho_end = 2;
    run_schedule(&o, grow, 6);
    o.updates = 3;
    o.rho_end = 0;
    o.rho_factor = 3;
    run_schedule(&o, planned, 5);
    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_STAGES;
    o.updates = 8;
    o.rho = 1;
    run_schedule(&o, stages, 10);
    o.updates = 2;
    run_schedule(&o, few, 3);
}

/* A rho that the host sets is where the schedule goes on from. */
static void schedule_goes_on_from_the_set_rho(void **state)
{
    msw_admm_options o;
    bench b;

    (void)state;
    msw_admm_options_init(&o);
    o.updates = 5;
    o.rho = 0.01;
    o.rho_end = 100;
    b = setup(plain_context(), 8, 8, 4, &o);
    assert_int_equal(add_layer(&b, 0, 0.25, 0.25), MSW_OK);
    assert_int_equal(add_layer(&b, 1, 0.25, 0.25), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(msw_admm_set_rho(b.admm, 1, 25), MSW_OK);
    assert_close(msw_admm_rho(b.admm, 0), 1);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_close(msw_admm_rho(b.admm, 0), 10);
    assert_close(msw_admm_rho(b.admm, 1), 50);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_true(msw_admm_rho(b.admm, 0) == 100 && msw_admm_rho(b.admm, 1) == 100);
    teardown(&b);
}

static size_t count_class(const bench *b, uint8_t class)
{
    size_t n = 0;

    for (size_t i = 0; i < b->plan->block_count; i++)
        n += b->admm->layers[0].classes[i] == class;
    return n;
}

static void ratios_ramp_up(void **state)
{
    msw_admm_options o;
    bench b;

    (void)state;
    msw_admm_options_init(&o);
    o.updates = 20;
    o.ramp = 0.5;
    b = setup(plain_context(), 40, 40, 2, &o); /* 400 blocks */
    assert_int_equal(add_layer(&b, 0, 0.5, 0.25), MSW_OK);
    for (int k = 1; k <= 14; k++) {
        const double left = k < 10 ? 1 - k / 10.0 : 0, share = 1 - left * left * left;

        assert_int_equal(msw_admm_update(b.admm), MSW_OK);
        assert_int_equal(count_class(&b, MSW_CLASS_PRUNED), floor(200 * share + 1e-9));
        assert_int_equal(count_class(&b, MSW_CLASS_UNIFIED), floor(100 * share + 1e-9));
    }
    teardown(&b);
}

static void excluded_classes_stay_out(void **state)
{
    bench b = setup(plain_context(), 40, 40, 2, NULL);
    msw_layer_options o;

    (void)state;
    msw_layer_options_init(&o);
    o.prune = 0.5;
    o.unify = 0.5;
    o.exclude = MSW_EXCLUDE_PRUNE;
    assert_int_equal(msw_admm_add_layer(b.admm, b.w[0], b.plan, &o), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(count_class(&b, MSW_CLASS_PRUNED), 0);
    assert_int_equal(count_class(&b, MSW_CLASS_UNIFIED), 200);
    assert_int_equal(msw_admm_set_ratios(b.admm, MSW_ALL_LAYERS, 0.9, 0.1), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(count_class(&b, MSW_CLASS_PRUNED), 0);
    assert_int_equal(count_class(&b, MSW_CLASS_UNIFIED), 40);
    teardown(&b);
}

/* Memory: what is reported is what is held, and as little as promised. */

static msw_admm_memory memory_of(const msw_admm *admm)
{
    msw_admm_memory m;

    msw_admm_memory_init(&m);
    assert_int_equal(msw_admm_get_memory(&m, admm), MSW_OK);
    return m;
}

static void hold_promise(uint32_t side, double limit)
{
    faults memory = {0};
    bench b = setup(faults_context(&memory), 600, 500, side, NULL);
    const double weights = (double)b.count * sizeof(float);
    uint64_t before, held;
    msw_admm_memory m;

    assert_int_equal(add_layer(&b, 0, 0.3, 0.4), MSW_OK);
    assert_int_equal(memory_of(b.admm).state, 0);
    before = atomic_load(&memory.live);
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, 1), MSW_OK);
    m = memory_of(b.admm);
    held = atomic_load(&memory.live);
    assert_int_equal(held - before, m.state);
    assert_true((double)m.state <= limit * weights);
    assert_true((double)m.scratch <= fmax(0.5 * weights, 1 << 20));
    atomic_store(&memory.peak, held);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(atomic_load(&memory.live), held);
    assert_int_equal(atomic_load(&memory.peak) - held, m.scratch);
    assert_int_equal(m.gradients + m.slots + m.importance + m.rollback, 0);
    assert_int_equal(msw_admm_freeze(b.admm), MSW_OK);
    m = memory_of(b.admm);
    assert_int_equal(atomic_load(&memory.live) - before, m.state);
    assert_true((double)m.state <= 1.15 * weights);
    teardown(&b);
    assert_true(faults_clean(&memory));
}

static void memory_is_as_promised(void **state)
{
    (void)state;
    hold_promise(8, 1.07);
    hold_promise(4, 1.12);
    hold_promise(5, 1.15);
    hold_promise(64, 1.05);
}

static void importance_counts_as_memory(void **state)
{
    bench b = setup(plain_context(), 64, 64, 8, NULL);
    uint64_t before;

    (void)state;
    assert_int_equal(add_layer(&b, 0, 0.3, 0.4), MSW_OK);
    for (size_t i = 0; i < b.count; i++)
        b.slope[i] *= b.slope[i];
    before = msw_context_memory(b.ctx);
    assert_int_equal(msw_admm_set_importance(b.admm, 0, b.grad), MSW_OK);
    assert_int_equal(msw_context_memory(b.ctx) - before, memory_of(b.admm).importance);
    assert_true(memory_of(b.admm).importance >= b.count * sizeof(float));
    assert_int_equal(msw_admm_set_importance(b.admm, 0, NULL), MSW_OK);
    assert_int_equal(memory_of(b.admm).importance, 0);
    for (size_t i = 0; i < b.count; i++)
        b.slope[i] = 0; /* says nothing: as if NULL */
    assert_int_equal(msw_admm_set_importance(b.admm, 0, b.grad), MSW_OK);
    assert_int_equal(memory_of(b.admm).importance, 0);
    teardown(&b);
}

/* Everything a solver of one layer holds, as one array; NULL rows when not begun. */
typedef struct snapshot {
    float *d, *z, *w;
    double rho, primal, dual;
    uint32_t updates;
} snapshot;

static float *copy_floats(const float *from, size_t count)
{
    float *x = malloc(count * sizeof *x);

    assert_non_null(x);
    if (from)
        memcpy(x, from, count * sizeof *x);
    else
        memset(x, 0, count * sizeof *x);
    return x;
}

static snapshot take_snapshot(const bench *b, uint32_t layer)
{
    const msw__layer *l = &b->admm->layers[layer];
    snapshot s = {.d = copy_floats(l->d ? l->d->data : NULL, b->count),
                  .z = copy_floats(NULL, b->count),
                  .w = copy_floats(b->data[layer], b->count),
                  .rho = l->rho, .primal = l->primal, .dual = l->dual,
                  .updates = b->admm->updates};
    msw_tensor *z;

    assert_int_equal(msw_tensor_borrow(&z, b->ctx, s.z, b->plan->shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_admm_get_z(z, b->admm, layer), MSW_OK);
    msw_tensor_free(z);
    return s;
}

static bool same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static bool same_snapshot(const bench *b, snapshot s, snapshot t)
{
    const size_t bytes = b->count * sizeof(float);

    return !memcmp(s.d, t.d, bytes) && !memcmp(s.z, t.z, bytes) &&
           !memcmp(s.w, t.w, bytes) && same_double(s.rho, t.rho) &&
           same_double(s.primal, t.primal) && same_double(s.dual, t.dual) &&
           s.updates == t.updates;
}

static void free_snapshot(snapshot s)
{
    free(s.d);
    free(s.z);
    free(s.w);
}

static void assert_unchanged(const bench *b, uint32_t layer, snapshot before)
{
    const snapshot now = take_snapshot(b, layer);

    assert_true(same_snapshot(b, before, now));
    free_snapshot(now);
}

/* Poison */

static const float poisons[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX};

/* The second of two layers is poisoned: neither changes, and the solver goes on. */
static void poison_layer(bool begun, bool freeze, float poison)
{
    bench b = setup(plain_context(), 40, 56, 8, NULL);
    snapshot before[2];
    float kept;

    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(add_layer(&b, i, 0.3, 0.4), MSW_OK);
    if (begun)
        assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    kept = b.data[1][777];
    b.data[1][777] = poison;
    for (uint32_t i = 0; i < 2; i++)
        before[i] = take_snapshot(&b, i);
    if (freeze)
        assert_int_equal(msw_admm_freeze(b.admm), MSW_E_NUMERIC);
    else
        assert_int_equal(msw_admm_update(b.admm), MSW_E_NUMERIC);
    assert_non_null(strstr(msw_admm_error(b.admm), "layer1"));
    assert_int_equal(msw_admm_phase(b.admm), MSW_PHASE_ADMM);
    assert_int_equal(b.admm->begun, begun);
    for (uint32_t i = 0; i < 2; i++) {
        assert_unchanged(&b, i, before[i]);
        free_snapshot(before[i]);
    }
    b.data[1][777] = kept;
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(b.admm), MSW_OK);
    teardown(&b);
}

static void poisoned_weights_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof poisons / sizeof *poisons; i++)
        for (int begun = 0; begun < 2; begun++) {
            if (begun || isnan(poisons[i]) || isinf(poisons[i]))
                poison_layer(begun, false, poisons[i]);
            if (isnan(poisons[i]) || isinf(poisons[i]))
                poison_layer(begun, true, poisons[i]);
        }
}

/* Weights of 1e38 are finite, and so is everything that comes of them. */
static void enormous_weights(void **state)
{
    bench b = setup(plain_context(), 16, 16, 8, NULL);

    (void)state;
    assert_int_equal(add_layer(&b, 0, 0.25, 0.5), MSW_OK);
    for (size_t i = 0; i < b.count; i++)
        b.data[0][i] *= 1e37f;
    for (int k = 0; k < 8; k++) {
        const msw_status status = msw_admm_update(b.admm);

        assert_true(status == MSW_OK || status == MSW_E_NUMERIC);
        for (size_t i = 0; b.admm->begun && i < b.count; i++)
            assert_true(isfinite(b.admm->layers[0].d->data[i]));
    }
    teardown(&b);
}

/* Changes of rho and of importance after which U or D would overflow are refused, and the
 * state is as it was. */
static void changes_too_large(void **state)
{
    bench b = setup(plain_context(), 16, 16, 8, NULL);
    const double rho = 1e-3;
    snapshot before;

    (void)state;
    assert_int_equal(add_layer(&b, 0, 0.25, 0.5), MSW_OK);
    for (size_t i = 0; i < b.count; i++)
        b.data[0][i] *= 1e36f;
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    for (size_t i = 0; i < b.count; i++) /* all but one weight of next to no importance */
        b.data[1][i] = i ? 1e-30f : 1;
    before = take_snapshot(&b, 0);
    assert_int_equal(msw_admm_set_rho(b.admm, 0, rho * 1e-6), MSW_E_NUMERIC);
    assert_int_equal(msw_admm_set_rho(b.admm, MSW_ALL_LAYERS, rho * 1e-6), MSW_E_NUMERIC);
    assert_int_equal(msw_admm_set_importance(b.admm, 0, b.w[1]), MSW_E_NUMERIC);
    assert_unchanged(&b, 0, before);
    free_snapshot(before);
    teardown(&b);
}

static void poisoned_gradients_are_reported(void **state)
{
    bench b = setup(plain_context(), 40, 56, 8, NULL);

    (void)state;
    assert_int_equal(add_layer(&b, 0, 0.3, 0.4), MSW_OK);
    for (size_t at = 0; at < b.count; at += 97)
        for (size_t i = 0; i < 3; i++) {
            const float kept = b.slope[at];

            b.slope[at] = poisons[i];
            assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, 1), MSW_E_NUMERIC);
            b.slope[at] = kept;
        }
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, 1), MSW_OK);
    b.data[0][3] += 1;
    assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, 1e300), MSW_E_NUMERIC);
    teardown(&b);
}

/* Threads */

/* A script over everything that runs in parallel; large enough for several tasks. */
static snapshot script(msw_context *ctx, bool freeze)
{
    bench b = setup(ctx, 300, 410, 4, NULL);
    snapshot s;

    assert_int_equal(add_layer(&b, 0, 0.3, 0.4), MSW_OK);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(msw_admm_add_penalty(b.admm, 0, b.grad, -2), MSW_OK);
        for (size_t i = 0; i < b.count; i++)
            b.data[0][i] += 0.01f * b.slope[i];
        assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    }
    assert_int_equal(msw_admm_set_rho(b.admm, 0, 0.3), MSW_OK);
    for (size_t i = 0; i < b.count; i++)
        b.slope[i] *= b.slope[i];
    assert_int_equal(msw_admm_set_importance(b.admm, 0, b.grad), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    if (freeze)
        assert_int_equal(msw_admm_freeze(b.admm), MSW_OK);
    s = take_snapshot(&b, 0);
    teardown(&b);
    return s;
}

static msw_context *context_with(uint32_t threads, pool *p)
{
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.threads = threads;
    o.parallel_for = p ? pool_run : NULL;
    o.parallel_user = p;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    return ctx;
}

static void threads_change_no_bit(void **state)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    const bench dims = {.count = 300 * 410};

    (void)state;
    for (int freeze = 0; freeze < 2; freeze++) {
        const snapshot one = script(context_with(0, NULL), freeze);

        for (uint32_t threads = 2; threads <= 8; threads *= 4) {
            const snapshot many = script(context_with(threads, NULL), freeze);
            assert_true(same_snapshot(&dims, one, many));
            free_snapshot(many);
        }
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            pool p = {.mode = modes[m]};
            const snapshot many = script(context_with(0, &p), freeze);

            assert_true(atomic_load(&p.tasks) > atomic_load(&p.calls));
            assert_true(same_snapshot(&dims, one, many));
            free_snapshot(many);
        }
        free_snapshot(one);
    }
}

/* The pool fails from its k-th call on: either nothing has happened, or everything. */
static void fail_pool(pool_mode mode, bool freeze)
{
    bool failed = true;

    for (uint64_t k = 1; failed; k++) {
        pool p = {.mode = mode, .fail_from = UINT64_MAX};
        bench b = setup(context_with(0, &p), 300, 410, 4, NULL);
        snapshot before, wanted;
        msw_status status;

        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(add_layer(&b, i, 0.3, 0.4), MSW_OK);
        assert_int_equal(msw_admm_update(b.admm), MSW_OK);
        before = take_snapshot(&b, 1);
        p.fail_from = atomic_load(&p.calls) + k;
        status = freeze ? msw_admm_freeze(b.admm) : msw_admm_update(b.admm);
        failed = atomic_load(&p.calls) >= p.fail_from;
        p.fail_from = UINT64_MAX;
        if (status) {
            assert_int_equal(status, MSW_E_HOST);
            assert_unchanged(&b, 1, before);
            assert_int_equal(freeze ? msw_admm_freeze(b.admm) : msw_admm_update(b.admm),
                             MSW_OK);
        } else {
            assert_true(k > 1);
        }
        wanted = take_snapshot(&b, 1);
        free_snapshot(before);
        teardown(&b);

        b = setup(plain_context(), 300, 410, 4, NULL);
        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(add_layer(&b, i, 0.3, 0.4), MSW_OK);
        assert_int_equal(msw_admm_update(b.admm), MSW_OK);
        assert_int_equal(freeze ? msw_admm_freeze(b.admm) : msw_admm_update(b.admm),
                         MSW_OK);
        assert_unchanged(&b, 1, wanted);
        free_snapshot(wanted);
        teardown(&b);
    }
}

static void failing_pools_do_nothing_or_all(void **state)
{
    (void)state;
    fail_pool(POOL_FAILING, false);
    fail_pool(POOL_PARTIAL, false);
    fail_pool(POOL_FAILING, true);
    fail_pool(POOL_PARTIAL, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_out_of_range),
        cmocka_unit_test(layers_and_their_names),
        cmocka_unit_test(layers_of_any_size),
        cmocka_unit_test(many_layers),
        cmocka_unit_test(calls_out_of_place),
        cmocka_unit_test(moved_weights_carry_on),
        cmocka_unit_test(schedules_of_rho),
        cmocka_unit_test(schedule_goes_on_from_the_set_rho),
        cmocka_unit_test(ratios_ramp_up),
        cmocka_unit_test(excluded_classes_stay_out),
        cmocka_unit_test(memory_is_as_promised),
        cmocka_unit_test(importance_counts_as_memory),
        cmocka_unit_test(poisoned_weights_change_nothing),
        cmocka_unit_test(enormous_weights),
        cmocka_unit_test(changes_too_large),
        cmocka_unit_test(poisoned_gradients_are_reported),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(failing_pools_do_nothing_or_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
