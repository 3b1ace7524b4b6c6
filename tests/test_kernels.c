/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kernel of every instruction set against sums in double precision, with all
 * arrays between pages that may not be touched. */
#define _DEFAULT_SOURCE
#include "weights.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* What float32 arithmetic may lose of sum |w x| (include/msw/gemm.h). */
#define TOLERANCE 1e-6

/* Guarded arrays */

typedef struct guarded {
    void *map;
    size_t map_bytes;
    float *data;
} guarded;

/* @p count floats that begin right after, or end right before, a page that may not be
 * touched. */
static guarded guard(size_t count, bool at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = count * sizeof(float), inner = (bytes + page - 1) / page * page;
    guarded g = {.map_bytes = inner + 2 * page};
    char *p = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);

    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p, page, PROT_NONE), 0);
    assert_int_equal(mprotect(p + page + inner, page, PROT_NONE), 0);
    g.map = p;
    g.data = (float *)(void *)(p + page + (at_end ? inner - bytes : 0));
    return g;
}

static void unguard(guarded *g)
{
    munmap(g->map, g->map_bytes);
}

/* One case */

typedef struct product_case {
    weights_spec w;
    size_t n, pad_x, pad_y; /* leading dimensions beyond the least */
    uint32_t layout, beta, activation;
    bool bias, at_end;
    size_t expected_n;
} product_case;

typedef struct data {
    weights w;
    guarded x, y;
    size_t ldx, ldy, x_count, y_count;
    float *before;  /* y before the call */
    float *bias;
} data;

static const float canary = 12345.5f;

static void describe(const product_case *c, const char *isa)
{
    print_message("%s: %zux%zu blocks %ux%u pruned %u unified %u permuted %d seed %u, "
                  "n %zu pads %zu %zu layout %u beta %u activation %u bias %d end %d "
                  "expected %zu\n", isa, c->w.rows, c->w.columns, c->w.block_rows,
                  c->w.block_columns, c->w.pruned, c->w.unified, c->w.permuted, c->w.seed,
                  c->n, c->pad_x, c->pad_y, c->layout, c->beta, c->activation, c->bias,
                  c->at_end, c->expected_n);
}

static size_t x_at(const product_case *c, const data *d, size_t k, size_t n)
{
    return c->layout == MSW_LAYOUT_COLUMNS ? k * d->ldx + n : n * d->ldx + k;
}

static size_t y_at(const product_case *c, const data *d, size_t m, size_t n)
{
    return c->layout == MSW_LAYOUT_COLUMNS ? m * d->ldy + n : n * d->ldy + m;
}

static void make_data(data *d, msw_context *ctx, const product_case *c)
{
    const bool columns = c->layout == MSW_LAYOUT_COLUMNS;
    uint32_t seed = c->w.seed + 17;

    weights_make(&d->w, ctx, &c->w);
    d->ldx = (columns ? c->n : c->w.columns) + c->pad_x;
    d->ldy = (columns ? c->n : c->w.rows) + c->pad_y;
    d->x_count = ((columns ? c->w.columns : c->n) - 1) * d->ldx +
                 (columns ? c->n : c->w.columns);
    d->y_count = ((columns ? c->w.rows : c->n) - 1) * d->ldy + (columns ? c->n : c->w.rows);
    d->x = guard(d->x_count, c->at_end);
    d->y = guard(d->y_count, c->at_end);
    d->before = malloc(d->y_count * sizeof(float));
    d->bias = malloc(c->w.rows * sizeof(float));
    assert_non_null(d->before);
    assert_non_null(d->bias);
    for (size_t i = 0; i < d->x_count; i++) /* the gaps must not matter */
        d->x.data[i] = NAN;
    for (size_t i = 0; i < d->y_count; i++)
        d->y.data[i] = canary;
    for (size_t n = 0; n < c->n; n++) {
        for (size_t k = 0; k < c->w.columns; k++)
            d->x.data[x_at(c, d, k, n)] =
                c->w.powers ? random_power(&seed) : random_float(&seed);
        for (size_t m = 0; m < c->w.rows; m++)
            d->y.data[y_at(c, d, m, n)] = !c->beta       ? NAN
                                          : c->w.powers ? random_power(&seed)
                                                        : random_float(&seed);
    }
    for (size_t m = 0; m < c->w.rows; m++)
        d->bias[m] = c->w.powers ? random_power(&seed) : 3 * random_float(&seed);
    memcpy(d->before, d->y.data, d->y_count * sizeof(float));
}

static void free_data(data *d)
{
    weights_free(&d->w);
    unguard(&d->x);
    unguard(&d->y);
    free(d->before);
    free(d->bias);
}

static msw_gemm *make_gemm(msw_context *ctx, const product_case *c, const data *d)
{
    msw_gemm_options o;
    msw_gemm *g = NULL;

    msw_gemm_options_init(&o);
    o.activation = c->activation;
    o.fallback = MSW_FALLBACK_NEVER;
    o.expected_n = c->expected_n;
    if (c->bias) {
        o.bias = d->bias;
        o.bias_count = c->w.rows;
    }
    assert_int_equal(msw_gemm_new(&g, ctx, d->w.u, &o), MSW_OK);
    return g;
}

static msw_status run(const msw_gemm *g, const product_case *c, const data *d,
                      float *workspace)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = d->x.data;
    call.ldx = d->ldx;
    call.y = d->y.data;
    call.ldy = d->ldy;
    call.n = c->n;
    call.layout = c->layout;
    call.beta = c->beta;
    call.workspace = workspace;
    call.workspace_bytes = msw_gemm_workspace(g, c->n);
    return msw_gemm_run(g, &call);
}

static double clamped(double v, uint32_t activation)
{
    if (activation != MSW_ACTIVATION_NONE && v < 0)
        return 0;
    return activation == MSW_ACTIVATION_RELU6 && v > 6 ? 6 : v;
}

/* Largest error as a share of sum |w x|; with powers of two every bit must be right. */
static double error_of(const product_case *c, const data *d)
{
    double worst = 0;

    for (size_t m = 0; m < c->w.rows; m++)
        for (size_t n = 0; n < c->n; n++) {
            const float *w = d->w.dense + m * c->w.columns;
            const size_t at = y_at(c, d, m, n);
            double sum = c->bias ? (double)d->bias[m] : 0, scale;

            if (c->beta)
                sum += (double)d->before[at];
            scale = fabs(sum) + 1e-30;
            for (size_t k = 0; k < c->w.columns; k++) {
                const double p = (double)w[k] * (double)d->x.data[x_at(c, d, k, n)];
                if (w[k] != 0) {
                    sum += p;
                    scale += fabs(p);
                }
            }
            sum = fabs(clamped(sum, c->activation) - (double)d->y.data[at]) / scale;
            worst = sum <= worst ? worst : sum; /* NaN too */
        }
    return worst;
}

static bool gaps_untouched(const product_case *c, const data *d)
{
    const size_t length = c->layout == MSW_LAYOUT_COLUMNS ? c->n : c->w.rows;

    for (size_t i = 0; i < d->y_count; i++)
        if (i % d->ldy >= length && d->y.data[i] != canary)
            return false;
    return true;
}

static void check(msw_context *ctx, const product_case *c)
{
    const double limit = c->w.powers ? 0 : TOLERANCE;
    guarded workspace;
    msw_gemm *g;
    double error;
    data d;

    make_data(&d, ctx, c);
    g = make_gemm(ctx, c, &d);
    workspace = guard(msw_gemm_workspace(g, c->n) / sizeof(float), true);
    assert_int_equal(run(g, c, &d, workspace.data), MSW_OK);
    error = error_of(c, &d);
    if (!(error <= limit) || !gaps_untouched(c, &d)) {
        describe(c, msw_context_isa(ctx));
        fail_msg("error %g", error);
    }
    unguard(&workspace);
    msw_gemm_free(g);
    free_data(&d);
}

/* Instruction sets: for each that the machine has, a context that stops there. */

static const uint32_t levels[] = {MSW_CPU_C, MSW_CPU_AVX2, MSW_CPU_AVX2 | MSW_CPU_AVX512};

static void for_each_isa(void (*test)(msw_context *ctx))
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        msw_context_options o;
        msw_context *ctx;

        msw_context_options_init(&o);
        o.cpu_mask = levels[i];
        assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
        if (i == 0 || strcmp(msw_context_isa(ctx), "c") != 0)
            test(ctx);
        msw_context_free(ctx);
    }
}

static const uint32_t sides[] = {1, 2, 3, 4, 5, 7, 8, 9, 10, 16, 17, 25, 64};
static const uint32_t mixes[][2] = {{0, 100}, {50, 40}, {0, 0}, {90, 10}, {75, 0},
                                    {100, 0}, {20, 60}, {5, 90}, {8, 92}};

#define LENGTH(a) (sizeof(a) / sizeof *(a))

/* All block shapes, with ragged edges, at a narrow and a wide product. */
static void block_shapes(msw_context *ctx)
{
    uint32_t seed = 1;

    for (size_t i = 0; i < LENGTH(sides); i++)
        for (size_t j = 0; j < LENGTH(sides); j++) {
            const product_case c = {
                .w = {.rows = 2 * sides[i] + sides[i] / 2 + 1,
                      .columns = 3 * sides[j] + sides[j] / 3 + 1,
                      .block_rows = sides[i], .block_columns = sides[j],
                      .pruned = mixes[seed % LENGTH(mixes)][0],
                      .unified = mixes[seed % LENGTH(mixes)][1],
                      .permuted = seed % 3 == 0, .powers = seed % 2, .seed = seed},
                .n = seed % 4 == 0 ? 37 : 1 + seed % 16, .bias = seed % 5 < 3,
                .layout = seed % 2, .at_end = seed % 3 == 1};

            check(ctx, &c);
            seed++;
        }
}

/* All column counts about the widths of panels, in both layouts. */
static void column_counts(msw_context *ctx)
{
    static const size_t counts[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                    15, 16, 17, 23, 24, 25, 31, 32, 33, 48, 63, 64, 65};

    for (size_t i = 0; i < LENGTH(counts); i++)
        for (uint32_t layout = 0; layout < 2; layout++)
            for (uint32_t end = 0; end < 2; end++) {
                const product_case c = {
                    .w = {.rows = 45, .columns = 77, .block_rows = 4, .block_columns = 8,
                          .pruned = 30, .unified = 50, .seed = (uint32_t)(i + 1)},
                    .n = counts[i], .layout = layout, .beta = end, .at_end = end,
                    .activation = (uint32_t)(i % 3), .bias = true, .pad_x = i % 2,
                    .pad_y = i % 3};

                check(ctx, &c);
            }
}

/* A single row, column or block, where leading dimensions become 1. */
static void single(msw_context *ctx)
{
    for (uint32_t i = 0; i < 64; i++) {
        const product_case c = {
            .w = {.rows = i & 1 ? 1 : 11, .columns = i & 2 ? 1 : 13, .block_rows = 1 + i % 5,
                  .block_columns = 1 + i % 7, .unified = i & 4 ? 100 : 0, .seed = i + 1},
            .n = i & 8 ? 1 : 19, .layout = i >> 4 & 1, .at_end = i >> 5 & 1};

        check(ctx, &c);
    }
}

static product_case random_case(uint32_t *seed)
{
    const uint32_t mix = random_below(seed, LENGTH(mixes));
    const uint32_t side = random_below(seed, 2) ? 9 : 64;
    product_case c = {
        .w = {.rows = 1 + random_below(seed, 150), .columns = 1 + random_below(seed, 200),
              .block_rows = 1 + random_below(seed, side),
              .block_columns = 1 + random_below(seed, side), .pruned = mixes[mix][0],
              .unified = mixes[mix][1], .permuted = random_below(seed, 3) == 0,
              .powers = random_below(seed, 2), .seed = random_next(seed)},
        .n = 1 + random_below(seed, random_below(seed, 2) ? 16 : 80),
        .pad_x = random_below(seed, 2) * random_below(seed, 9),
        .pad_y = random_below(seed, 2) * random_below(seed, 9),
        .layout = random_below(seed, 2), .beta = random_below(seed, 2),
        .activation = random_below(seed, 3), .bias = random_below(seed, 2),
        .at_end = random_below(seed, 2)};

    c.expected_n = random_below(seed, 2) ? c.n : random_below(seed, 2) * 64;
    return c;
}

static void sample(msw_context *ctx)
{
    uint32_t seed = 20240229;

    for (int i = 0; i < 500; i++) {
        const product_case c = random_case(&seed);
        check(ctx, &c);
    }
}

/* More rows than one chunk has, more columns than one stage. */
static void large(msw_context *ctx)
{
    static const uint32_t shapes[][2] = {{1, 8}, {4, 4}, {8, 8}, {5, 3}, {16, 16}};

    for (size_t i = 0; i < LENGTH(shapes); i++)
        for (size_t n = 1; n < 100; n = n * 5 + 1) {
            const product_case c = {
                .w = {.rows = 1100, .columns = 530, .block_rows = shapes[i][0],
                      .block_columns = shapes[i][1], .pruned = i % 2 ? 40 : 0,
                      .unified = i % 2 ? 50 : 100, .powers = true, .seed = 5},
                .n = n, .layout = n & 1};

            check(ctx, &c);
        }
}

/* A NaN in row k of column n / 2 of X makes those of y that use it NaN, and no others; with
 * an infinity there, they are at the ends of the activation. */
static void check_non_finite(const msw_gemm *g, const product_case *c, const data *d, size_t k,
                             const char *isa)
{
    const size_t column = c->n / 2;
    float *x = &d->x.data[x_at(c, d, k, column)];
    const float before = *x;

    *x = NAN;
    assert_int_equal(run(g, c, d, NULL), MSW_OK);
    for (size_t m = 0; m < c->w.rows; m++)
        for (size_t j = 0; j < c->n; j++) {
            const bool nan = isnan(d->y.data[y_at(c, d, m, j)]);
            const bool used = d->w.dense[m * c->w.columns + k] != 0;
            if (nan != (used && j == column)) {
                describe(c, isa);
                fail_msg("k %zu row %zu column %zu", k, m, j);
            }
        }
    *x = INFINITY;
    assert_int_equal(run(g, c, d, NULL), MSW_OK);
    for (size_t m = 0; m < c->w.rows; m++) {
        const float w = d->w.dense[m * c->w.columns + k];
        const float y = d->y.data[y_at(c, d, m, column)];
        if (w != 0 && y != (w > 0 ? 6 : 0)) {
            describe(c, isa);
            fail_msg("k %zu row %zu: %g", k, m, (double)y);
        }
    }
    *x = before;
}

/* NaN and infinity go where they belong, and nowhere else: few unified blocks, and nearly
 * all. */
static void non_finite(msw_context *ctx)
{
    static const uint32_t shapes[][2] = {{4, 4}, {8, 8}, {8, 4}, {1, 8}, {3, 5}};

    for (size_t i = 0; i < LENGTH(shapes); i++)
        for (size_t n = 1; n < 50; n = n * 2 + 3)
            for (uint32_t layout = 0; layout < 4; layout++) {
                const product_case c = {
                    .w = {.rows = 60, .columns = 96, .block_rows = shapes[i][0],
                          .block_columns = shapes[i][1], .pruned = layout < 2 ? 40 : 20,
                          .unified = layout < 2 ? 40 : 80,
                          .seed = 3},
                    .n = n, .layout = layout % 2, .activation = MSW_ACTIVATION_RELU6};
                msw_gemm *g;
                data d;

                make_data(&d, ctx, &c);
                g = make_gemm(ctx, &c, &d);
                for (size_t k = 2; k < c.w.columns; k += 16)
                    check_non_finite(g, &c, &d, k, msw_context_isa(ctx));
                msw_gemm_free(g);
                free_data(&d);
            }
}

/* Panels of 1, 2, 3 and 4 columns, of strips of which some have no look-ups and others have
 * them for all columns of W at once, so that neighbours are missing. */
static void few_columns(msw_context *ctx)
{
    static const uint32_t shapes[][2] = {{8, 8}, {4, 4}, {4, 8}, {8, 4}, {16, 16}, {2, 12},
                                         {1, 3}};

    for (size_t i = 0; i < LENGTH(shapes); i++)
        for (uint32_t n = 1; n < 8; n++)
            for (uint32_t unified = 70; unified <= 100; unified += 10) {
                const product_case c = {
                    .w = {.rows = 150, .columns = 200, .block_rows = shapes[i][0],
                          .block_columns = shapes[i][1], .pruned = (100 - unified) / 2,
                          .unified = unified, .powers = n % 2, .seed = n + unified},
                    .n = n, .layout = unified / 10 % 2, .at_end = true, .expected_n = n};

                check(ctx, &c);
            }
}

/* Few free blocks and full panels, where X is read in place: rows that are nowhere aligned
 * or too well, block columns that nothing uses, edges, orders, activations. */
static void few_blocks(msw_context *ctx)
{
    static const uint32_t shapes[][2] = {{8, 8}, {4, 4}, {16, 16}, {4, 8}, {5, 3}, {16, 20},
                                         {64, 64}};
    static const size_t pads[] = {0, 1, 16, 8192 - 96};

    for (size_t i = 0; i < LENGTH(shapes); i++)
        for (uint32_t j = 0; j < 12; j++) {
            const product_case c = {
                .w = {.rows = 128 + j % 2, .columns = 320 - j % 2 * 3,
                      .block_rows = shapes[i][0], .block_columns = shapes[i][1],
                      .pruned = 80 + j, .unified = j % 3 == 2 ? 5 : 0,
                      .permuted = j % 5 == 4, .powers = j % 2, .seed = j + 1},
                .n = j % 4 == 3 ? 40 : 96, .pad_x = pads[j % LENGTH(pads)], .pad_y = j % 3,
                .beta = j % 7 == 6, .activation = j % 3, .bias = j % 4 < 2,
                .at_end = j % 2 == 0};

            check(ctx, &c);
        }
}

#define TEST(name)                            \
    static void test_##name(void **state)     \
    {                                         \
        (void)state;                          \
        for_each_isa(name);                   \
    }

TEST(block_shapes)
TEST(column_counts)
TEST(single)
TEST(sample)
TEST(large)
TEST(non_finite)
TEST(few_columns)
TEST(few_blocks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_shapes), cmocka_unit_test(test_column_counts),
        cmocka_unit_test(test_single),       cmocka_unit_test(test_sample),
        cmocka_unit_test(test_large),        cmocka_unit_test(test_non_finite),
        cmocka_unit_test(test_few_columns),  cmocka_unit_test(test_few_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
