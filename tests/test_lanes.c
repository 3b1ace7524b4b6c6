/* SPDX-License-Identifier: BSD-2-Clause */
/* The loops of every instruction set give the bits of those in plain C. */
#include "internal.h"
#include "lanes.h"
#include "ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N = 168, ROWS = 5, ROUNDS = 50 };

typedef struct data {
    uint64_t random;
    float w[N], d[N], g[N], v[ROWS * N], h[ROWS * N];
    double m[N];
    msw__columns old, next;
    msw__sign_row signs;
} data;

/* Both zeros, tiny and huge values among ordinary ones. */
static float value(data *x)
{
    static const float special[] = {0.0f, -0.0f, 1e-42f, -1e-42f, 1e30f, -3e18f};

    if (ref_below(&x->random, 20) == 0)
        return special[ref_below(&x->random, sizeof special / sizeof *special)];
    return (float)ref_normal(&x->random);
}

static void fill_columns(data *x, msw__columns *c)
{
    for (size_t i = 0; i < N; i++) {
        const size_t class = ref_below(&x->random, 3);

        c->held[i] = class == MSW_CLASS_FREE ? 0 : UINT32_MAX;
        c->magnitude[i] = class == MSW_CLASS_UNIFIED ? fabsf(value(x)) : 0;
    }
}

static void fill(data *x)
{
    for (size_t i = 0; i < N; i++) {
        x->w[i] = value(x);
        x->d[i] = value(x);
        x->g[i] = value(x);
        x->m[i] = fabs(ref_normal(&x->random));
        x->signs.bits[i / 8] = (uint8_t)ref_below(&x->random, 256);
    }
    for (size_t i = 0; i < ROWS * N; i++) {
        x->v[i] = value(x);
        x->h[i] = fabsf((float)ref_normal(&x->random)) + 1e-3f;
    }
    fill_columns(x, &x->old);
    fill_columns(x, &x->next);
}

typedef struct results {
    float z[N], v[N], d[N], g[N], g_weighted[N], poison[2];
    double spread[2][N];
    msw__column_sums sums[2];
    msw__lane_sums lanes;
    msw__sign_row signs;
    bool within[3];
} results;

static void compute(results *r, const msw__lane_kernels *k, const data *x)
{
    const msw__z_row old = {&x->old, &x->signs, x->d, x->w, x->d};

    memset(r, 0, sizeof *r);
    k->z(r->z, &old, N);
    k->v(r->v, x->w, &old, N);
    for (int weighted = 0; weighted < 2; weighted++) {
        const float *h = weighted ? x->h : NULL;

        /* rows longer than what is summed of them */
        k->column_sums(&r->sums[weighted], x->v, h, N, ROWS, N - MSW__LANES);
        k->column_spread(r->spread[weighted], x->m, x->v, h, N, ROWS, N - MSW__LANES);
    }
    k->project(r->d, &r->signs, &r->lanes, x->w, &old, &x->next, 0.77f, N);
    memcpy(r->g, x->g, sizeof r->g);
    memcpy(r->g_weighted, x->g, sizeof r->g_weighted);
    r->poison[0] = k->penalty(r->g, x->w, x->d, NULL, 0.3f, N - 3);
    r->poison[1] = k->penalty(r->g_weighted, x->w, x->d, x->h, 0.3f, N - 5);
    r->within[0] = k->within(x->w, 1e30f, N - 1);
    r->within[1] = k->within(x->w, 1e29f, N - 1);
    r->within[2] = k->within(x->w, 2.5f, 7);
}

static void levels_agree(void **state)
{
    static const uint32_t levels[] = {MSW_CPU_C | MSW_CPU_AVX2,
                                      MSW_CPU_C | MSW_CPU_AVX2 | MSW_CPU_AVX512};
    static results expected, got;
    static data x = {.random = 11};

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        fill(&x);
        compute(&expected, &msw__lanes_c, &x);
        assert_true(expected.poison[0] == 0 && expected.poison[1] == 0);
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
            if (msw__cpu_levels(levels[i]) != levels[i])
                continue; /* not this machine's */
            assert_ptr_not_equal(msw__lanes(levels[i]), &msw__lanes_c);
            compute(&got, msw__lanes(levels[i]), &x);
            assert_memory_equal(&got, &expected, sizeof got);
        }
    }
}

/* In every lane, and behind the last full eight. */
static void what_is_not_finite_is_noticed(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const msw__lane_kernels *k = msw__lanes(msw__cpu_levels(0));
    float w[21], d[21], h[21], g[21];

    (void)state;
    for (size_t at = 0; at < 21; at++)
        for (size_t b = 0; b < 3; b++) {
            for (size_t i = 0; i < 21; i++) {
                w[i] = d[i] = g[i] = (float)i;
                h[i] = 1;
            }
            assert_true(k->within(w, 20, 21));
            assert_true(k->penalty(g, w, d, NULL, 1, 21) == 0);
            w[at] = bad[b];
            assert_false(k->within(w, 20, 21));
            assert_true(isnan(k->penalty(g, w, d, NULL, 1, 21)));
            g[at] = 0;
            assert_true(isnan(k->penalty(g, w, d, h, 1, 21)));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_agree),
        cmocka_unit_test(what_is_not_finite_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
