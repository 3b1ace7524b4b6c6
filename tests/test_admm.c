/* SPDX-License-Identifier: BSD-2-Clause */
/* The ADMM phase against its definition: penalty, Z and U step, importance, changes of
 * rho, freezing; on every layout. */
#include "admm.h"
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The solver of one layer beside the definition, kept in double and in the order of the
 * GEMM view. */
typedef struct twin {
    fixture *f;
    msw_tensor *w;
    msw_admm *admm;
    size_t count;
    double *z, *u, *h, *v;
} twin;

static double *doubles(size_t count)
{
    double *x = calloc(count, sizeof *x);

    assert_non_null(x);
    return x;
}

static twin twin_setup(fixture *f, double prune, double unify, const msw_admm_options *options)
{
    twin t = {.f = f, .w = fixture_random_tensor(f)};
    msw_layer_options o;

    t.count = msw_tensor_count(t.w);
    t.z = doubles(t.count);
    t.u = doubles(t.count);
    t.v = doubles(t.count);
    t.h = doubles(t.count);
    for (size_t i = 0; i < t.count; i++)
        t.h[i] = 1;
    assert_int_equal(msw_admm_new(&t.admm, f->ctx, options), MSW_OK);
    msw_layer_options_init(&o);
    o.prune = prune;
    o.unify = unify;
    assert_int_equal(msw_admm_add_layer(t.admm, t.w, f->plan, &o), MSW_OK);
    return t;
}

static void twin_teardown(twin *t)
{
    msw_admm_free(t->admm);
    fixture_free(t->w);
    free(t->z);
    free(t->u);
    free(t->v);
    free(t->h);
}

static const msw__layer *layer_of(const twin *t)
{
    return &t->admm->layers[0];
}

static double weight(const twin *t, size_t i)
{
    return (double)*fixture_at(t->f, t->w, i);
}

static void read_z(const twin *t, double *z)
{
    msw_tensor *tensor = fixture_tensor(t->f);

    assert_int_equal(msw_admm_get_z(tensor, t->admm, 0), MSW_OK);
    for (size_t i = 0; i < t->count; i++)
        z[i] = (double)*fixture_at(t->f, tensor, i);
    fixture_free(tensor);
}

/* U = Z - D */
static double solver_u(const twin *t, const double *z, size_t i)
{
    return z[i] - (double)*fixture_at(t->f, layer_of(t)->d, i);
}

/* The numbers of the weights of a block; how many. */
static size_t block_weights(const twin *t, size_t block, size_t *numbers)
{
    msw_block b;
    size_t n = 0;

    msw_block_init(&b);
    assert_int_equal(msw_plan_get_block(&b, t->f->plan, block), MSW_OK);
    for (size_t r = b.row; r < b.row + b.rows; r++)
        for (size_t c = b.column; c < b.column + b.columns; c++)
            numbers[n++] = r * t->f->info.columns + c;
    return n;
}

/* Costs of a block of t->v. */
static void rate(const twin *t, const size_t *numbers, size_t n, double *prune,
                 double *unify, double *magnitude)
{
    double sum = 0, h = 0;

    *prune = *unify = 0;
    for (size_t i = 0; i < n; i++) {
        sum += t->h[numbers[i]] * fabs(t->v[numbers[i]]);
        h += t->h[numbers[i]];
    }
    *magnitude = sum / h;
    for (size_t i = 0; i < n; i++) {
        const double size = fabs(t->v[numbers[i]]), spread = size - *magnitude;

        *prune += t->h[numbers[i]] * size * size;
        *unify += t->h[numbers[i]] * spread * spread;
    }
}

static void near(double a, double b, double scale)
{
    if (!(fabs(a - b) <= 2e-6 * (1 + scale)))
        fail_msg("%.9g is not %.9g", a, b);
}

/* The solver's Z is a projection of t->v: each block is what its class says, there are
 * as many of each as asked for, and no other choice of classes would be closer. */
static void assert_projection(twin *t, double prune, double unify)
{
    const size_t blocks = t->f->info.block_count;
    const uint8_t *classes = layer_of(t)->classes;
    size_t numbers[MSW_MAX_BLOCK * MSW_MAX_BLOCK], counts[3] = {0};
    double *prune_costs = doubles(blocks), *unify_costs = doubles(blocks), cost = 0;

    read_z(t, t->z);
    for (size_t b = 0; b < blocks; b++) {
        const size_t n = block_weights(t, b, numbers);
        double magnitude;

        rate(t, numbers, n, &prune_costs[b], &unify_costs[b], &magnitude);
        counts[classes[b]]++;
        cost += classes[b] == MSW_CLASS_PRUNED    ? prune_costs[b]
                : classes[b] == MSW_CLASS_UNIFIED ? unify_costs[b]
                                                  : 0;
        for (size_t i = 0; i < n; i++) {
            const double v = t->v[numbers[i]], z = t->z[numbers[i]];
            const double wanted = classes[b] == MSW_CLASS_FREE     ? v
                                  : classes[b] == MSW_CLASS_PRUNED ? 0
                                  : v < 0                          ? -magnitude
                                                                   : magnitude;
            near(z, wanted, fabs(v) + magnitude);
        }
    }
    assert_int_equal(counts[MSW_CLASS_PRUNED], floor(prune * (double)blocks + 1e-9));
    assert_int_equal(counts[MSW_CLASS_UNIFIED], floor(unify * (double)blocks + 1e-9));
    if (blocks <= REF_MOST) {
        const double least = ref_joint_cost_table(prune_costs, unify_costs, blocks,
                                                  counts[MSW_CLASS_PRUNED],
                                                  counts[MSW_CLASS_UNIFIED]);
        assert_true(cost <= least * (1 + 1e-5) + 1e-9);
    }
    free(prune_costs);
    free(unify_costs);
}

/* The host trains: the weights move, and towards nothing in particular. */
static void move_weights(twin *t)
{
    for (size_t i = 0; i < t->count; i++)
        *fixture_at(t->f, t->w, i) += (float)(0.1 * ref_normal(&t->f->random));
}

/* Before the first update: Z is the projection of W, U = 0. */
static void begin_and_check(twin *t, double prune, double unify)
{
    msw_tensor *grad = fixture_tensor(t->f);

    assert_true(isnan(msw_admm_residual(t->admm, 0, MSW_RESIDUAL_PRIMAL)));
    assert_int_equal(msw_admm_add_penalty(t->admm, 0, grad, 0), MSW_OK);
    assert_true(isnan(msw_admm_residual(t->admm, 0, MSW_RESIDUAL_PRIMAL)));
    for (size_t i = 0; i < t->count; i++)
        t->v[i] = weight(t, i);
    assert_projection(t, prune, unify);
    for (size_t i = 0; i < t->count; i++)
        assert_true(solver_u(t, t->z, i) == 0);
    fixture_free(grad);
}

/* One update, and all that it must have done. */
static void update_and_check(twin *t, double prune, double unify)
{
    const double rho = msw_admm_rho(t->admm, 0);
    double primal = 0, dual = 0, norm = 0, ratio;
    double *before = doubles(t->count);

    if (!t->admm->begun)
        begin_and_check(t, prune, unify);
    read_z(t, before);
    for (size_t i = 0; i < t->count; i++)
        t->v[i] = weight(t, i) + t->u[i];
    assert_int_equal(msw_admm_update(t->admm), MSW_OK);
    assert_projection(t, prune, unify);
    ratio = rho / msw_admm_rho(t->admm, 0);
    for (size_t i = 0; i < t->count; i++) {
        const double w = weight(t, i);

        t->u[i] = (t->v[i] - t->z[i]) * ratio;
        near(solver_u(t, t->z, i), t->u[i], fabs(t->v[i]) + fabs(t->u[i]));
        t->u[i] = solver_u(t, t->z, i); /* roundings do not add up */
        primal += (w - t->z[i]) * (w - t->z[i]);
        dual += (t->z[i] - before[i]) * (t->z[i] - before[i]);
        norm += w * w;
    }
    near(msw_admm_residual(t->admm, 0, MSW_RESIDUAL_PRIMAL), sqrt(primal / norm), 1);
    near(msw_admm_residual(t->admm, 0, MSW_RESIDUAL_DUAL), sqrt(dual / norm), 1);
    free(before);
}

static void check_updates(fixture *f)
{
    twin t = twin_setup(f, 0.3, 0.4, NULL);

    for (int k = 0; k < 6; k++) {
        move_weights(&t);
        update_and_check(&t, 0.3, 0.4);
    }
    assert_int_equal(msw_admm_updates(t.admm), 6);
    assert_int_equal(msw_admm_set_ratios(t.admm, 0, 0.5, 0.5), MSW_OK);
    move_weights(&t);
    update_and_check(&t, 0.5, 0.5);
    assert_int_equal(msw_admm_set_ratios(t.admm, MSW_ALL_LAYERS, 0, 0), MSW_OK);
    update_and_check(&t, 0, 0);
    for (size_t i = 0; i < t.count; i++) /* all free: nothing holds the weights */
        assert_true(solver_u(&t, t.z, i) == 0);
    twin_teardown(&t);
}

static void updates_are_projections(void **state)
{
    (void)state;
    fixture_for_all(check_updates);
}

/* Importance */

/* Random; a share of them 0, which the floor then lifts. */
static void set_importance(twin *t, double zero)
{
    msw_tensor *h = fixture_tensor(t->f);
    double sum = 0;

    for (size_t i = 0; i < t->count; i++) {
        const double x = ref_uniform(&t->f->random);
        *fixture_at(t->f, h, i) = (float)(x < zero ? 0 : 20 * (x + 0.2));
    }
    for (size_t i = 0; i < t->count; i++)
        sum += (double)*fixture_at(t->f, h, i);
    for (size_t i = 0; i < t->count; i++)
        t->h[i] = sum > 0 ? fmax((double)*fixture_at(t->f, h, i) * (double)t->count / sum, 1e-3)
                          : 1;
    assert_int_equal(msw_admm_set_importance(t->admm, 0, h), MSW_OK);
    fixture_free(h);
}

static void check_importance(fixture *f)
{
    twin t = twin_setup(f, 0.3, 0.4, NULL);
    double *old = doubles(t.count);

    set_importance(&t, 0.2);
    begin_and_check(&t, 0.3, 0.4);
    for (int k = 0; k < 4; k++) {
        if (k == 2) { /* h U is kept */
            memcpy(old, t.h, t.count * sizeof *old);
            set_importance(&t, 0.2);
            for (size_t i = 0; i < t.count; i++) {
                t.u[i] *= old[i] / t.h[i];
                near(solver_u(&t, t.z, i), t.u[i], fabs(t.u[i]) + fabs(t.z[i]));
                t.u[i] = solver_u(&t, t.z, i);
            }
        }
        move_weights(&t);
        update_and_check(&t, 0.3, 0.4);
    }
    assert_int_equal(msw_admm_set_importance(t.admm, 0, NULL), MSW_OK);
    for (size_t i = 0; i < t.count; i++) {
        t.u[i] *= t.h[i];
        t.h[i] = 1;
        near(solver_u(&t, t.z, i), t.u[i], fabs(t.u[i]) + fabs(t.z[i]));
        t.u[i] = solver_u(&t, t.z, i);
    }
    update_and_check(&t, 0.3, 0.4);
    free(old);
    twin_teardown(&t);
}

static void importance_is_one_metric(void **state)
{
    (void)state;
    fixture_for_all(check_importance);
}

/* rho */

static void check_rho(fixture *f)
{
    static const double steps[] = {0.5, 0.01, 3};
    msw_admm_options o;
    twin t;

    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_FIXED;
    o.rho = 0.1;
    t = twin_setup(f, 0.4, 0.3, &o);
    update_and_check(&t, 0.4, 0.3);
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        const double before = msw_admm_rho(t.admm, 0);
        double *z = doubles(t.count);

        move_weights(&t);
        update_and_check(&t, 0.4, 0.3);
        assert_true(msw_admm_rho(t.admm, 0) == before);
        assert_int_equal(msw_admm_set_rho(t.admm, k ? 0 : MSW_ALL_LAYERS, steps[k]), MSW_OK);
        assert_true(msw_admm_rho(t.admm, 0) == steps[k]);
        read_z(&t, z);
        for (size_t i = 0; i < t.count; i++) {
            assert_true(z[i] == t.z[i]);
            t.u[i] *= before / steps[k];
            near(solver_u(&t, z, i), t.u[i], fabs(t.u[i]) + fabs(z[i]));
            t.u[i] = solver_u(&t, z, i);
        }
        free(z);
    }
    update_and_check(&t, 0.4, 0.3);
    twin_teardown(&t);
}

static void changes_of_rho_keep_rho_u(void **state)
{
    (void)state;
    fixture_for_all(check_rho);
}

/* The penalty */

/* Residual balancing */

enum { BALANCED = 10 };

static unsigned raised, lowered;

static double norm_of_change(const double *a, const double *b, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

/* One update, on which @p rho becomes what the definition says. */
static void balance_and_check(twin *t, double *rho, double least_end)
{
    double *before = doubles(t->count), *w = doubles(t->count), *none = doubles(t->count);
    double primal, dual, u;
    const bool begun = t->admm->begun;

    if (begun)
        read_z(t, before);
    update_and_check(t, 0.5, 0.5);
    for (size_t i = 0; i < t->count; i++)
        w[i] = weight(t, i);
    primal = norm_of_change(w, t->z, t->count) / norm_of_change(w, none, t->count);
    u = norm_of_change(t->u, none, t->count) * msw_admm_rho(t->admm, 0) / *rho;
    dual = norm_of_change(t->z, before, t->count) / u;
    if (begun && u > 0 && fabs(primal - dual) > 1e-5 &&
        msw_admm_updates(t->admm) < BALANCED) {
        raised += primal > dual;
        lowered += primal < dual;
        *rho = primal < dual ? *rho / 1.5 : *rho * 1.5 < least_end ? *rho * 1.5 : least_end;
    } else if (!begun || fabs(primal - dual) <= 1e-5) {
        /* the Z before was that of W, which is not kept here; or rounding decides */
        *rho = msw_admm_rho(t->admm, 0);
    }
    near(msw_admm_rho(t->admm, 0), *rho, *rho);
    *rho = msw_admm_rho(t->admm, 0);
    free(before);
    free(w);
    free(none);
}

static void check_balance(fixture *f)
{
    msw_admm_options o;
    double rho = 0.1;
    twin t;

    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_BALANCE;
    o.updates = BALANCED;
    o.rho = rho;
    o.rho_end = 0.2;
    o.rho_factor = 1.5;
    o.rho_threshold = 1;
    t = twin_setup(f, 0.5, 0.5, &o);
    for (int k = 0; k < BALANCED + 2; k++) {
        if (k % 4 == 1)
            move_weights(&t);
        for (size_t i = 0; i < t.count && k % 4 == 3; i++) /* W follows Z far away */
            *fixture_at(f, t.w, i) = (float)(3 * t.z[i]);
        balance_and_check(&t, &rho, o.rho_end);
    }
    twin_teardown(&t);
}

static void rho_balances_residuals(void **state)
{
    (void)state;
    fixture_for_all(check_balance);
    if (raised < 10 || lowered < 10)
        fail_msg("%u times raised, %u times lowered", raised, lowered);
}

/* Nothing to balance: all blocks are free, W and Z are equal. */
static void nothing_to_balance(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_admm_options o;
    twin t;

    (void)state;
    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_BALANCE;
    o.rho_threshold = 0.5;
    t.admm = NULL;
    assert_int_equal(msw_admm_new(&t.admm, f.ctx, &o), MSW_E_INVAL);
    o.rho_threshold = 0;
    t = twin_setup(&f, 0, 0, &o);
    for (int k = 0; k < 4; k++) {
        move_weights(&t);
        assert_int_equal(msw_admm_update(t.admm), MSW_OK);
        assert_true(msw_admm_rho(t.admm, 0) == (double)1e-2);
    }
    twin_teardown(&t);
    fixture_teardown(&f);
}

/* rho/2 sum h (w - z + u)^2 with weight i moved by step */
static double penalty_value(const twin *t, size_t i, double step)
{
    const double x = weight(t, i) + step - t->z[i] + t->u[i];

    return msw_admm_rho(t->admm, 0) / 2 * t->h[i] * x * x;
}

/* For all i, the gradient against central differences of the penalty. */
static void check_gradient(twin *t, double scale)
{
    const double step = 1e-3;
    msw_tensor *grad = fixture_random_tensor(t->f), *before = fixture_copy(t->f, grad);
    msw_tensor *weights = fixture_copy(t->f, t->w);

    assert_int_equal(msw_admm_add_penalty(t->admm, 0, grad, scale), MSW_OK);
    for (size_t i = 0; i < t->count; i++) {
        const double slope =
            (penalty_value(t, i, step) - penalty_value(t, i, -step)) / (2 * step);
        const double g = (double)*fixture_at(t->f, before, i);

        near((double)*fixture_at(t->f, grad, i), g + scale * slope,
             fabs(g) + fabs(scale * slope));
        *fixture_at(t->f, grad, i) = *fixture_at(t->f, before, i);
    }
    assert_true(fixture_same_bits(t->f, grad, before)); /* nothing between the strides */
    assert_true(fixture_same_bits(t->f, t->w, weights));
    fixture_free(grad);
    fixture_free(before);
    fixture_free(weights);
}

static void check_penalty(fixture *f)
{
    static const double scales[] = {1, -32, 0.125, 0};
    twin t = twin_setup(f, 0.3, 0.4, NULL);

    for (int k = 0; k < 3; k++) {
        if (k == 2) {
            double *old = doubles(t.count);

            memcpy(old, t.h, t.count * sizeof *old);
            set_importance(&t, 0.2);
            for (size_t i = 0; i < t.count; i++)
                t.u[i] *= old[i] / t.h[i];
            free(old);
        }
        update_and_check(&t, 0.3, 0.4);
        move_weights(&t);
        for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
            check_gradient(&t, scales[s]);
    }
    twin_teardown(&t);
}

static void penalty_is_the_slope_of_its_square(void **state)
{
    (void)state;
    fixture_for_all(check_penalty);
}

/* A gradient whose strides are not those of the weights. */
static void penalty_on_other_strides(void **state)
{
    const layout *plain = &fixture_layouts[1], *strided = &fixture_layouts[2];
    fixture f = fixture_setup(plain, NULL);
    twin t = twin_setup(&f, 0.3, 0.4, NULL);
    msw_tensor *grad = fixture_random_tensor(&f), *other, *copy;

    (void)state;
    update_and_check(&t, 0.3, 0.4);
    move_weights(&t);
    f.layout = strided;
    other = fixture_copy(&f, grad);
    f.layout = plain;
    copy = fixture_copy(&f, grad);
    assert_int_equal(msw_admm_add_penalty(t.admm, 0, grad, -2), MSW_OK);
    assert_int_equal(msw_admm_add_penalty(t.admm, 0, other, -2), MSW_OK);
    for (size_t i = 0; i < t.count; i++)
        assert_true(*fixture_at(&f, grad, i) == *fixture_at(&f, other, i));
    assert_false(fixture_same_bits(&f, grad, copy));
    fixture_free(grad);
    fixture_free(other);
    fixture_free(copy);
    twin_teardown(&t);
    fixture_teardown(&f);
}

/* Convex problems with a known optimum */

/* The W step of f = 1/2 sum curvature (w - target)^2, exactly: one Newton step. */
static void solve_w(twin *t, const double *target, const double *curvature)
{
    const double rho = msw_admm_rho(t->admm, 0);
    msw_tensor *grad = fixture_tensor(t->f);

    for (size_t i = 0; i < t->count; i++)
        *fixture_at(t->f, grad, i) = 0;
    assert_int_equal(msw_admm_add_penalty(t->admm, 0, grad, 1), MSW_OK);
    for (size_t i = 0; i < t->count; i++) {
        const double w = weight(t, i), g = (double)*fixture_at(t->f, grad, i);
        const double slope = curvature[i] * (w - target[i]) + g;

        *fixture_at(t->f, t->w, i) = (float)(w - slope / (curvature[i] + rho * t->h[i]));
    }
    fixture_free(grad);
}

/* Least curvature-weighted distance from target to the solver's classes and signs. */
static double optimum(const twin *t, const double *target, const double *curvature)
{
    size_t numbers[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
    double value = 0;

    for (size_t b = 0; b < t->f->info.block_count; b++) {
        const size_t n = block_weights(t, b, numbers);
        const uint8_t class = layer_of(t)->classes[b];
        double sum = 0, curvatures = 0, m;

        for (size_t i = 0; i < n; i++) {
            const size_t k = numbers[i];
            sum += curvature[k] * (t->z[k] < 0 ? -target[k] : target[k]);
            curvatures += curvature[k];
        }
        m = class == MSW_CLASS_UNIFIED ? sum / curvatures : 0;
        for (size_t i = 0; i < n && class != MSW_CLASS_FREE; i++) {
            const size_t k = numbers[i];
            const double z = t->z[k] < 0 ? -m : m;
            value += curvature[k] / 2 * (z - target[k]) * (z - target[k]);
        }
    }
    return value;
}

static void solve_convex(bool weighted, double prune, double unify)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_admm_options o;
    double *target, *curvature, value = 0;
    twin t;

    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_FIXED;
    o.rho = 12; /* above the curvature: no sign or class flips for ever */
    t = twin_setup(&f, prune, unify, &o);
    target = doubles(t.count);
    curvature = doubles(t.count);
    for (size_t i = 0; i < t.count; i++) {
        target[i] = weight(&t, i);
        curvature[i] = 0.5 + 3 * ref_uniform(&f.random);
    }
    if (weighted)
        set_importance(&t, 0); /* not that of the curvature: any metric has to do */
    for (int k = 0; k < 1200; k++) {
        solve_w(&t, target, curvature);
        assert_int_equal(msw_admm_update(t.admm), MSW_OK);
    }
    read_z(&t, t.z);
    for (size_t i = 0; i < t.count; i++)
        value += curvature[i] / 2 * (t.z[i] - target[i]) * (t.z[i] - target[i]);
    assert_true(msw_admm_residual(t.admm, 0, MSW_RESIDUAL_PRIMAL) < 1e-6);
    if (fabs(value - optimum(&t, target, curvature)) > 1e-6 * value)
        fail_msg("%.9g instead of %.9g", value, optimum(&t, target, curvature));
    free(target);
    free(curvature);
    twin_teardown(&t);
    fixture_teardown(&f);
}

static void convex_problems_reach_their_optimum(void **state)
{
    (void)state;
    solve_convex(false, 0, 1);
    solve_convex(false, 0.3, 0.5);
    solve_convex(true, 0, 1);
    solve_convex(true, 0.3, 0.5);
}

/* Momentum: updates that come too soon never settle, however many. */

enum { SIDE = 32, PULLED = SIDE * SIDE };

static struct pull {
    float w[PULLED];
    double target[PULLED], curvature[PULLED];
} pull;

static int pull_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    (void)layer_count;
    (void)user;
    *loss = 0;
    for (size_t i = 0; i < PULLED; i++) {
        const double off = (double)weights[0][i] - pull.target[i];

        grads[0][i] = (float)(pull.curvature[i] * off);
        *loss += pull.curvature[i] * off * off / 2 / PULLED;
    }
    return 0;
}

static double residual_after(size_t update_every, uint64_t updates)
{
    static const layout square = {MSW_WEIGHTS_OI, 0, {SIDE, SIDE}, 2, 4, 4, 0, false, false};
    fixture f = fixture_setup(&square, NULL);
    msw_admm_options o;
    msw_layer_options l;
    msw_tensor *w;
    msw_admm *admm;
    msw_host host;
    double residual;

    for (size_t i = 0; i < PULLED; i++) {
        pull.target[i] = 2 * ref_uniform(&f.random) - 1;
        pull.curvature[i] = 0.05 + ref_uniform(&f.random);
        pull.w[i] = (float)pull.target[i];
    }
    msw_admm_options_init(&o);
    o.update_every = update_every;
    o.rho = o.rho_end = 1;
    o.learning_rate = 0.02;
    assert_int_equal(msw_admm_new(&admm, f.ctx, &o), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&w, f.ctx, pull.w, square.shape, NULL, 2), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.5;
    l.unify = 0.4;
    assert_int_equal(msw_admm_add_layer(admm, w, f.plan, &l), MSW_OK);
    msw_host_init(&host);
    host.loss_gradient = pull_gradient;
    assert_int_equal(msw_admm_run(admm, &host, updates * update_every), MSW_OK);
    residual = msw_admm_residual(admm, 0, MSW_RESIDUAL_PRIMAL);
    msw_tensor_free(w);
    msw_admm_free(admm);
    fixture_teardown(&f);
    return residual;
}

static void momentum_wants_steps_between_updates(void **state)
{
    (void)state;
    assert_true(residual_after(1, 2000) > 0.5);
    assert_true(residual_after(4, 500) > 0.5);
    assert_true(residual_after(40, 50) < 0.1);
}

/* f of curvature h = importance: one projection is the global optimum, by trying every
 * choice of classes and signs. */
static void importance_finds_the_best_of_all_choices(void **state)
{
    static const layout small = {MSW_WEIGHTS_OI, 0, {4, 6}, 2, 2, 2, 0, false, false};
    fixture f = fixture_setup(&small, NULL);
    msw_admm_options o;
    double costs[2][6], value = 0, *target;
    size_t numbers[4];
    twin t;

    (void)state;
    msw_admm_options_init(&o);
    o.rho_schedule = MSW_RHO_FIXED;
    o.rho = 1;
    t = twin_setup(&f, 0.4, 0.4, &o);
    target = doubles(t.count);
    for (size_t i = 0; i < t.count; i++)
        target[i] = weight(&t, i);
    set_importance(&t, 0.2);
    for (int k = 0; k < 200; k++) {
        solve_w(&t, target, t.h);
        assert_int_equal(msw_admm_update(t.admm), MSW_OK);
    }
    read_z(&t, t.z);
    for (size_t i = 0; i < t.count; i++)
        value += t.h[i] * (t.z[i] - target[i]) * (t.z[i] - target[i]);
    for (size_t b = 0; b < 6; b++) {
        const size_t n = block_weights(&t, b, numbers);
        float v[4], h[4];

        for (size_t i = 0; i < n; i++) {
            v[i] = (float)target[numbers[i]];
            h[i] = (float)t.h[numbers[i]];
        }
        costs[0][b] = ref_costs(v, h, n).prune;
        costs[1][b] = ref_unify_distance(v, h, n);
    }
    near(value, ref_joint_cost(costs[0], costs[1], 6, 2, 2), value);
    free(target);
    twin_teardown(&t);
    fixture_teardown(&f);
}

/* Freezing */

static void check_freezing(fixture *f)
{
    twin t = twin_setup(f, 0.4, 0.3, NULL);
    msw_tensor *weights, *dense;
    msw_unified *u;

    update_and_check(&t, 0.4, 0.3);
    move_weights(&t);
    weights = fixture_copy(f, t.w);
    u = fixture_project(f, weights, 0.4, 0.3, NULL);
    dense = fixture_dense(f, u);
    assert_int_equal(msw_admm_freeze(t.admm), MSW_OK);
    assert_int_equal(msw_admm_phase(t.admm), MSW_PHASE_FROZEN);
    assert_true(fixture_same_bits(f, t.w, dense)); /* of W, not of W + U */
    assert_int_equal(fixture_verify(u, t.w).violations, 0);
    msw_unified_free(u);
    fixture_free(weights);
    fixture_free(dense);
    twin_teardown(&t);
}

static void freezing_projects_the_weights(void **state)
{
    (void)state;
    fixture_for_all(check_freezing);
}

static void freezing_uses_importance_and_final_ratios(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[2], NULL);
    msw_admm_options o;
    msw_tensor *weights, *dense, *h;
    msw_unified *u;
    twin t;

    (void)state;
    msw_admm_options_init(&o);
    o.ramp = 1; /* far from its end */
    t = twin_setup(&f, 0.4, 0.3, &o);
    set_importance(&t, 0.2);
    assert_int_equal(msw_admm_update(t.admm), MSW_OK);
    weights = fixture_copy(&f, t.w);
    h = fixture_tensor(&f);
    for (size_t i = 0; i < t.count; i++)
        *fixture_at(&f, h, i) = (float)t.h[i];
    u = fixture_project(&f, weights, 0.4, 0.3, h);
    dense = fixture_dense(&f, u);
    assert_int_equal(msw_admm_freeze(t.admm), MSW_OK);
    for (size_t i = 0; i < t.count; i++)
        near((double)*fixture_at(&f, t.w, i), (double)*fixture_at(&f, dense, i), 1);
    msw_unified_free(u);
    fixture_free(weights);
    fixture_free(dense);
    fixture_free(h);
    twin_teardown(&t);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_are_projections),
        cmocka_unit_test(importance_is_one_metric),
        cmocka_unit_test(changes_of_rho_keep_rho_u),
        cmocka_unit_test(rho_balances_residuals),
        cmocka_unit_test(momentum_wants_steps_between_updates),
        cmocka_unit_test(nothing_to_balance),
        cmocka_unit_test(penalty_is_the_slope_of_its_square),
        cmocka_unit_test(penalty_on_other_strides),
        cmocka_unit_test(convex_problems_reach_their_optimum),
        cmocka_unit_test(importance_finds_the_best_of_all_choices),
        cmocka_unit_test(freezing_projects_the_weights),
        cmocka_unit_test(freezing_uses_importance_and_final_ratios),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
