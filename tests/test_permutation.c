/* SPDX-License-Identifier: BSD-2-Clause */
/* Orders of rows and columns: what the search says is what projecting in its order gives;
 * that is never worse than without, and blocks that were shuffled are found again. */
#include "faults.h"
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double total_square(const fixture *f, const msw_tensor *t, const msw_tensor *h)
{
    double sum = 0;

    for (size_t i = 0; i < f->info.rows * f->info.columns; i++) {
        const double w = (double)*fixture_at(f, t, i);

        sum += w * w * (h ? (double)*fixture_at(f, h, i) : 1);
    }
    return sum;
}

/* By projecting the tensor on the plan, without anything of the search. */
static double error_on(fixture *f, msw_plan *plan, const msw_tensor *t,
                       const msw_permutation_layer *l)
{
    msw_projection_options o;
    msw_tensor *z = fixture_tensor(f);
    msw_unified *u;
    double error = 0, norm = total_square(f, t, l->importance);

    msw_projection_options_init(&o);
    o.prune = l->prune;
    o.unify = l->unify;
    o.per_row = l->per_row;
    o.importance = l->importance;
    assert_int_equal(msw_unified_from(&u, plan, t, &o), MSW_OK);
    assert_int_equal(msw_unified_to_dense(z, u), MSW_OK);
    for (size_t i = 0; i < f->info.rows * f->info.columns; i++) {
        const double change = (double)*fixture_at(f, z, i) - (double)*fixture_at(f, t, i);

        error += change * change *
                 (l->importance ? (double)*fixture_at(f, l->importance, i) : 1);
    }
    msw_unified_free(u);
    fixture_free(z);
    return norm > 0 ? error / norm : 0;
}

static void assert_close(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-5 * (fabs(a) + fabs(b)) + 1e-12);
}

static void assert_order(const uint32_t *order, size_t count, size_t group)
{
    uint8_t *seen = calloc(count, 1);

    assert_non_null(seen);
    for (size_t i = 0; i < count; i++) {
        assert_true(order[i] < count && !seen[order[i]]);
        assert_int_equal(order[i] / group, i / group);
        seen[order[i]] = 1;
    }
    free(seen);
}

static void check_layer(fixture *f, msw_permutation_layer l)
{
    msw_tensor *t = fixture_random_tensor(f), *h = NULL;
    const uint32_t *rows, *columns;
    msw_permutation_info info;
    msw_permutation *p;
    msw_plan *plan;

    if (l.weight > 1) { /* weighted ones, of mean 1 so that errors compare */
        const size_t count = f->info.rows * f->info.columns;
        double sum = 0;

        h = fixture_random_tensor(f);
        for (size_t i = 0; i < count; i++) {
            *fixture_at(f, h, i) = fabsf(*fixture_at(f, h, i)) + 0.1f;
            sum += (double)*fixture_at(f, h, i);
        }
        for (size_t i = 0; i < count; i++)
            *fixture_at(f, h, i) =
                (float)((double)*fixture_at(f, h, i) * (double)count / sum);
        l.importance = h;
    }
    assert_int_equal(msw_permutation_new(&p, f->ctx), MSW_OK);
    assert_int_equal(msw_permutation_add(p, f->plan, t, &l), MSW_OK);
    msw_permutation_info_init(&info);
    assert_int_equal(msw_permutation_get_info(&info, p, 0), MSW_E_STATE);
    assert_int_equal(msw_permutation_search(p, f->info.columns > 1000), MSW_OK);
    assert_int_equal(msw_permutation_get_info(&info, p, 0), MSW_OK);
    assert_int_equal(msw_permutation_plan(&plan, p, 0), MSW_OK);
    assert_true(info.found <= info.given);
    assert_close(info.given, error_on(f, f->plan, t, &l));
    assert_close(info.found, error_on(f, plan, t, &l));
    rows = msw_plan_row_permutation(plan);
    columns = msw_plan_column_permutation(plan);
    if (rows)
        assert_order(rows, f->info.rows, f->info.rows / f->info.groups);
    if (columns)
        assert_order(columns, f->info.columns, f->info.columns);
    assert_true(l.row_axis == MSW_AXIS_OWN || !rows);
    assert_true(l.column_axis == MSW_AXIS_OWN || !columns);
    msw_plan_free(plan);
    msw_permutation_free(p);
    fixture_free(t);
    if (h)
        fixture_free(h);
}

static void check_layout(fixture *f)
{
    static const double shares[][2] = {{0.5, 0.4}, {0.3, 0}, {0, 1}, {1, 0}, {0, 0}};
    msw_permutation_layer l;

    if (f->layout->permuted)
        return;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        if (f->info.columns > 1000 && i) /* takes long */
            break;
        msw_permutation_layer_init(&l);
        l.prune = shares[i][0];
        l.unify = shares[i][1];
        check_layer(f, l);
        l.per_row = 1;
        l.row_axis = MSW_AXIS_FIXED;
        check_layer(f, l);
        l.row_axis = MSW_AXIS_OWN;
        l.column_axis = MSW_AXIS_FIXED;
        l.weight = 2;
        check_layer(f, l);
    }
}

static void test_layouts(void **state)
{
    (void)state;
    fixture_for_all(check_layout);
}

/* A matrix of blocks of one magnitude each, its rows and columns shuffled. */
static void test_finds_blocks(void **state)
{
    static const layout l = {MSW_WEIGHTS_OI, 0, {48, 64}, 2, 4, 8, 0, false, false};
    fixture f = fixture_setup(&l, NULL);
    msw_tensor *t = fixture_tensor(&f);
    uint32_t rows[48], columns[64];
    msw_permutation_layer layer;
    msw_permutation_info info;
    msw_permutation *p;

    (void)state;
    for (uint32_t i = 0; i < 48; i++)
        rows[i] = i * 31 % 48;
    for (uint32_t i = 0; i < 64; i++)
        columns[i] = i * 27 % 64;
    for (size_t r = 0; r < 48; r++)
        for (size_t c = 0; c < 64; c++) {
            const size_t block = rows[r] / 4 * 8 + columns[c] / 8;
            const float m = block % 3 ? 0.25f * (float)(1 + block * 7 % 5) : 0;

            *fixture_at(&f, t, r * 64 + c) = (r * 5 + c * 3) % 7 < 3 ? -m : m;
        }
    msw_permutation_layer_init(&layer);
    layer.prune = 32.0 / 96;
    layer.unify = 64.0 / 96;
    assert_int_equal(msw_permutation_new(&p, f.ctx), MSW_OK);
    assert_int_equal(msw_permutation_add(p, f.plan, t, &layer), MSW_OK);
    assert_int_equal(msw_permutation_search(p, 0), MSW_OK);
    msw_permutation_info_init(&info);
    assert_int_equal(msw_permutation_get_info(&info, p, 0), MSW_OK);
    assert_true(info.given > 0.5);
    assert_true(info.found < 0.1 * info.given);
    msw_permutation_free(p);
    fixture_free(t);
    fixture_teardown(&f);
}

/* Two layers with an axis in common */

enum { INPUTS = 12, HIDDEN = 24, OUTPUTS = 10 };

typedef struct pair {
    msw_context *ctx;
    msw_tensor *one, *two, *bias;
    msw_plan *plan_one, *plan_two;
    msw_permutation *p;
} pair;

static msw_tensor *random_tensor(msw_context *ctx, const size_t *shape, uint32_t rank,
                                 uint64_t *random)
{
    msw_tensor *t;

    assert_int_equal(msw_tensor_new(&t, ctx, shape, rank), MSW_OK);
    for (size_t i = 0; i < msw_tensor_count(t); i++)
        msw_tensor_data(t)[i] = (float)(ref_normal(random) * exp(ref_normal(random)));
    return t;
}

static pair pair_setup(const msw_context_options *options, uint32_t threads_seed)
{
    const size_t one[2] = {HIDDEN, INPUTS}, two[2] = {OUTPUTS, HIDDEN}, bias[1] = {HIDDEN};
    uint64_t random = threads_seed;
    msw_permutation_layer l;
    msw_plan_options o;
    pair q;

    assert_int_equal(msw_context_new(&q.ctx, options), MSW_OK);
    q.one = random_tensor(q.ctx, one, 2, &random);
    q.two = random_tensor(q.ctx, two, 2, &random);
    q.bias = random_tensor(q.ctx, bias, 1, &random);
    msw_plan_options_init(&o);
    o.block_rows = o.block_columns = 4;
    assert_int_equal(msw_plan_new(&q.plan_one, q.ctx, one, 2, &o), MSW_OK);
    o.block_columns = 3; /* blocks of the two along the axis do not match */
    assert_int_equal(msw_plan_new(&q.plan_two, q.ctx, two, 2, &o), MSW_OK);
    assert_int_equal(msw_permutation_new(&q.p, q.ctx), MSW_OK);
    msw_permutation_layer_init(&l);
    l.prune = 0.4;
    l.unify = 0.6;
    l.row_axis = 7;
    assert_int_equal(msw_permutation_add(q.p, q.plan_one, q.one, &l), MSW_OK);
    l.row_axis = MSW_AXIS_FIXED;
    l.column_axis = 7;
    assert_int_equal(msw_permutation_add(q.p, q.plan_two, q.two, &l), MSW_OK);
    return q;
}

static void pair_teardown(pair *q)
{
    msw_tensor_free(q->one);
    msw_tensor_free(q->two);
    msw_tensor_free(q->bias);
    msw_plan_free(q->plan_one);
    msw_plan_free(q->plan_two);
    msw_permutation_free(q->p);
    msw_context_free(q->ctx);
}

static double run_pair(const pair *q, size_t output)
{
    const float *one = msw_tensor_data(q->one), *two = msw_tensor_data(q->two);
    double y = 0;

    for (size_t h = 0; h < HIDDEN; h++) {
        double x = (double)msw_tensor_data(q->bias)[h];

        for (size_t i = 0; i < INPUTS; i++)
            x += (double)one[h * INPUTS + i] * sin((double)i);
        y += (double)two[output * HIDDEN + h] * (x > 0 ? x : 0);
    }
    return y;
}

static double plain_error(msw_context *ctx, msw_plan *plan, const msw_tensor *t)
{
    msw_projection_options o;
    msw_tensor *z;
    msw_unified *u;
    size_t shape[2] = {msw_tensor_dim(t, 0), msw_tensor_dim(t, 1)};
    double error = 0, norm = 0;

    msw_projection_options_init(&o);
    o.prune = 0.4;
    o.unify = 0.6;
    assert_int_equal(msw_unified_from(&u, plan, t, &o), MSW_OK);
    assert_int_equal(msw_tensor_new(&z, ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_unified_to_dense(z, u), MSW_OK);
    for (size_t i = 0; i < msw_tensor_count(t); i++) {
        const double w = (double)msw_tensor_data(t)[i];
        const double change = (double)msw_tensor_data(z)[i] - w;

        error += change * change;
        norm += w * w;
    }
    msw_tensor_free(z);
    msw_unified_free(u);
    return error / norm;
}

static void test_shared_axis(void **state)
{
    pair q = pair_setup(NULL, 5);
    double before[OUTPUTS];
    msw_permutation_info info[2];
    const uint32_t *order;
    msw_plan *plan;
    size_t count;

    (void)state;
    assert_null(msw_permutation_order(&count, q.p, 7));
    assert_int_equal(msw_permutation_search(q.p, 0), MSW_OK);
    for (uint32_t i = 0; i < 2; i++) {
        msw_permutation_info_init(&info[i]);
        assert_int_equal(msw_permutation_get_info(&info[i], q.p, i), MSW_OK);
    }
    assert_true(info[0].found + info[1].found < 0.95 * (info[0].given + info[1].given));
    order = msw_permutation_order(&count, q.p, 7);
    assert_int_equal(count, HIDDEN);
    assert_order(order, HIDDEN, HIDDEN);
    for (size_t o = 0; o < OUTPUTS; o++)
        before[o] = run_pair(&q, o);
    assert_int_equal(msw_permutation_apply(q.one, 0, q.p, 7, 0, 0), MSW_OK);
    assert_int_equal(msw_permutation_apply(q.two, 1, q.p, 7, 0, 0), MSW_OK);
    assert_int_equal(msw_permutation_apply(q.bias, 0, q.p, 7, 0, 0), MSW_OK);
    for (size_t o = 0; o < OUTPUTS; o++)
        assert_true(fabs(run_pair(&q, o) - before[o]) < 1e-9 * (1 + fabs(before[o])));
    assert_close(plain_error(q.ctx, q.plan_two, q.two), info[1].found);
    assert_int_equal(msw_permutation_plan(&plan, q.p, 0), MSW_OK);
    assert_close(plain_error(q.ctx, plan, q.one), info[0].found);
    assert_non_null(msw_plan_column_permutation(plan)); /* of its own */
    assert_null(msw_plan_row_permutation(plan));        /* shared */
    msw_plan_free(plan);
    pair_teardown(&q);
}

/* A convolution's filters, the channels of the next one, and those of a flattened image
 * behind it. */
static void test_channels(void **state)
{
    const size_t shapes[3][4] = {{12, 3, 3, 3}, {8, 12, 2, 3}, {10, 8 * 6}};
    const uint32_t kinds[2][2] = {{MSW_WEIGHTS_OIHW, MSW_REDUCTION_CHANNELS},
                                  {MSW_WEIGHTS_OIHW, MSW_REDUCTION_KERNEL}};

    (void)state;
    for (uint32_t variant = 0; variant < 2; variant++) {
        msw_tensor *t[3];
        msw_plan *plans[3];
        msw_permutation_layer l;
        msw_permutation *p;
        msw_context *ctx;
        msw_plan_options o;
        uint64_t random = 3;
        const uint32_t *order;
        float *kept;

        assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
        assert_int_equal(msw_permutation_new(&p, ctx), MSW_OK);
        for (uint32_t i = 0; i < 3; i++) {
            const uint32_t rank = i < 2 ? 4 : 2;

            t[i] = random_tensor(ctx, shapes[i], rank, &random);
            msw_plan_options_init(&o);
            o.block_rows = o.block_columns = 4;
            o.weights = i < 2 ? kinds[variant][0] : MSW_WEIGHTS_OI;
            o.reduction = i < 2 ? kinds[variant][1] : 0;
            assert_int_equal(msw_plan_new(&plans[i], ctx, shapes[i], rank, &o), MSW_OK);
            msw_permutation_layer_init(&l);
            l.prune = 0.4;
            l.unify = 0.6;
            l.row_axis = i < 2 ? i + 1 : MSW_AXIS_FIXED;
            l.column_axis = i ? i : MSW_AXIS_FIXED;
            l.positions = i == 2 ? 6 : 0;
            l.reduction = i == 2 ? variant : 0;
            assert_int_equal(msw_permutation_add(p, plans[i], t[i], &l), MSW_OK);
        }
        assert_int_equal(msw_permutation_search(p, 0), MSW_OK);
        order = msw_permutation_order(NULL, p, 2);
        assert_order(order, 8, 8);
        kept = malloc(480 * sizeof *kept);
        assert_non_null(kept);
        memcpy(kept, msw_tensor_data(t[2]), 480 * sizeof *kept);
        assert_int_equal(msw_permutation_apply(t[0], 0, p, 1, 0, 0), MSW_OK);
        assert_int_equal(msw_permutation_apply(t[1], 1, p, 1, 0, 0), MSW_OK);
        assert_int_equal(msw_permutation_apply(t[1], 0, p, 2, 0, 0), MSW_OK);
        assert_int_equal(msw_permutation_apply(t[2], 1, p, 2, 6, variant), MSW_OK);
        for (size_t r = 0; r < 10; r++)
            for (size_t c = 0; c < 8; c++)
                for (size_t k = 0; k < 6; k++) {
                    const size_t to = variant ? c * 6 + k : k * 8 + c;
                    const size_t from = variant ? order[c] * 6 + k : k * 8 + order[c];

                    assert_true(msw_tensor_data(t[2])[r * 48 + to] == kept[r * 48 + from]);
                }
        free(kept);
        for (uint32_t i = 0; i < 3; i++) { /* what the search said is what there is now */
            msw_permutation_info info;
            msw_permutation *again;

            msw_permutation_info_init(&info);
            assert_int_equal(msw_permutation_get_info(&info, p, i), MSW_OK);
            l.row_axis = l.column_axis = MSW_AXIS_FIXED;
            l.positions = l.reduction = 0;
            assert_int_equal(msw_permutation_new(&again, ctx), MSW_OK);
            assert_int_equal(msw_permutation_add(again, plans[i], t[i], &l), MSW_OK);
            assert_int_equal(msw_permutation_search(again, 1), MSW_OK);
            {
                const double found = info.found;

                assert_true(found <= info.given);
                assert_int_equal(msw_permutation_get_info(&info, again, 0), MSW_OK);
                assert_close(found, info.given);
                assert_true(info.found == info.given);
            }
            msw_permutation_free(again);
            msw_plan_free(plans[i]);
            msw_tensor_free(t[i]);
        }
        msw_permutation_free(p);
        msw_context_free(ctx);
    }
}

/* The same whatever runs the tasks. */
static void test_tasks(void **state)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    uint32_t first[HIDDEN];

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        pool tasks = {.mode = modes[i]};
        msw_context_options o;
        const uint32_t *order;
        pair q;

        msw_context_options_init(&o);
        o.parallel_for = pool_run;
        o.parallel_user = &tasks;
        q = pair_setup(&o, 9);
        assert_int_equal(msw_permutation_search(q.p, 3), MSW_OK);
        order = msw_permutation_order(NULL, q.p, 7);
        if (i == 0)
            memcpy(first, order, sizeof first);
        assert_memory_equal(order, first, sizeof first);
        pair_teardown(&q);
    }
}

static void test_failing_pool(void **state)
{
    bool done = false;

    (void)state;
    for (uint64_t at = 1; !done; at++) {
        pool tasks = {.mode = POOL_PARTIAL, .fail_from = at};
        msw_context_options o;
        pair q;
        msw_status status;

        msw_context_options_init(&o);
        o.parallel_for = pool_run;
        o.parallel_user = &tasks;
        q = pair_setup(&o, 9);
        status = msw_permutation_search(q.p, 2);
        done = status == MSW_OK;
        if (!done) {
            assert_int_equal(status, MSW_E_HOST);
            assert_null(msw_permutation_order(NULL, q.p, 7));
        }
        pair_teardown(&q);
    }
}

static void test_misuse(void **state)
{
    pair q = pair_setup(NULL, 5);
    const size_t shape[2] = {HIDDEN, INPUTS};
    uint32_t reversed[HIDDEN];
    msw_permutation_layer l;
    msw_plan_options o;
    msw_plan *plan;
    msw_permutation *p;

    (void)state;
    assert_int_equal(msw_permutation_new(NULL, q.ctx), MSW_E_INVAL);
    assert_int_equal(msw_permutation_new(&p, NULL), MSW_E_INVAL);
    assert_null(p);
    assert_int_equal(msw_permutation_new(&p, q.ctx), MSW_OK);
    assert_int_equal(msw_permutation_search(p, 0), MSW_E_INVAL); /* no layers */
    msw_permutation_free(p);
    msw_permutation_free(NULL);
    assert_int_equal(msw_permutation_add(q.p, NULL, q.one, NULL), MSW_E_INVAL);
    assert_int_equal(msw_permutation_add(q.p, q.plan_one, q.two, NULL), MSW_E_INVAL);
#define BAD(field, value, expected)                                                      \
    do {                                                                                 \
        msw_permutation_layer_init(&l);                                                  \
        l.field = value;                                                                 \
        assert_int_equal(msw_permutation_add(q.p, q.plan_one, q.one, &l), expected);     \
    } while (0)
    BAD(prune, 1.5, MSW_E_INVAL);
    BAD(unify, -0.1, MSW_E_INVAL);
    BAD(prune, (double)NAN, MSW_E_INVAL);
    BAD(weight, -1, MSW_E_INVAL);
    BAD(weight, (double)INFINITY, MSW_E_INVAL);
    BAD(per_row, 2, MSW_E_INVAL);
    BAD(reserved, 1, MSW_E_VERSION);
    BAD(positions, 2, MSW_E_INVAL); /* of columns that are on no numbered axis */
    BAD(reduction, 2, MSW_E_INVAL);
    BAD(column_axis, 7, MSW_E_INVAL); /* of another length */
    BAD(importance, q.two, MSW_E_INVAL);
#undef BAD
    for (uint32_t groups = 3; groups <= 4; groups++) { /* on an axis in groups of 12 */
        msw_plan_options_init(&o);
        msw_permutation_layer_init(&l);
        l.row_axis = 3;
        assert_int_equal(msw_permutation_new(&p, q.ctx), MSW_OK);
        o.groups = 2;
        assert_int_equal(msw_plan_new(&plan, q.ctx, shape, 2, &o), MSW_OK);
        assert_int_equal(msw_permutation_add(p, plan, q.one, &l), MSW_OK);
        msw_plan_free(plan);
        o.groups = groups;
        assert_int_equal(msw_plan_new(&plan, q.ctx, shape, 2, &o), MSW_OK);
        assert_int_equal(msw_permutation_add(p, plan, q.one, &l),
                         groups == 4 ? MSW_OK : MSW_E_INVAL);
        msw_plan_free(plan);
        msw_permutation_free(p);
    }
    msw_permutation_layer_init(&l);
    l.column_axis = 8;
    l.positions = 5; /* does not divide */
    assert_int_equal(msw_permutation_add(q.p, q.plan_one, q.one, &l), MSW_E_INVAL);
    msw_plan_options_init(&o);
    for (uint32_t i = 0; i < HIDDEN; i++)
        reversed[i] = HIDDEN - 1 - i;
    o.row_permutation = reversed;
    assert_int_equal(msw_plan_new(&plan, q.ctx, shape, 2, &o), MSW_OK);
    assert_int_equal(msw_permutation_add(q.p, plan, q.one, NULL), MSW_E_INVAL);
    msw_plan_free(plan);

    assert_int_equal(msw_permutation_plan(&plan, q.p, 0), MSW_E_STATE);
    assert_null(plan);
    assert_int_equal(msw_permutation_apply(q.one, 0, q.p, 7, 0, 0), MSW_E_STATE);
    assert_int_equal(msw_permutation_search(q.p, 1), MSW_OK);
    assert_int_equal(msw_permutation_plan(&plan, q.p, 2), MSW_E_INVAL);
    assert_int_equal(msw_permutation_apply(q.one, 1, q.p, 7, 0, 0), MSW_E_INVAL);
    assert_int_equal(msw_permutation_apply(q.one, 2, q.p, 7, 0, 0), MSW_E_INVAL);
    assert_int_equal(msw_permutation_apply(q.one, 0, q.p, 8, 0, 0), MSW_E_INVAL);
    assert_int_equal(msw_permutation_apply(q.one, 0, q.p, MSW_AXIS_OWN, 0, 0), MSW_E_INVAL);
    assert_int_equal(msw_permutation_apply(q.one, 0, q.p, 7, 2, 0), MSW_E_INVAL);
    assert_null(msw_permutation_order(NULL, q.p, MSW_AXIS_OWN));

    /* A search that fails leaves the earlier one's result. */
    memcpy(reversed, msw_permutation_order(NULL, q.p, 7), sizeof reversed);
    msw_tensor_data(q.two)[3] = NAN;
    assert_int_equal(msw_permutation_search(q.p, 0), MSW_E_NUMERIC);
    assert_memory_equal(msw_permutation_order(NULL, q.p, 7), reversed, sizeof reversed);
    pair_teardown(&q);
}

/* Zeros weigh nothing and divide nothing. */
static void test_zeros(void **state)
{
    pair q = pair_setup(NULL, 5);
    msw_permutation_info info;

    (void)state;
    memset(msw_tensor_data(q.one), 0, msw_tensor_count(q.one) * sizeof(float));
    memset(msw_tensor_data(q.two), 0, msw_tensor_count(q.two) * sizeof(float));
    assert_int_equal(msw_permutation_search(q.p, 0), MSW_OK);
    msw_permutation_info_init(&info);
    assert_int_equal(msw_permutation_get_info(&info, q.p, 1), MSW_OK);
    assert_true(info.given == 0 && info.found == 0);
    for (uint32_t i = 0; i < HIDDEN; i++)
        assert_int_equal(msw_permutation_order(NULL, q.p, 7)[i], i);
    pair_teardown(&q);
}

/* Where no order is better everything stays: a permutation takes bytes of a file. */
static void test_nothing_to_gain(void **state)
{
    static const layout l = {MSW_WEIGHTS_OI, 0, {12, 16}, 2, 4, 4, 0, false, false};
    fixture f = fixture_setup(&l, NULL);
    msw_tensor *t = fixture_tensor(&f);
    msw_permutation_layer layer;
    msw_permutation_info info;
    msw_plan_info of_plan;
    msw_permutation *p;
    msw_plan *plan;

    (void)state;
    for (size_t i = 0; i < 12 * 16; i++) /* each block unified without error */
        *fixture_at(&f, t, i) = (float)(1 + i / 16 / 4);
    msw_permutation_layer_init(&layer);
    layer.unify = 1;
    assert_int_equal(msw_permutation_new(&p, f.ctx), MSW_OK);
    assert_int_equal(msw_permutation_add(p, f.plan, t, &layer), MSW_OK);
    assert_int_equal(msw_permutation_search(p, 0), MSW_OK);
    msw_permutation_info_init(&info);
    assert_int_equal(msw_permutation_get_info(&info, p, 0), MSW_OK);
    assert_true(info.given == 0 && info.found == 0);
    assert_int_equal(msw_permutation_plan(&plan, p, 0), MSW_OK);
    msw_plan_info_init(&of_plan);
    assert_int_equal(msw_plan_get_info(&of_plan, plan), MSW_OK);
    assert_true(!of_plan.row_permuted && !of_plan.column_permuted);
    msw_plan_free(plan);
    msw_permutation_free(p);
    fixture_free(t);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_finds_blocks),
        cmocka_unit_test(test_shared_axis),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_failing_pool),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_nothing_to_gain),
    };

    return cmocka_run_group_tests_name("permutation", tests, NULL, NULL);
}
