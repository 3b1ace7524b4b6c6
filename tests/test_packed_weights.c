/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form: from weights and back without loss, and what it holds. */
#include "packed.h"
#include "packed_fixture.h"
#include "sample_model.h"

#include <msw/msw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const uint32_t levels[] = {MSW_CPU_C, MSW_CPU_C | MSW_CPU_AVX2,
                                  MSW_CPU_C | MSW_CPU_AVX2 | MSW_CPU_AVX512};
enum { LEVELS = sizeof levels / sizeof *levels };

/* Is it a level of this build, and of this machine? */
static bool built(uint32_t level)
{
    return !(level & ~msw__cpu_built());
}

/* Round trip */

static void check_round_trip(msw_context *ctx, const msw_unified *u)
{
    static const size_t expected[] = {0, 1, 100};

    for (size_t i = 0; i < LEVELS * 3; i++) {
        const msw_store_options o = packed_options(expected[i % 3], levels[i / 3]);
        packed_file f;
        msw_unified *back;
        msw_reader *r;

        if (!built(levels[i / 3]))
            continue;
        f = packed_file_make(ctx, u, &o, 0);
        r = packed_open(ctx, &f, false);
        assert_int_equal(msw_reader_unified(&back, r, "w"), MSW_OK);
        assert_true(packed_same(u, back));
        msw_unified_free(back);
        msw_reader_free(r);
        packed_file_free(&f);
    }
}

/* Values that a packing could lose: unified blocks that are zero, with signs; -0. */
static void put_zeros(msw_unified *u, uint32_t seed)
{
    const size_t end = u->plan->block_row_count;

    for (size_t i = 0; i < u->magnitude_start[end]; i++)
        if (random_below(&seed, 4) == 0)
            u->magnitudes[i] = random_below(&seed, 2) ? 0.0f : -0.0f;
    for (size_t i = 0; i < u->free_start[end]; i++)
        if (random_below(&seed, 4) == 0)
            u->free_weights[i] = random_below(&seed, 2) ? 0.0f : -0.0f;
}

static void test_round_trip(void **state)
{
    static const uint32_t sides[][2] = {{1, 1}, {1, 2}, {2, 3}, {4, 4}, {8, 8}, {3, 5},
                                        {7, 1}, {1, 16}, {5, 12}, {8, 20}, {16, 16}, {17, 9},
                                        {33, 40}, {64, 64}};
    static const uint32_t mixes[][2] = {{50, 40}, {0, 100}, {100, 0}, {0, 0}, {20, 30},
                                        {90, 10}};
    msw_context *ctx = packed_context(0, NULL);
    weights w;
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (size_t j = 0; j < sizeof mixes / sizeof *mixes; j++, seed++) {
            const weights_spec spec = {
                .rows = 1 + seed * 37 % 90, .columns = 1 + seed * 53 % 150,
                .block_rows = sides[i][0], .block_columns = sides[i][1],
                .pruned = mixes[j][0], .unified = mixes[j][1], .permuted = seed % 3 == 0,
                .seed = seed};

            weights_make(&w, ctx, &spec);
            check_round_trip(ctx, w.u);
            put_zeros(w.u, seed);
            check_round_trip(ctx, w.u);
            weights_free(&w);
        }
    msw_context_free(ctx);
}

/* Groups of rows, each with packings of its own, in each order of the columns. */
static void test_round_trip_groups(void **state)
{
    static const uint32_t groups[] = {2, 3, 5};
    msw_context *ctx = packed_context(0, NULL);

    (void)state;
    for (size_t i = 0; i < 4 * sizeof groups / sizeof *groups; i++) {
        const uint32_t count = groups[i / 4];
        sample_layer layer = {.name = "w", .shape = {(size_t)9 * count, 5, 3, 2}, .rank = 4,
                              .weights = MSW_WEIGHTS_OIHW, .block_rows = 1 + 3 * (i % 2),
                              .block_columns = 4, .groups = count, .permuted = i % 4,
                              .prune = 0.3, .unify = 0.4, .seed = (uint32_t)i + 1};
        msw_unified *u = sample_unified(ctx, &layer);

        assert_non_null(u);
        check_round_trip(ctx, u);
        put_zeros(u, 7);
        check_round_trip(ctx, u);
        msw_unified_free(u);
    }
    msw_context_free(ctx);
}

/* Several chunks of rows and stages of columns. */
static void test_round_trip_large(void **state)
{
    static const weights_spec specs[] = {
        {2100, 700, 8, 8, 50, 40, false, false, 3},
        {1030, 300, 4, 4, 30, 60, true, false, 4},
        {1500, 90, 1, 1, 50, 25, false, false, 5},
        {1100, 260, 64, 24, 10, 60, true, false, 6}};
    msw_context *ctx = packed_context(0, NULL);
    weights w;

    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        weights_make(&w, ctx, &specs[i]);
        check_round_trip(ctx, w.u);
        weights_free(&w);
    }
    msw_context_free(ctx);
}

/* Nothing is packed of columns and rows that a cut-off block does not have. */
static void test_no_such_columns(void **state)
{
    enum { HEIGHT = 64, WIDTH = 5, GROUPS = 2 }; /* one column in the second group */
    msw_context *ctx = packed_context(MSW_CPU_C, NULL);
    msw__gemm_table table;

    (void)state;
    msw__gemm_table_init(&table, MSW_CPU_C);
    for (uint32_t unified = 0; unified <= 100; unified += 100) {
        const weights_spec spec = {HEIGHT, WIDTH, 8, 8, 0, unified, false, false, 1};
        msw__packing w;
        weights t;

        weights_make(&t, ctx, &spec);
        for (size_t i = 0; i < t.u->free_start[t.u->plan->block_row_count]; i++)
            t.u->free_weights[i] = 1;
        for (size_t i = 0; i < t.u->sign_start[t.u->plan->block_row_count]; i++)
            msw__sign_set(t.u->signs, i);
        assert_int_equal(msw__wide_pack(&w, ctx, t.u, table.traits[MSW__GEMM_WIDE]),
                         MSW_OK);
        assert_int_equal(w.stages[0].tables, unified ? 1 : 0);
        assert_int_equal(w.stages[0].strips, HEIGHT / 8);
        for (uint32_t s = 0, at = 0; s < HEIGHT / 8; s++) {
            const uint32_t *code = w.code + (at += MSW__WIDE_HEADER);

            if (unified) { /* the strip has a look-up for each table: no place */
                assert_int_equal(code[1], 0xffffffff);
                assert_int_equal(code[2], 0x11111111);
                at += 1 + GROUPS;
                continue;
            }
            for (uint32_t i = 0; i < 8 * 8; i++)
                assert_int_equal(code[1 + i], i < WIDTH * 8 ? 0x3f800000 : 0);
            at += 1 + 8 * 8;
        }
        for (uint32_t c = 0; c < 8; c++)
            assert_int_equal(w.column[c], c < WIDTH ? c : MSW__NO_COLUMN);
        msw__packing_free(&w, ctx);
        weights_free(&t);
    }
    msw_context_free(ctx);
}

static const weights_spec usual = {70, 130, 8, 8, 40, 40, true, false, 11};

/* Entries */

static msw_entry entry_of(const msw_reader *r)
{
    msw_entry e;

    msw_entry_init(&e);
    assert_int_equal(msw_reader_get_entry(&e, r, 0), MSW_OK);
    return e;
}

static void test_entry(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    weights w;

    (void)state;
    weights_make(&w, ctx, &usual);
    for (size_t n = 0; n <= 1; n++) {
        const msw_store_options o = packed_options(n, MSW_CPU_C);
        packed_file f = packed_file_make(ctx, w.u, &o, 0);
        msw_reader *r = packed_open(ctx, &f, false);
        const msw_entry e = entry_of(r);

        assert_int_equal(e.encoding, MSW_ENCODING_PACKED);
        assert_true(e.wide_layout || e.narrow_layout);
        if (n == 0) {
            assert_int_equal(e.wide_layout, msw__layout(MSW__WIDE_LAYOUT, 16, 8));
            assert_int_equal(e.narrow_layout, msw__layout(MSW__NARROW_LAYOUT, 4, 8));
        }
        msw_reader_free(r);
        packed_file_free(&f);
    }
    weights_free(&w);
    msw_context_free(ctx);
}

/* What cannot be stored so. */
static void test_refused(void **state)
{
    const size_t shape[4] = {8, 2, 3, 3};
    const uint32_t other = ~msw__cpu_built() & (MSW_CPU_AVX2 | MSW_CPU_AVX512);
    msw_context *ctx = packed_context(0, NULL);
    msw_plan_options p;
    msw_store_options o = packed_options(0, 0);
    msw_plan *plan;
    msw_tensor *t;
    msw_unified *u;
    msw_writer *w;

    (void)state;
    msw_plan_options_init(&p);
    p.weights = MSW_WEIGHTS_OIHW;
    p.groups = 2;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 4, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 4), MSW_OK);
    assert_int_equal(msw_unified_from(&u, plan, t, NULL), MSW_OK);
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(msw_writer_add_tensor(w, "t", t, &o), MSW_OK); /* plain */
    if (other) { /* a build without kernels for them */
        o.cpu = other;
        assert_int_equal(msw_writer_add_unified(w, "w", u, &o), MSW_E_UNSUPPORTED);
        assert_non_null(strstr(msw_writer_error(w), "no packed form"));
    }
    o.cpu = 64;
    assert_int_equal(msw_writer_add_unified(w, "w", u, &o), MSW_E_INVAL);
    o = packed_options(0, 0);
    o.free_weights = MSW_DTYPE_F16;
    assert_int_equal(msw_writer_add_unified(w, "w", u, &o), MSW_E_INVAL);
    o = packed_options(0, 0);
    o.reserved2 = 1;
    assert_int_equal(msw_writer_add_unified(w, "w", u, &o), MSW_E_VERSION);
    o = packed_options(1, 0);
    o.encoding = MSW_ENCODING_PLAIN;
    assert_int_equal(msw_writer_add_unified(w, "w", u, &o), MSW_E_INVAL);
    msw_writer_free(w);
    msw_unified_free(u);
    msw_tensor_free(t);
    msw_plan_free(plan);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_groups),
        cmocka_unit_test(test_round_trip_large),
        cmocka_unit_test(test_no_such_columns),
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_refused),
    };

    return packed_missing() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
