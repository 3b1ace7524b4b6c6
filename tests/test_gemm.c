/* SPDX-License-Identifier: BSD-2-Clause */
/* The handle of a product: options, checks, BLAS fallback, tuning, threads, memory.
 * What the kernels compute is in test_kernels.c. */
#include "faults.h"
#include "gemm.h"
#include "weights.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 45, COLUMNS = 70, MAX_N = 40, MAX_SIDE = 80 };

static const weights_spec mixed = {.rows = ROWS, .columns = COLUMNS, .block_rows = 4,
                                   .block_columns = 8, .pruned = 40, .unified = 40,
                                   .powers = true, .seed = 9};
static const weights_spec tall = {2100, 16, 8, 8, 30, 40, false, false, 9};
static const weights_spec all_free = {.rows = ROWS, .columns = COLUMNS, .block_rows = 8,
                                      .block_columns = 8, .permuted = true, .powers = true,
                                      .seed = 4};

static msw_context *plain_context(void)
{
    msw_context *ctx;

    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    return ctx;
}

static msw_gemm *new_gemm(msw_context *ctx, const weights *w, uint32_t fallback)
{
    msw_gemm_options o;
    msw_gemm *g;

    msw_gemm_options_init(&o);
    o.fallback = fallback;
    assert_int_equal(msw_gemm_new(&g, ctx, w->u, &o), MSW_OK);
    return g;
}

static void fill(float *x, size_t n, uint32_t seed)
{
    seed |= 1;
    for (size_t i = 0; i < n; i++)
        x[i] = random_power(&seed);
}

static msw_gemm_call call_of(const float *x, float *y, size_t n, uint32_t layout)
{
    msw_gemm_call c;

    msw_gemm_call_init(&c);
    c.x = x;
    c.y = y;
    c.n = n;
    c.layout = layout;
    c.ldx = layout == MSW_LAYOUT_COLUMNS ? n : COLUMNS;
    c.ldy = layout == MSW_LAYOUT_COLUMNS ? n : ROWS;
    return c;
}

/* Exact: powers of two. */
static bool right(const weights *w, const float *x, const float *y, size_t n,
                  uint32_t layout)
{
    for (size_t m = 0; m < ROWS; m++)
        for (size_t j = 0; j < n; j++) {
            const bool columns = layout == MSW_LAYOUT_COLUMNS;
            double sum = 0;

            for (size_t k = 0; k < COLUMNS; k++)
                sum += (double)w->dense[m * COLUMNS + k] *
                       (double)x[columns ? k * n + j : j * COLUMNS + k];
            if (sum != (double)y[columns ? m * n + j : j * ROWS + m])
                return false;
        }
    return true;
}

static void test_new_rejects(void **state)
{
    static const float bias[ROWS];
    msw_context *ctx = plain_context();
    msw_gemm_options o;
    msw_gemm *g = (msw_gemm *)1;
    weights w;

    (void)state;
    weights_make(&w, ctx, &mixed);
    assert_int_equal(msw_gemm_new(NULL, ctx, w.u, NULL), MSW_E_INVAL);
    assert_int_equal(msw_gemm_new(&g, NULL, w.u, NULL), MSW_E_INVAL);
    assert_null(g);
    assert_int_equal(msw_gemm_new(&g, ctx, NULL, NULL), MSW_E_INVAL);
#define REJECT(change, status)                                    \
    msw_gemm_options_init(&o);                                    \
    change;                                                       \
    g = (msw_gemm *)1;                                            \
    assert_int_equal(msw_gemm_new(&g, ctx, w.u, &o), status);     \
    assert_null(g)
    REJECT(o.activation = 3, MSW_E_INVAL);
    REJECT(o.fallback = 3, MSW_E_INVAL);
    REJECT(o.tune = 2, MSW_E_INVAL);
    REJECT(o.reserved = 1, MSW_E_VERSION);
    REJECT(o.size = 4, MSW_E_INVAL);
    REJECT(o.max_bytes = 10, MSW_E_LIMIT);
    REJECT(o.bias = bias; o.bias_count = ROWS - 1, MSW_E_INVAL);
#undef REJECT
    weights_free(&w);
    msw_context_free(ctx);
}

static void test_groups_unsupported(void **state)
{
    const size_t shape[4] = {8, 4, 3, 3};
    msw_context *ctx = plain_context();
    msw_plan_options po;
    msw_tensor *t;
    msw_plan *plan;
    msw_unified *u;
    msw_gemm *g;

    (void)state;
    msw_plan_options_init(&po);
    po.weights = MSW_WEIGHTS_OIHW;
    po.groups = 2;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 4, &po), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 4), MSW_OK);
    assert_int_equal(msw_unified_from(&u, plan, t, NULL), MSW_OK);
    assert_int_equal(msw_gemm_new(&g, ctx, u, NULL), MSW_E_UNSUPPORTED);
    assert_null(g);
    msw_unified_free(u);
    msw_tensor_free(t);
    msw_plan_free(plan);
    msw_context_free(ctx);
}

static void test_run_rejects(void **state)
{
    static float x[COLUMNS * MAX_N + 1], y[ROWS * MAX_N];
    static _Alignas(64) char workspace[1 << 20];
    msw_context *ctx = plain_context();
    msw_gemm_call c;
    msw_gemm *g;
    weights w;

    (void)state;
    weights_make(&w, ctx, &mixed);
    g = new_gemm(ctx, &w, MSW_FALLBACK_NEVER);
    c = call_of(x, y, 5, MSW_LAYOUT_COLUMNS);
    assert_int_equal(msw_gemm_run(NULL, &c), MSW_E_INVAL);
    assert_int_equal(msw_gemm_run(g, NULL), MSW_E_INVAL);
#define REJECT(change, status)                    \
    c = call_of(x, y, 5, MSW_LAYOUT_COLUMNS);     \
    change;                                       \
    assert_int_equal(msw_gemm_run(g, &c), status)
    REJECT(c.x = NULL, MSW_E_INVAL);
    REJECT(c.y = NULL, MSW_E_INVAL);
    REJECT(c.layout = 2, MSW_E_INVAL);
    REJECT(c.beta = 2, MSW_E_INVAL);
    REJECT(c.size = 3, MSW_E_INVAL);
    REJECT(c.ldx = 4, MSW_E_RANGE);
    REJECT(c.ldy = 4, MSW_E_RANGE);
    REJECT(c.layout = MSW_LAYOUT_ROWS, MSW_E_RANGE);
    REJECT(c.layout = MSW_LAYOUT_ROWS; c.ldx = COLUMNS, MSW_E_RANGE);
    REJECT(c.n = c.ldx = c.ldy = SIZE_MAX / 8, MSW_E_RANGE);
    REJECT(c.n = c.ldx = c.ldy = SIZE_MAX, MSW_E_RANGE);
    REJECT(c.ldx = SIZE_MAX, MSW_E_RANGE);
    REJECT(c.workspace = workspace, MSW_E_RANGE);
    REJECT(c.workspace = workspace + 4; c.workspace_bytes = 1 << 19, MSW_E_INVAL);
#undef REJECT
    c = call_of(NULL, NULL, 0, MSW_LAYOUT_COLUMNS);
    assert_int_equal(msw_gemm_run(g, &c), MSW_OK);
    assert_int_equal(msw_gemm_workspace(g, 0), 0);
    msw_gemm_free(g);
    weights_free(&w);
    weights_make(&w, ctx, &tall); /* several chunks of rows for each column */
    g = new_gemm(ctx, &w, MSW_FALLBACK_NEVER);
    assert_true(msw_gemm_workspace(g, SIZE_MAX) == SIZE_MAX);
    assert_true(msw_gemm_workspace(g, 1000) < SIZE_MAX);
    msw_gemm_free(g);
    weights_free(&w);
    msw_context_free(ctx);
}

/* With a workspace nothing is allocated, and no more than that is written. */
static void test_workspace(void **state)
{
    static float x[COLUMNS * MAX_N], y[ROWS * MAX_N];
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    weights w;
    msw_gemm *g;

    (void)state;
    weights_make(&w, ctx, &mixed);
    g = new_gemm(ctx, &w, MSW_FALLBACK_NEVER);
    fill(x, COLUMNS * MAX_N, 3);
    for (size_t n = 1; n <= MAX_N; n++)
        for (uint32_t layout = 0; layout < 2; layout++) {
            const size_t bytes = msw_gemm_workspace(g, n);
            msw_gemm_call c = call_of(x, y, n, layout);
            char *workspace = aligned_alloc(64, (bytes + 64) / 64 * 64 + 64);

            assert_non_null(workspace);
            memset(workspace, 0xff, bytes + 1);
            workspace[bytes] = 77;
            c.workspace = workspace;
            c.workspace_bytes = bytes;
            faults_arm(&f, 1, true);
            assert_int_equal(msw_gemm_run(g, &c), MSW_OK);
            assert_int_equal(f.calls, 0);
            assert_int_equal(workspace[bytes], 77);
            assert_true(right(&w, x, y, n, layout));
            c.workspace = NULL;
            assert_int_equal(msw_gemm_run(g, &c), MSW_E_NOMEM);
            free(workspace);
        }
    faults_arm(&f, 0, false);
    msw_gemm_free(g);
    weights_free(&w);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
}

/* Every allocation of the constructor refused in turn. */
static void test_out_of_memory(void **state)
{
    static const float bias[ROWS];
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    weights_spec spec = mixed;
    msw_gemm_options o;
    weights w;
    msw_gemm *g = NULL;

    (void)state;
    spec.permuted = true;
    weights_make(&w, ctx, &spec);
    msw_gemm_options_init(&o);
    o.bias = bias;
    o.bias_count = ROWS;
    o.tune = 1;
    for (uint64_t k = 1; !g; k++) {
        const uint64_t blocks = f.blocks;
        msw_status status;

        faults_arm(&f, k, false);
        status = msw_gemm_new(&g, ctx, w.u, &o);
        if (f.failed) {
            assert_int_equal(status, MSW_E_NOMEM);
            assert_null(g);
            assert_int_equal(f.blocks, blocks);
        } else {
            assert_int_equal(status, MSW_OK);
            assert_true(k > 10);
        }
    }
    faults_arm(&f, 0, false);
    msw_gemm_free(g);
    weights_free(&w);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
}

/* The same bits: powers of two. */
static void compare_blas(const msw_gemm *blas, const msw_gemm *own)
{
    static float x[COLUMNS * MAX_N], y[2][ROWS * MAX_N];

    fill(x, COLUMNS * MAX_N, 6);
    for (size_t n = 1; n <= MAX_N; n++)
        for (uint32_t variant = 0; variant < 4; variant++) {
            for (int i = 0; i < 2; i++) {
                msw_gemm_call c = call_of(x, y[i], n, variant & 1);

                fill(y[i], ROWS * n, 7);
                c.beta = variant >> 1;
                if (i == 0 && blas->dense) /* whatever the model says of this n */
                    assert_int_equal(msw__gemm_run_as(blas, MSW__GEMM_BLAS, &c), MSW_OK);
                else
                    assert_int_equal(msw_gemm_run(i ? own : blas, &c), MSW_OK);
            }
            assert_memory_equal(y[0], y[1], ROWS * n * sizeof(float));
        }
}

/* Where only free blocks are, the BLAS is faster, and gives the same. */
static void test_blas(void **state)
{
    static float bias[ROWS];
    msw_context *ctx = plain_context();
    msw_gemm_info info;
    msw_gemm_options o;
    msw_gemm *g[2];
    weights w;

    (void)state;
    weights_make(&w, ctx, &all_free);
    fill(bias, ROWS, 5);
    for (uint32_t variant = 0; variant < 4; variant++) {
        msw_gemm_options_init(&o);
        o.bias = variant & 1 ? bias : NULL;
        o.bias_count = ROWS;
        o.activation = variant & 2 ? MSW_ACTIVATION_RELU6 : MSW_ACTIVATION_NONE;
        o.expected_n = 512;
        assert_int_equal(msw_gemm_new(&g[0], ctx, w.u, &o), MSW_OK);
        o.fallback = MSW_FALLBACK_NEVER;
        assert_int_equal(msw_gemm_new(&g[1], ctx, w.u, &o), MSW_OK);
        msw_gemm_info_init(&info);
        assert_int_equal(msw_gemm_get_info(&info, g[1], 512), MSW_OK);
        assert_int_equal(info.bytes_dense, 0);
        assert_int_equal(info.deterministic, 1);
        assert_string_not_equal(info.kernel, "blas");
        assert_int_equal(msw_gemm_get_info(&info, g[0], 512), MSW_OK);
        if (strcmp(msw_context_blas(ctx), "built-in") != 0) {
            assert_string_equal(info.kernel, "blas");
            assert_int_equal(info.bytes_dense, ROWS * COLUMNS * 4);
            assert_int_equal(info.deterministic, 0);
        }
        compare_blas(g[0], g[1]);
        msw_gemm_free(g[0]);
        msw_gemm_free(g[1]);
    }
    weights_free(&w);
    msw_context_free(ctx);
}

static void test_fallback_limits(void **state)
{
    msw_context_options co;
    msw_context *ctx = plain_context(), *limited;
    msw_gemm_options o;
    msw_gemm_info info;
    msw_gemm *g;
    weights w;
    uint64_t packed;

    (void)state;
    weights_make(&w, ctx, &all_free);
    msw_gemm_options_init(&o);
    o.expected_n = 512;
    o.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_gemm_new(&g, ctx, w.u, &o), MSW_OK);
    msw_gemm_info_init(&info);
    assert_int_equal(msw_gemm_get_info(&info, g, 100), MSW_OK);
    packed = info.bytes_packed;
    assert_true(packed > 0);
    msw_gemm_free(g);
    o.max_bytes = packed + ROWS * COLUMNS * 4 - 1;
    o.fallback = MSW_FALLBACK_BLAS;
    assert_int_equal(msw_gemm_new(&g, ctx, w.u, &o), MSW_E_LIMIT);
    o.fallback = MSW_FALLBACK_DEFAULT;
    assert_int_equal(msw_gemm_new(&g, ctx, w.u, &o), MSW_OK);
    assert_int_equal(msw_gemm_get_info(&info, g, 512), MSW_OK);
    assert_int_equal(info.bytes_dense, 0);
    msw_gemm_free(g);
    msw_context_options_init(&co);
    co.memory_limit = 100 << 20;
    assert_int_equal(msw_context_new(&limited, &co), MSW_OK);
    o.max_bytes = 0;
    assert_int_equal(msw_gemm_new(&g, limited, w.u, &o), MSW_OK);
    assert_int_equal(msw_gemm_get_info(&info, g, 512), MSW_OK);
    assert_int_equal(info.bytes_dense, 0);
    msw_gemm_free(g);
    msw_context_free(limited);
    weights_free(&w);
    msw_context_free(ctx);
}

/* A clock by which every third measurement, the BLAS's, takes as long as told, and so do
 * the others, those of our kernels. */
typedef struct fake_clock {
    uint64_t now, own, blas;
    unsigned calls;
} fake_clock;

static uint64_t fake_now(void *user)
{
    fake_clock *c = user;
    const unsigned call = c->calls++ % 6; /* begin, end, three times */

    c->now += call % 2 == 0 ? 5 : call == 5 ? c->blas : c->own;
    if (c->calls % 24 == 18) /* far too short for the BLAS, once in four rounds */
        c->now -= c->blas - 1;
    return c->now;
}

static void test_tune(void **state)
{
    static float x[COLUMNS * MAX_N], y[ROWS * MAX_N];
    fake_clock clock = {0};
    msw_context_options co;
    msw_context *ctx;
    msw_gemm_options o;
    msw_gemm_info info;
    weights w;

    (void)state;
    msw_context_options_init(&co);
    co.clock = fake_now;
    co.clock_user = &clock;
    assert_int_equal(msw_context_new(&ctx, &co), MSW_OK);
    weights_make(&w, ctx, &mixed);
    fill(x, COLUMNS * MAX_N, 6);
    msw_gemm_options_init(&o);
    msw_gemm_info_init(&info);
    o.tune = 1;
    o.expected_n = 20;
    for (int blas_wins = 0; blas_wins < 2; blas_wins++) {
        msw_gemm_call c = call_of(x, y, 20, MSW_LAYOUT_COLUMNS);
        msw_gemm *g;

        clock = (fake_clock){.own = blas_wins ? 300000 : 100000, .blas = 200000};
        assert_int_equal(msw_gemm_new(&g, ctx, w.u, &o), MSW_OK);
        assert_int_equal(msw_gemm_get_info(&info, g, 20), MSW_OK);
        if (strcmp(msw_context_blas(ctx), "built-in") != 0) {
            assert_int_equal(strcmp(info.kernel, "blas") == 0, blas_wins);
            assert_true(fabs(info.measured - (blas_wins ? 2e-4 : 1e-4)) < 1e-9);
            assert_true(fabs(info.dense - 2e-4) < 1e-9);
        }
        for (size_t n = 1; n <= MAX_N; n++)
            assert_int_equal(msw__gemm_kind_for(g, n), msw__gemm_choice(g, n).kind);
        assert_int_equal(info.deterministic, 0);
        assert_int_equal(msw_gemm_run(g, &c), MSW_OK);
        assert_true(right(&w, x, y, 20, MSW_LAYOUT_COLUMNS));
        msw_gemm_free(g);
    }
    clock = (fake_clock){0}; /* a clock that stands still is survived */
    o.expected_n = 0;
    {
        msw_gemm *g;

        assert_int_equal(msw_gemm_new(&g, ctx, w.u, &o), MSW_OK);
        msw_gemm_free(g);
    }
    weights_free(&w);
    msw_context_free(ctx);
}

/* Threads */

typedef struct big {
    msw_context *plain;
    weights w;
    float *x, *y;
    size_t n;
} big;

static const weights_spec big_spec = {.rows = 1100, .columns = 100, .block_rows = 4,
                                      .block_columns = 4, .pruned = 30, .unified = 50,
                                      .seed = 77};

static void make_big(big *b)
{
    uint32_t seed = 1;

    b->plain = plain_context();
    weights_make(&b->w, b->plain, &big_spec);
    b->n = 100;
    b->x = malloc(b->w.columns * b->n * sizeof(float));
    b->y = malloc(b->w.rows * b->n * sizeof(float));
    assert_non_null(b->x);
    assert_non_null(b->y);
    for (size_t i = 0; i < b->w.columns * b->n; i++)
        b->x[i] = random_float(&seed);
}

static void free_big(big *b)
{
    weights_free(&b->w);
    msw_context_free(b->plain);
    free(b->x);
    free(b->y);
}

static msw_status run_big(big *b, msw_context *ctx, size_t n, float *y)
{
    msw_gemm *g = new_gemm(ctx, &b->w, MSW_FALLBACK_NEVER);
    msw_gemm_call c;
    msw_status status;

    msw_gemm_call_init(&c);
    c.x = b->x;
    c.y = y;
    c.n = c.ldx = c.ldy = n;
    status = msw_gemm_run(g, &c);
    msw_gemm_free(g);
    return status;
}

static msw_context *pool_context(pool *p)
{
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.parallel_for = pool_run;
    o.parallel_user = p;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    return ctx;
}

static msw_context *team_context(uint32_t threads)
{
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.threads = threads;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    return ctx;
}

/* Bitwise the same for every number of threads and every pool. */
static void test_threads_bitwise(void **state)
{
    static const size_t counts[] = {1, 5, 16, 100};
    big b;

    (void)state;
    make_big(&b);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const size_t n = counts[i], bytes = b.w.rows * n * sizeof(float);
        float *y = malloc(bytes);

        assert_non_null(y);
        assert_int_equal(run_big(&b, b.plain, n, b.y), MSW_OK);
        for (uint32_t threads = 2; threads < 8; threads += 3) {
            msw_context *ctx = team_context(threads);

            memset(y, 0xff, bytes);
            assert_int_equal(run_big(&b, ctx, n, y), MSW_OK);
            assert_memory_equal(y, b.y, bytes);
            msw_context_free(ctx);
        }
        for (int mode = POOL_IN_ORDER; mode <= POOL_THREADS; mode++) {
            pool p = {.mode = (pool_mode)mode};
            msw_context *ctx = pool_context(&p);

            memset(y, 0xff, bytes);
            assert_int_equal(run_big(&b, ctx, n, y), MSW_OK);
            assert_memory_equal(y, b.y, bytes);
            if (n == 100)
                assert_true(p.tasks > 1);
            msw_context_free(ctx);
        }
        free(y);
    }
    free_big(&b);
}

/* A team that is larger than the number of parts into which a product falls. */
static void test_large_team(void **state)
{
    const weights_spec spec = {.rows = 12, .columns = 8,
                               .block_rows = 4, .block_columns = 4,
                               .pruned = 30, .unified = 50, .seed = 5};
    enum { TEAM = 90, N = 32 * 150 + 1 };
    const size_t bytes = 12 * N * sizeof(float);
    msw_context *team = team_context(TEAM);
    big b = {.plain = plain_context(), .x = malloc(8 * N * sizeof(float)),
             .y = malloc(bytes)};
    float *y = malloc(bytes);

    (void)state;
    assert_true(b.x && b.y && y);
    weights_make(&b.w, b.plain, &spec);
    fill(b.x, 8 * N, 3);
    memset(y, 0xff, bytes);
    assert_int_equal(run_big(&b, b.plain, N, b.y), MSW_OK);
    assert_int_equal(run_big(&b, team, N, y), MSW_OK);
    assert_memory_equal(y, b.y, bytes);
    msw_context_free(team);
    free(y);
    free_big(&b);
}

static void test_failing_pool(void **state)
{
    big b;

    (void)state;
    make_big(&b);
    for (int mode = POOL_FAILING; mode <= POOL_PARTIAL; mode++) {
        pool p = {.mode = (pool_mode)mode};
        msw_context *ctx = pool_context(&p);

        assert_int_equal(run_big(&b, ctx, b.n, b.y), MSW_E_HOST);
        msw_context_free(ctx);
    }
    free_big(&b);
}

/* The handle lives on its own. */
static void test_references(void **state)
{
    static float x[COLUMNS], y[ROWS];
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    msw_gemm_call c = call_of(x, y, 1, MSW_LAYOUT_COLUMNS);
    msw_gemm *g;
    weights w;

    (void)state;
    weights_make(&w, ctx, &mixed);
    fill(x, COLUMNS, 5);
    g = new_gemm(ctx, &w, MSW_FALLBACK_NEVER);
    msw_unified_free(w.u);
    w.u = NULL;
    msw_context_free(ctx);
    assert_ptr_equal(msw_gemm_ref(g), g);
    msw_gemm_free(g);
    assert_int_equal(msw_gemm_run(g, &c), MSW_OK);
    assert_true(right(&w, x, y, 1, MSW_LAYOUT_COLUMNS));
    msw_gemm_free(g);
    msw_gemm_free(NULL);
    weights_free(&w);
    assert_true(faults_clean(&f));
}

static void test_info(void **state)
{
    msw_context *ctx = plain_context();
    msw_gemm_info info;
    msw_gemm *g;
    weights w;

    (void)state;
    weights_make(&w, ctx, &mixed);
    g = new_gemm(ctx, &w, MSW_FALLBACK_NEVER);
    msw_gemm_info_init(&info);
    assert_int_equal(msw_gemm_get_info(NULL, g, 1), MSW_E_INVAL);
    assert_int_equal(msw_gemm_get_info(&info, NULL, 1), MSW_E_INVAL);
    assert_int_equal(msw_gemm_get_info(&info, g, 0), MSW_OK);
    assert_int_equal(msw_gemm_get_info(&info, g, 64), MSW_OK);
    assert_string_equal(info.isa, msw_context_isa(ctx));
    assert_non_null(strstr(info.kernel, info.isa));
    assert_non_null(info.reason);
    assert_true(info.predicted > 0);
    assert_true(info.measured == 0 && info.dense == 0);
    assert_true(info.bytes_packed > 0 && info.bytes_dense == 0);
    info.size = 3;
    assert_int_equal(msw_gemm_get_info(&info, g, 1), MSW_E_INVAL);
    msw_gemm_free(g);
    weights_free(&w);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_rejects),     cmocka_unit_test(test_groups_unsupported),
        cmocka_unit_test(test_run_rejects),     cmocka_unit_test(test_workspace),
        cmocka_unit_test(test_out_of_memory),   cmocka_unit_test(test_blas),
        cmocka_unit_test(test_fallback_limits), cmocka_unit_test(test_tune),
        cmocka_unit_test(test_threads_bitwise), cmocka_unit_test(test_large_team),
        cmocka_unit_test(test_failing_pool),
        cmocka_unit_test(test_references),      cmocka_unit_test(test_info),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
