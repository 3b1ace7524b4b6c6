/* SPDX-License-Identifier: BSD-2-Clause */
/* The group envelope: its minimum against all labellings of the blocks, its limits, and the
 * Z step of a solver by its definition. */
#include "envelope.h"
#include "file_fixture.h"
#include "fixture.h"

#include <msw/msw.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 7 };

typedef struct problem {
    size_t count, prune, unify;
    double c[MOST], g[MOST], lambda;
} problem;

/* u and w of a factor (1 + lambda) x / (x + lambda). */
static double share_of(float factor, double lambda)
{
    return (double)factor * lambda / (1 + lambda - (double)factor);
}

static void solve(const problem *p, double *u, double *w)
{
    msw__envelope_block blocks[MOST];

    for (size_t b = 0; b < p->count; b++)
        blocks[b] = (msw__envelope_block){(float)sqrt(p->c[b] + p->g[b]),
                                          (float)sqrt(p->c[b]), (float)sqrt(p->g[b])};
    msw__envelope(blocks, p->count, p->count - p->prune - p->unify, p->count - p->prune,
                  p->lambda);
    for (size_t b = 0; b < p->count; b++) {
        u[b] = share_of(blocks[b].rest, p->lambda);
        w[b] = share_of(blocks[b].mean, p->lambda);
    }
}

/* The least of sum x u + y w over what is allowed: the corners of that set are the
 * labellings, and all are tried. */
static double least_corner(const problem *p, const double *x, const double *y)
{
    size_t all = 1;
    double least = HUGE_VAL;

    for (size_t b = 0; b < p->count; b++)
        all *= 3;
    for (size_t labels = 0; labels < all; labels++) {
        size_t rest = labels, free = 0, kept = 0;
        double sum = 0;

        for (size_t b = 0; b < p->count; b++, rest /= 3) {
            free += rest % 3 == 2;
            kept += rest % 3 > 0;
            sum += (rest % 3 == 2 ? x[b] : 0) + (rest % 3 > 0 ? y[b] : 0);
        }
        if (free <= p->count - p->prune - p->unify && kept <= p->count - p->prune)
            least = fmin(least, sum);
    }
    return least;
}

/* A convex function exceeds its minimum by at most what its gradient promises in the best
 * corner. */
static void check_minimum(const problem *p)
{
    double u[MOST], w[MOST], x[MOST], y[MOST], value = 0, here = 0, all_u = 0, all_w = 0;

    solve(p, u, w);
    for (size_t b = 0; b < p->count; b++) {
        assert_true(u[b] >= 0 && u[b] <= w[b] + 1e-6 && w[b] <= 1 + 1e-6);
        all_u += u[b];
        all_w += w[b];
        value += p->c[b] / (u[b] + p->lambda) + p->g[b] / (w[b] + p->lambda);
        x[b] = -p->c[b] / ((u[b] + p->lambda) * (u[b] + p->lambda));
        y[b] = -p->g[b] / ((w[b] + p->lambda) * (w[b] + p->lambda));
        here += x[b] * u[b] + y[b] * w[b];
    }
    assert_true(all_u <= (double)(p->count - p->prune - p->unify) + 1e-5);
    assert_true(all_w <= (double)(p->count - p->prune) + 1e-5);
    if (here - least_corner(p, x, y) > 2e-5 * value)
        fail_msg("%g above the least, of %g", here - least_corner(p, x, y), value);
}

typedef enum family { ANY, LEVELS, WIDE, REPEATED, ZEROS, FAMILIES } family;

static double draw(family f, uint64_t *random)
{
    switch (f) {
    case LEVELS:
        return (double)(1 + ref_below(random, 3));
    case WIDE:
        return exp(8 * ref_normal(random));
    case REPEATED:
        return 2;
    case ZEROS:
        return ref_below(random, 2) ? 0 : ref_uniform(random);
    default:
        return ref_uniform(random);
    }
}

static problem draw_problem(family f, uint64_t *random)
{
    problem p = {.count = 1 + ref_below(random, MOST)};

    p.prune = ref_below(random, p.count + 1);
    p.unify = ref_below(random, p.count - p.prune + 1);
    p.lambda = pow(10, 3 * ref_uniform(random) - 1.5);
    for (size_t b = 0; b < p.count; b++) {
        p.c[b] = draw(f, random);
        p.g[b] = draw(f, random);
    }
    return p;
}

static void least_of_all(void **state)
{
    uint64_t random = 3;

    (void)state;
    for (family f = ANY; f < FAMILIES; f++)
        for (int i = 0; i < 300; i++) {
            const problem p = draw_problem(f, &random);

            check_minimum(&p);
        }
}

/* For a large lambda the joint projection, for a small one the identity. */
static void between_identity_and_projection(void **state)
{
    uint64_t random = 5;

    (void)state;
    for (int i = 0; i < 300; i++) {
        problem p = draw_problem(i % 2 ? ANY : WIDE, &random);
        double u[MOST], w[MOST], a[MOST], cost = 0;

        p.lambda = 1e6;
        solve(&p, u, w);
        for (size_t b = 0; b < p.count; b++) {
            a[b] = p.c[b] + p.g[b];
            cost += p.c[b] * (1 - u[b]) + p.g[b] * (1 - w[b]);
        }
        /* a linear function of u and w, which no labelling undercuts */
        assert_true(fabs(cost - ref_joint_cost(a, p.c, p.count, p.prune, p.unify)) <=
                    1e-3 * (cost + 1e-30));
        p.lambda = 1e-6;
        {
            msw__envelope_block x = {1, 0.5f, 0.75f};
            msw__envelope_block two[2] = {x, x};

            msw__envelope(two, 2, 1, 1, p.lambda);
            assert_true(two[0].rest > 0.999f && two[1].mean > 0.999f);
        }
    }
}

/* What a block's part x becomes: the least of lambda z^2 / 2u + (z - x)^2 / 2, by trying. */
static void a_part_by_trying(void **state)
{
    (void)state;
    for (double u = 0.05; u <= 1; u += 0.05)
        for (double lambda = 0.1; lambda < 20; lambda *= 3) {
            double low = 0, high = 2;
            const double x = 1.7;

            for (int i = 0; i < 200; i++) {
                const double p = low + (high - low) / 3, q = high - (high - low) / 3;
                const double at_p = lambda * p * p / (2 * u) + (p - x) * (p - x) / 2;
                const double at_q = lambda * q * q / (2 * u) + (q - x) * (q - x) / 2;

                if (at_p < at_q)
                    high = q;
                else
                    low = p;
            }
            assert_true(fabs(low - x * u / (u + lambda)) < 1e-6);
        }
}

/* Many blocks: what is asked for, and the same bits twice. */
static void many_blocks(void **state)
{
    enum { COUNT = 20000 };
    static msw__envelope_block x[COUNT], y[COUNT];
    const double lambda = 3;
    uint64_t random = 9;
    double u = 0, w = 0;

    (void)state;
    for (size_t b = 0; b < COUNT; b++) {
        const double c = ref_uniform(&random), g = exp(ref_normal(&random));

        x[b] = (msw__envelope_block){(float)sqrt(c + g), (float)sqrt(c), (float)sqrt(g)};
    }
    memcpy(y, x, sizeof y);
    msw__envelope(x, COUNT, 6000, 14000, lambda);
    msw__envelope(y, COUNT, 6000, 14000, lambda);
    assert_memory_equal(x, y, sizeof x);
    for (size_t b = 0; b < COUNT; b++) {
        u += share_of(x[b].rest, lambda);
        w += share_of(x[b].mean, lambda);
    }
    assert_true(fabs(u - 6000) < 0.01 && fabs(w - 14000) < 0.01);
}

/* A solver, beside one whose host does the same as its own projection. */

typedef struct twin {
    fixture *f;
    msw_tensor *w, *other_w;
    msw_admm *admm, *other;
    size_t count;
    bool per_row;
    unsigned updates, planned; /* that the host has seen, the first Z included */
    double prune, unify;
    bool wrong;
} twin;

#define START 0.2
#define END 50.0

static msw_admm_options options_of(unsigned planned)
{
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.relaxation = MSW_RELAXATION_ENVELOPE;
    o.updates = planned;
    o.envelope_start = START;
    o.envelope_end = END;
    return o;
}

/* Block by block from the definition. */
static void relax(const twin *t, msw_tensor *v, const msw_tensor *h, double lambda)
{
    const msw_plan *plan = t->f->plan;
    const size_t rows = t->per_row ? t->f->info.block_row_count : 1;
    const size_t all = t->f->info.block_count, count = all / rows;
    const size_t prune = (size_t)(t->prune * (double)count + 1e-9);
    const size_t unify = (size_t)(t->unify * (double)count + 1e-9);
    msw__envelope_block *blocks = calloc(all, sizeof *blocks);
    float weights[MSW_MAX_BLOCK * MSW_MAX_BLOCK], weigh[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
    ref_block *costs = calloc(all, sizeof *costs);

    for (size_t b = 0; b < all; b++) {
        const size_t n = ref_gather(weights, v, plan, b);

        if (h)
            ref_gather(weigh, h, plan, b);
        costs[b] = ref_costs(weights, h ? weigh : NULL, n);
        blocks[b] = (msw__envelope_block){
            (float)sqrt(costs[b].prune), (float)sqrt(costs[b].unify),
            (float)sqrt(fmax(costs[b].prune - costs[b].unify, 0))};
    }
    for (size_t i = 0; i < rows; i++)
        msw__envelope(blocks + i * count, count, count - prune - unify, count - prune,
                      lambda);
    for (size_t b = 0; b < all; b++) {
        msw_block at;

        msw_block_init(&at);
        if (msw_plan_get_block(&at, plan, b))
            abort();
        for (size_t r = at.row; r < at.row + at.rows; r++)
            for (size_t c = at.column; c < at.column + at.columns; c++) {
                float *x = ref_at(v, plan, r, c);
                const double m = costs[b].magnitude;
                const double z = (double)blocks[b].mean * m +
                                 (double)blocks[b].rest * (fabs((double)*x) - m);

                *x = (float)(*x < 0 ? -z : z);
            }
    }
    free(costs);
    free(blocks);
}

static int on_project(const msw_projection_call *call, void *user)
{
    twin *t = user;
    const layout *l = t->f->layout;
    /* as at the first planned update for the first Z too */
    const unsigned k = t->updates > 0 ? t->updates - 1 : 0;
    const double lambda = k + 1 >= t->planned
                              ? END
                              : START * pow(END / START, k / (t->planned - 1.0));
    msw_tensor *z, *h = NULL;

    t->updates++;
    t->wrong |= msw_tensor_borrow(&z, t->f->ctx, call->z, l->shape, NULL, l->rank) != MSW_OK;
    if (call->importance)
        t->wrong |= msw_tensor_borrow(&h, t->f->ctx,
                                      (float *)(uintptr_t)call->importance, l->shape, NULL,
                                      l->rank) != MSW_OK;
    relax(t, z, h, lambda);
    msw_tensor_free(z);
    msw_tensor_free(h);
    return 0;
}

static void open_twin(twin *t, fixture *f, double prune, double unify, bool per_row)
{
    msw_admm_options o = options_of(5);
    msw_layer_options l;

    *t = (twin){.f = f, .planned = 5, .prune = prune, .unify = unify, .per_row = per_row};
    t->w = fixture_random_tensor(f);
    t->other_w = fixture_copy(f, t->w);
    t->count = msw_tensor_count(t->w);
    msw_layer_options_init(&l);
    l.prune = prune;
    l.unify = unify;
    l.per_row = per_row;
    assert_int_equal(msw_admm_new(&t->admm, f->ctx, &o), MSW_OK);
    assert_int_equal(msw_admm_add_layer(t->admm, t->w, f->plan, &l), MSW_OK);
    o.relaxation = MSW_RELAXATION_ADMM;
    assert_int_equal(msw_admm_new(&t->other, f->ctx, &o), MSW_OK);
    assert_int_equal(msw_admm_add_layer(t->other, t->other_w, f->plan, &l), MSW_OK);
    assert_int_equal(msw_admm_set_projection(t->other, 0, on_project, t), MSW_OK);
}

static void close_twin(twin *t)
{
    assert_false(t->wrong);
    msw_admm_free(t->admm);
    msw_admm_free(t->other);
    fixture_free(t->w);
    fixture_free(t->other_w);
}

static void compare(twin *t, msw_tensor *a, msw_tensor *b)
{
    for (size_t i = 0; i < t->count; i++) {
        const float x = *fixture_at(t->f, a, i), y = *fixture_at(t->f, b, i);

        if (fabsf(x - y) > 2e-5f * (1 + fabsf(x)))
            fail_msg("weight %zu: %.9g and %.9g", i, (double)x, (double)y);
    }
}

static void compare_states(twin *t)
{
    msw_tensor *a = fixture_tensor(t->f), *b = fixture_tensor(t->f);

    assert_int_equal(msw_admm_get_z(a, t->admm, 0), MSW_OK);
    assert_int_equal(msw_admm_get_z(b, t->other, 0), MSW_OK);
    compare(t, a, b);
    for (size_t i = 0; i < t->count; i++)
        *fixture_at(t->f, a, i) = *fixture_at(t->f, b, i) = 0;
    assert_int_equal(msw_admm_add_penalty(t->admm, 0, a, 2), MSW_OK);
    assert_int_equal(msw_admm_add_penalty(t->other, 0, b, 2), MSW_OK);
    compare(t, a, b);
    fixture_free(a);
    fixture_free(b);
}

static void check_solver(fixture *f)
{
    static const double cases[][2] = {{0.3, 0.4}, {0.6, 0}, {0, 0.6}, {0.5, 0.5}};

    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        twin t;

        open_twin(&t, f, cases[i / 2][0], cases[i / 2][1], i % 2);
        for (int k = 0; k < 7; k++) {
            compare_states(&t);
            for (size_t n = 0; n < t.count; n++) {
                const float g = 0.1f * (float)ref_normal(&f->random);

                *fixture_at(f, t.w, n) += g;
                *fixture_at(f, t.other_w, n) += g;
            }
            if (k == 4) {
                msw_tensor *h = fixture_tensor(f);

                for (size_t n = 0; n < t.count; n++)
                    *fixture_at(f, h, n) = 0.2f + (float)ref_uniform(&f->random);
                assert_int_equal(msw_admm_set_importance(t.admm, 0, h), MSW_OK);
                assert_int_equal(msw_admm_set_importance(t.other, 0, h), MSW_OK);
                fixture_free(h);
            }
            assert_int_equal(msw_admm_update(t.admm), MSW_OK);
            assert_int_equal(msw_admm_update(t.other), MSW_OK);
        }
        close_twin(&t);
    }
}

static void every_layout_by_its_definition(void **state)
{
    (void)state;
    fixture_for_all(check_solver);
}

/* Exact W steps of 1/2 ||W - W0||^2 and updates with a growing rho: it ends on the structure. */
static void check_end(fixture *f)
{
    msw_admm_options o = options_of(40);
    msw_tensor *w = fixture_random_tensor(f), *start = fixture_copy(f, w);
    msw_tensor *g = fixture_tensor(f);
    const size_t count = msw_tensor_count(w);
    msw_layer_options l;
    msw_admm *admm;

    o.rho_end = 1000;
    o.envelope_end = 0; /* 100 */
    msw_layer_options_init(&l);
    l.prune = 0.3;
    l.unify = 0.4;
    assert_int_equal(msw_admm_new(&admm, f->ctx, &o), MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, w, f->plan, &l), MSW_OK);
    for (int k = 0; k < 45; k++) {
        for (size_t i = 0; i < count; i++)
            *fixture_at(f, g, i) = *fixture_at(f, w, i) - *fixture_at(f, start, i);
        assert_int_equal(msw_admm_add_penalty(admm, 0, g, 1), MSW_OK);
        for (size_t i = 0; i < count; i++)
            *fixture_at(f, w, i) -= *fixture_at(f, g, i) / (float)(1 + msw_admm_rho(admm, 0));
        assert_int_equal(msw_admm_update(admm), MSW_OK);
    }
    assert_true(msw_admm_residual(admm, 0, MSW_RESIDUAL_PRIMAL) < 0.05);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_class_count(admm, 0, MSW_CLASS_PRUNED),
                     (uint64_t)(0.3 * (double)f->info.block_count + 1e-9));
    msw_admm_free(admm);
    fixture_free(w);
    fixture_free(start);
    fixture_free(g);
}

static void it_ends_on_the_structure(void **state)
{
    (void)state;
    fixture_for_all(check_end);
}

/* A file of it, and what it is not. */
static void check_file(fixture *f)
{
    const msw_admm_options o = options_of(5);
    twin t;
    msw_admm *again;
    msw_writer *writer;
    msw_reader *reader;
    msw_layer_options l;
    uint64_t h, g;
    uint8_t *bytes;
    size_t size;

    open_twin(&t, f, 0.3, 0.4, false);
    assert_int_equal(msw_admm_update(t.admm), MSW_OK);
    assert_int_equal(msw_writer_new(&writer, f->ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, t.admm), MSW_OK);
    bytes = file_written(writer, &size);
    msw_writer_free(writer);
    assert_int_equal(msw_reader_open_buffer(&reader, f->ctx, bytes, size, NULL), MSW_OK);
    assert_int_equal(msw_admm_load(t.other, reader), MSW_E_INVAL); /* its own projection */
    msw_layer_options_init(&l);
    for (int plain = 0; plain < 2; plain++) {
        assert_int_equal(msw_admm_new(&again, f->ctx, plain ? NULL : &o), MSW_OK);
        assert_int_equal(msw_admm_add_layer(again, t.other_w, f->plan, &l), MSW_OK);
        assert_int_equal(msw_admm_load(again, reader), plain ? MSW_E_INVAL : MSW_OK);
        if (!plain) {
            assert_int_equal(msw_admm_update(again), MSW_OK);
            assert_int_equal(msw_admm_update(t.admm), MSW_OK);
            assert_int_equal(msw_admm_hash(&h, again), MSW_OK);
            assert_int_equal(msw_admm_hash(&g, t.admm), MSW_OK);
            assert_int_equal(h, g);
        }
        msw_admm_free(again);
    }
    msw_reader_free(reader);
    free(bytes);
    close_twin(&t);
}

static void resumed(void **state)
{
    (void)state;
    fixture_for_all(check_file);
}

static void options(void **state)
{
    static const double bad[][2] = {{-1, 0}, {1, 0.5}, {1e9, 0}, {1, 1e9}, {(double)NAN, 0},
                                    {0, (double)INFINITY}};
    msw_context *ctx;
    msw_admm *admm;
    msw_admm_options o;

    (void)state;
    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = options_of(5);
        o.envelope_start = bad[i][0];
        o.envelope_end = bad[i][1];
        assert_int_equal(msw_admm_new(&admm, ctx, &o), MSW_E_INVAL);
    }
    o.envelope_start = 500; /* beyond the standard end */
    o.envelope_end = 0;
    assert_int_equal(msw_admm_new(&admm, ctx, &o), MSW_OK);
    assert_int_equal(msw_admm_set_budget(admm, 1000, NULL), MSW_E_INVAL);
    msw_admm_free(admm);
    o.relaxation = 4;
    assert_int_equal(msw_admm_new(&admm, ctx, &o), MSW_E_INVAL);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_of_all),
        cmocka_unit_test(between_identity_and_projection),
        cmocka_unit_test(a_part_by_trying),
        cmocka_unit_test(many_blocks),
        cmocka_unit_test(every_layout_by_its_definition),
        cmocka_unit_test(it_ends_on_the_structure),
        cmocka_unit_test(resumed),
        cmocka_unit_test(options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
