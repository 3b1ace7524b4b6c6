/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults.h"
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static msw_context *make(const msw_context_options *o)
{
    msw_context *ctx;

    assert_int_equal(msw_context_new(&ctx, o), MSW_OK);
    assert_non_null(ctx);
    return ctx;
}

static void test_defaults(void **state)
{
    msw_context *ctx = make(NULL);

    (void)state;
    assert_int_equal(msw_context_threads(ctx), 1);
    assert_non_null(msw_context_isa(ctx));
    assert_non_null(msw_context_blas(ctx));
    assert_true(msw_context_memory(ctx) > 0);
    assert_ptr_equal(msw_context_ref(ctx), ctx);
    msw_context_free(ctx);
    assert_int_equal(msw_context_threads(ctx), 1);
    msw_context_free(ctx);
    msw_context_free(NULL);
}

static void test_arguments(void **state)
{
    msw_context_options o;
    msw_context *ctx = (msw_context *)&o;
    faults f = {0};

    (void)state;
    assert_int_equal(msw_context_new(NULL, NULL), MSW_E_INVAL);
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&f);
    o.allocator.free = NULL;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_E_INVAL);
    assert_null(ctx);
    o.allocator = faults_allocator(&f);
    o.allocator.alloc = NULL;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_E_INVAL);
    msw_context_options_init(&o);
    o.threads = 1024;
    msw_context_free(make(&o));
    o.threads = 1025;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_E_INVAL);
    assert_int_equal(f.calls, 0);
}

static void test_allocator(void **state)
{
    static const size_t shape[2] = {5, 7};
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    msw_tensor *t;

    (void)state;
    assert_non_null(ctx);
    assert_int_equal(msw_context_memory(ctx), f.live);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_context_memory(ctx), f.live);
    assert_true(f.live >= 5 * 7 * sizeof(float));
    msw_tensor_free(t);
    faults_arm(&f, 1, false);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_E_NOMEM);
    assert_int_equal(msw_context_memory(ctx), f.live); /* what was refused is not counted */
    faults_arm(&f, 0, false);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    msw_context_free(ctx); /* the tensor keeps it alive */
    assert_int_equal(msw_context_memory(ctx), f.live);
    msw_tensor_free(t);
    assert_true(faults_clean(&f));

    faults_arm(&f, 1, false);
    assert_null(faults_context(&f));
    assert_int_equal(f.failed, 1);
    assert_true(faults_clean(&f));
}

static void test_memory_limit(void **state)
{
    static const size_t shape[1] = {1000};
    msw_context_options o;
    faults f = {0};
    msw_context *ctx;
    msw_tensor *a, *b;
    uint64_t empty, one;

    (void)state;
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&f);
    o.memory_limit = 1;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_E_LIMIT);
    assert_null(ctx);
    assert_int_equal(f.calls, 0);

    o.memory_limit = 0;
    ctx = make(&o);
    empty = msw_context_memory(ctx);
    assert_int_equal(msw_tensor_new(&a, ctx, shape, 1), MSW_OK);
    one = msw_context_memory(ctx);
    msw_tensor_free(a);
    assert_int_equal(msw_context_memory(ctx), empty);
    msw_context_free(ctx);

    o.memory_limit = one; /* exactly enough for one */
    ctx = make(&o);
    assert_int_equal(msw_tensor_new(&a, ctx, shape, 1), MSW_OK);
    assert_int_equal(msw_tensor_new(&b, ctx, shape, 1), MSW_E_LIMIT);
    assert_null(b);
    assert_int_equal(msw_context_memory(ctx), one);
    msw_tensor_free(a);
    assert_int_equal(msw_tensor_new(&b, ctx, shape, 1), MSW_OK);
    msw_tensor_free(b);
    msw_context_free(ctx);

    o.memory_limit = one - 1;
    ctx = make(&o);
    assert_int_equal(msw_tensor_new(&a, ctx, shape, 1), MSW_E_LIMIT);
    assert_int_equal(msw_context_memory(ctx), empty);
    msw_context_free(ctx);
    assert_true(f.peak <= one);
    assert_true(faults_clean(&f));
}

/* Sizes near the end of the address space must neither wrap nor reach the allocator. */
static void test_huge_sizes(void **state)
{
    msw_context_options o;
    faults f = {0};
    msw_context *ctx;
    void *p = &f;

    (void)state;
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&f);
    o.memory_limit = UINT64_MAX; /* every sum with it wraps */
    ctx = make(&o);
    faults_arm(&f, 0, false);
    assert_int_equal(msw__alloc(&p, ctx, SIZE_MAX, 2), MSW_E_NOMEM);
    assert_null(p);
    assert_int_equal(f.calls, 0);
#if SIZE_MAX > UINT32_MAX
    assert_int_equal(msw__alloc(&p, ctx, SIZE_MAX, 1), MSW_E_LIMIT);
    assert_int_equal(f.calls, 0);
#endif
    assert_int_equal(msw__alloc(&p, ctx, 0, 8), MSW_OK);
    assert_null(p);
    assert_int_equal(msw__calloc(&p, ctx, 0, 8), MSW_OK);
    assert_null(p);
    msw__free(ctx, NULL, 3, 8);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
    assert_null(msw__default_alloc(SIZE_MAX - 3, MSW__ALIGN, NULL));
}

static void test_size_arithmetic(void **state)
{
    const size_t half = (size_t)1 << sizeof(size_t) * 4; /* of the bits: the square wraps */
    size_t n;

    (void)state;
    assert_true(msw__size_mul(&n, 0, SIZE_MAX) && n == 0);
    assert_true(msw__size_mul(&n, SIZE_MAX, 0) && n == 0);
    assert_true(msw__size_mul(&n, SIZE_MAX, 1) && n == SIZE_MAX);
    assert_true(msw__size_mul(&n, SIZE_MAX / 3, 3) && n == SIZE_MAX / 3 * 3);
    assert_false(msw__size_mul(&n, SIZE_MAX / 3 + 1, 3));
    assert_false(msw__size_mul(&n, half, half));
    assert_true(msw__size_add(&n, SIZE_MAX, 0) && n == SIZE_MAX);
    assert_false(msw__size_add(&n, SIZE_MAX, 1));
    assert_false(msw__size_add(&n, SIZE_MAX, SIZE_MAX));
}

static void test_strdup(void **state)
{
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    char *copy;

    (void)state;
    assert_int_equal(msw__strdup(&copy, ctx, NULL), MSW_OK);
    assert_null(copy);
    assert_int_equal(msw__strdup(&copy, ctx, ""), MSW_OK);
    assert_string_equal(copy, "");
    msw__free(ctx, copy, 1, 1);
    assert_int_equal(msw__strdup(&copy, ctx, "block"), MSW_OK);
    assert_string_equal(copy, "block");
    msw__free(ctx, copy, sizeof "block", 1);
    faults_arm(&f, 1, false);
    assert_int_equal(msw__strdup(&copy, ctx, "block"), MSW_E_NOMEM);
    assert_null(copy);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
}

static const char *isa(uint32_t mask)
{
    msw_context_options o;
    msw_context *ctx;
    const char *name;

    msw_context_options_init(&o);
    o.cpu_mask = mask;
    ctx = make(&o);
    name = msw_context_isa(ctx);
    msw_context_free(ctx);
    return name; /* static storage */
}

static void test_cpu_mask(void **state)
{
    const uint32_t has = msw__cpu_detect();
    const char *best = has & MSW_CPU_AVX512 ? "avx512" : has & MSW_CPU_AVX2 ? "avx2" : "c";

    (void)state;
    assert_true(has & MSW_CPU_C);
    assert_false((has & MSW_CPU_AVX512) && !(has & MSW_CPU_AVX2));
    assert_string_equal(isa(0), best);
    assert_string_equal(isa(UINT32_MAX), best);
    assert_string_equal(isa(MSW_CPU_C), "c");
    assert_string_equal(isa(0x100), "c");          /* nothing this library knows */
    assert_string_equal(isa(MSW_CPU_AVX512), "c"); /* not without those below it */
    assert_string_equal(isa(MSW_CPU_AVX2), has & MSW_CPU_AVX2 ? "avx2" : "c");
    assert_string_equal(isa(MSW_CPU_AVX2 | MSW_CPU_AVX512), best);
}

static int lines;
static char last_line[256];
static int last_level;

static void log_line(int level, const char *text, void *user)
{
    ++*(int *)user;
    last_level = level;
    snprintf(last_line, sizeof last_line, "%s", text);
}

static void test_threads(void **state)
{
    msw_context_options o;
    msw_context *ctx;
    pool p = {.mode = POOL_IN_ORDER};

    (void)state;
    lines = 0;
    msw_context_options_init(&o);
    o.log = log_line;
    o.log_user = &lines;
    o.threads = 3;
    ctx = make(&o);
    /* a team as asked for; or one thread, and one line about it */
    if (msw_context_threads(ctx) == 3) {
        assert_int_equal(lines, 0);
    } else {
        assert_int_equal(msw_context_threads(ctx), 1);
        assert_int_equal(lines, 1);
        assert_int_equal(last_level, MSW_LOG_WARNING);
    }
    msw_context_free(ctx);

    o.parallel_for = pool_run;
    o.parallel_user = &p;
    ctx = make(&o);
    assert_int_equal(msw_context_threads(ctx), 0);
    msw_context_free(ctx);
    o.threads = 0;
    ctx = make(&o);
    assert_int_equal(msw_context_threads(ctx), 0);
    msw_context_free(ctx);
}

static void test_log(void **state)
{
    msw_context_options o;
    msw_context *ctx;
    char longer[400];

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    msw_context_options_init(&o);
    ctx = make(&o);
    msw__log(ctx, MSW_LOG_INFO, "%s", "nobody listens");
    msw_context_free(ctx);
    lines = 0;
    o.log = log_line;
    o.log_user = &lines;
    ctx = make(&o);
    msw__log(ctx, MSW_LOG_INFO, "%s %d", "block", 7);
    assert_int_equal(lines, 1);
    assert_int_equal(last_level, MSW_LOG_INFO);
    assert_string_equal(last_line, "block 7");
    msw__log(ctx, MSW_LOG_ERROR, "%s", longer); /* cut, not overrun */
    assert_true(strlen(last_line) > 100 && strlen(last_line) < sizeof last_line);
    msw_context_free(ctx);
}

static uint64_t fixed_clock(void *user)
{
    return ++*(uint64_t *)user;
}

static void test_clock(void **state)
{
    msw_context_options o;
    msw_context *ctx;
    uint64_t now = 41, before;

    (void)state;
    msw_context_options_init(&o);
    ctx = make(&o);
    before = msw__clock_now(ctx);
    assert_true(before > 0);
    assert_true(msw__clock_now(ctx) >= before);
    msw_context_free(ctx);
    o.clock = fixed_clock;
    o.clock_user = &now;
    ctx = make(&o);
    assert_int_equal(msw__clock_now(ctx), 42);
    msw_context_free(ctx);
}

enum { TASKS = 100 };

static void count_task(size_t index, void *arg)
{
    atomic_fetch_add(&((_Atomic int *)arg)[index], 1);
}

/* Runs TASKS tasks in a context; how many of them ran exactly once. */
static msw_status run_tasks(const msw_context_options *o, size_t *once)
{
    _Atomic int ran[TASKS];
    msw_context *ctx = make(o);
    msw_status status;

    for (size_t i = 0; i < TASKS; i++)
        atomic_init(&ran[i], 0);
    status = msw__parallel(ctx, TASKS, count_task, ran);
    *once = 0;
    for (size_t i = 0; i < TASKS; i++)
        *once += ran[i] == 1;
    msw_context_free(ctx);
    return status;
}

static void test_parallel(void **state)
{
    static const pool_mode good[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    msw_context_options o;
    pool p = {0};
    size_t once;

    (void)state;
    msw_context_options_init(&o);
    for (uint32_t threads = 0; threads < 9; threads++) {
        o.threads = threads;
        assert_int_equal(run_tasks(&o, &once), MSW_OK);
        assert_int_equal(once, TASKS);
    }
    o.parallel_for = pool_run; /* wins over threads */
    o.parallel_user = &p;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        p = (pool){.mode = good[i]};
        assert_int_equal(run_tasks(&o, &once), MSW_OK);
        assert_int_equal(once, TASKS);
        assert_int_equal(p.calls, 1);
    }
    p = (pool){.mode = POOL_FAILING};
    assert_int_equal(run_tasks(&o, &once), MSW_E_HOST);
    assert_int_equal(once, 0);
    p = (pool){.mode = POOL_PARTIAL};
    assert_int_equal(run_tasks(&o, &once), MSW_E_HOST);
    assert_int_equal(once, TASKS / 2);
}

static void test_parallel_small(void **state)
{
    msw_context_options o;
    pool p = {.mode = POOL_FAILING};
    _Atomic int ran = 0;
    msw_context *ctx;

    (void)state;
    msw_context_options_init(&o);
    o.parallel_for = pool_run;
    o.parallel_user = &p;
    ctx = make(&o);
    assert_int_equal(msw__parallel(ctx, 0, count_task, &ran), MSW_OK);
    assert_int_equal(ran, 0);
    /* a single task needs no pool */
    assert_int_equal(msw__parallel(ctx, 1, count_task, &ran), MSW_OK);
    assert_int_equal(ran, 1);
    assert_int_equal(p.calls, 0);
    msw_context_free(ctx);
}

static void test_status(void **state)
{
    (void)state;
    assert_string_equal(msw_status_text(MSW_OK), "success");
#define CHECK(name, value, text)                                    \
    assert_int_equal(MSW_##name, value);                            \
    assert_string_equal(msw_status_text((msw_status)(value)), text);
    MSW_STATUS_MAP(CHECK)
#undef CHECK
    assert_string_equal(msw_status_text((msw_status)1), "unknown status");
    assert_string_equal(msw_status_text((msw_status)-16), "unknown status");
    assert_string_equal(msw_status_text(MSW_STATUS_FORCE_INT), "unknown status");
    assert_int_equal(msw_version(), MSW_VERSION);
    assert_int_equal(msw_version() >> 16, MSW_VERSION_MAJOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_allocator),      cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_huge_sizes),     cmocka_unit_test(test_size_arithmetic),
        cmocka_unit_test(test_strdup),         cmocka_unit_test(test_cpu_mask),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_log),
        cmocka_unit_test(test_clock),          cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_parallel_small), cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
