/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form: products that run where it lies, or on a copy. */
#define _POSIX_C_SOURCE 200809L
#include "faults.h"
#include "packed.h"
#include "packed_fixture.h"
#include "sample_model.h"

#include <math.h>
#include <msw/msw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const uint32_t levels[] = {MSW_CPU_C, MSW_CPU_C | MSW_CPU_AVX2,
                                  MSW_CPU_C | MSW_CPU_AVX2 | MSW_CPU_AVX512};
enum { LEVELS = sizeof levels / sizeof *levels };

/* Is it a level of this build, and of this machine? */
static bool built(uint32_t level)
{
    return !(level & ~msw__cpu_built());
}

static bool runs(uint32_t level)
{
    return msw__cpu_levels(level) == level;
}

enum { ROWS = 70, COLUMNS = 130, MOST_N = 70 };

static const weights_spec usual = {ROWS, COLUMNS, 8, 8, 40, 40, true, false, 11};

static msw_gemm_info info_of(const msw_gemm *g, size_t n)
{
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    assert_int_equal(msw_gemm_get_info(&info, g, n), MSW_OK);
    return info;
}

/* The handle gives, bit for bit, what one packed from the weights gives; close to the exact
 * sums. */
static void check_products(const msw_gemm *g, const weights *w, msw_context *ctx,
                           size_t expected_n)
{
    static const size_t calls[] = {1, 3, 8, 17, 33, MOST_N};
    float *y = malloc(w->rows * MOST_N * sizeof *y);
    float *z = malloc(w->rows * MOST_N * sizeof *z);
    msw_gemm_options o;
    msw_gemm *packed;

    assert_true(y && z);
    msw_gemm_options_init(&o);
    o.expected_n = expected_n;
    o.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_gemm_new(&packed, ctx, w->u, &o), MSW_OK);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_int_equal(packed_run(y, g, w->rows, w->columns, calls[i]), MSW_OK);
        assert_int_equal(packed_run(z, packed, w->rows, w->columns, calls[i]), MSW_OK);
        assert_memory_equal(y, z, w->rows * calls[i] * sizeof *y);
        assert_string_equal(info_of(g, calls[i]).kernel, info_of(packed, calls[i]).kernel);
        assert_true(info_of(g, calls[i]).predicted == info_of(packed, calls[i]).predicted);
    }
    msw_gemm_free(packed);
    free(y);
    free(z);
}

/* Packed by other rules, but for such kernels. */
static void check_close(const msw_gemm *g, const weights *w)
{
    msw_context *c = packed_context(MSW_CPU_C, NULL);
    float *y = malloc(w->rows * MOST_N * sizeof *y);
    float *z = malloc(w->rows * MOST_N * sizeof *z);
    msw_gemm *reference;

    assert_true(y && z);
    assert_int_equal(msw_gemm_new(&reference, c, w->u, NULL), MSW_OK);
    for (size_t n = 1; n < MOST_N; n += 6) {
        assert_int_equal(packed_run(y, g, w->rows, w->columns, n), MSW_OK);
        assert_int_equal(packed_run(z, reference, w->rows, w->columns, n), MSW_OK);
        for (size_t i = 0; i < w->rows * n; i++)
            assert_true(fabsf(y[i] - z[i]) <= 1e-4f);
    }
    msw_gemm_free(reference);
    msw_context_free(c);
    free(y);
    free(z);
}

/* A file for one level, read on another. */
static void check_levels(uint32_t from, uint32_t to, size_t expected_n, const weights *w)
{
    msw_context *ctx = packed_context(to, NULL);
    const msw_store_options o = packed_options(expected_n, from);
    packed_file f = packed_file_make(ctx, w->u, &o, 0);
    msw_reader *r = packed_open(ctx, &f, expected_n == 1);
    msw_gemm_options options;
    msw_gemm_info info;
    msw_gemm *g;

    msw_gemm_options_init(&options);
    options.expected_n = expected_n;
    options.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_reader_gemm(&g, r, "w", &options), MSW_OK);
    info = info_of(g, 1);
    if (from == to) {
        assert_int_equal(info.placement, MSW_PLACEMENT_IN_PLACE);
        assert_string_equal(info.placement_reason, "in place");
        assert_true(info.bytes_packed == 0 && info.bytes_mapped > 0);
    } else if (info.placement != MSW_PLACEMENT_IN_PLACE) { /* layouts may be the same */
        assert_int_equal(info.placement, MSW_PLACEMENT_REPACKED);
        assert_non_null(strstr(info.placement_reason, "other kernels"));
        assert_true(info.bytes_packed > 0 && info.bytes_mapped == 0);
    }
    if (from == to || info.placement == MSW_PLACEMENT_REPACKED)
        check_products(g, w, ctx, expected_n);
    else
        check_close(g, w);
    msw_gemm_free(g);
    msw_reader_free(r);
    packed_file_free(&f);
    msw_context_free(ctx);
}

static void test_levels(void **state)
{
    static const size_t expected[] = {0, 1, 64};
    static const weights_spec specs[] = {
        {ROWS, COLUMNS, 8, 8, 40, 40, true, false, 11},
        {ROWS, COLUMNS, 4, 4, 50, 50, false, false, 12},
        {ROWS, COLUMNS, 1, 8, 30, 50, false, false, 13},
        {ROWS, COLUMNS, 20, 20, 30, 50, true, false, 14},
        {ROWS, COLUMNS, 3, 2, 30, 50, true, false, 15}};
    msw_context *ctx = packed_context(0, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        weights w;

        weights_make(&w, ctx, &specs[i]);
        for (size_t from = 0; from < LEVELS; from++)
            for (size_t to = 0; to < LEVELS; to++)
                for (size_t n = 0; n < 3; n++)
                    if (built(levels[from]) && runs(levels[to]))
                        check_levels(levels[from], levels[to], expected[n], &w);
        weights_free(&w);
    }
    msw_context_free(ctx);
}

/* Bytes held, and at the most, by the handle of a file whose weights have so many
 * columns. */
typedef struct memory_use {
    uint64_t held, peak;
} memory_use;

static memory_use use_memory(size_t columns, const msw_gemm_options *options)
{
    const weights_spec spec = {64, columns, 8, 8, 40, 40, false, false, 21};
    const msw_store_options o = packed_options(0, 0);
    faults memory = {0};
    msw_context_options c;
    msw_context *ctx, *plain = packed_context(0, NULL);
    memory_use use;
    packed_file f;
    msw_reader *r;
    msw_gemm *g;
    weights w;
    uint64_t before;

    weights_make(&w, plain, &spec);
    f = packed_file_make(plain, w.u, &o, 0);
    weights_free(&w);
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&memory);
    ctx = packed_context(0, &c);
    r = packed_open(ctx, &f, false);
    before = atomic_load(&memory.live);
    atomic_store(&memory.peak, before);
    assert_int_equal(msw_reader_gemm(&g, r, "w", options), MSW_OK);
    use.held = atomic_load(&memory.live) - before;
    use.peak = atomic_load(&memory.peak) - before;
    assert_int_equal(info_of(g, 1).placement, MSW_PLACEMENT_IN_PLACE);
    assert_true(info_of(g, 1).bytes_mapped > columns);
    msw_gemm_free(g);
    msw_reader_free(r);
    packed_file_free(&f);
    msw_context_free(ctx);
    msw_context_free(plain);
    assert_true(faults_clean(&memory));
    return use;
}

/* A hundred times the weights, and not a byte more. */
static void test_no_weight_is_copied(void **state)
{
    msw_gemm_options o;
    memory_use small, large;

    (void)state;
    msw_gemm_options_init(&o);
    small = use_memory(64, NULL);
    large = use_memory(6400, NULL);
    assert_true(small.held == large.held && small.peak == large.peak);
    o.max_bytes = 1;
    small = use_memory(64, &o);
    large = use_memory(6400, &o);
    assert_true(small.held == large.held && small.peak == large.peak);
}

/* Where a packing's words are: inside the buffer. */
static void test_identity(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options o = packed_options(0, 0);
    packed_file f;
    msw_reader *r;
    msw_gemm *g;
    weights w;

    (void)state;
    weights_make(&w, ctx, &usual);
    f = packed_file_make(ctx, w.u, &o, 0);
    r = packed_open(ctx, &f, false);
    assert_int_equal(msw_reader_gemm(&g, r, "w", NULL), MSW_OK);
    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++) {
        const uint8_t *code = (const uint8_t *)g->packs[kind].code;

        assert_true(code > f.data);
        assert_true(code + 4 * g->packs[kind].code_count < f.data + f.size);
    }
    msw_gemm_free(g);
    msw_reader_free(r);
    packed_file_free(&f);
    weights_free(&w);
    msw_context_free(ctx);
}

/* Copies: another address, a file, the host's storage. */

static void check_copied(msw_reader *r, const weights *w, msw_context *ctx,
                         const char *reason)
{
    msw_gemm_options o;
    msw_gemm_info info;
    msw_gemm *g;

    msw_gemm_options_init(&o);
    assert_int_equal(msw_reader_gemm(&g, r, "w", &o), MSW_OK);
    info = info_of(g, 1);
    assert_int_equal(info.placement, MSW_PLACEMENT_COPIED);
    assert_non_null(strstr(info.placement_reason, reason));
    assert_true(info.bytes_packed > 0 && info.bytes_mapped == 0);
    msw_reader_free(r);
    check_products(g, w, ctx, 0);
    msw_gemm_free(g);
}

static void test_copied(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options o = packed_options(0, 0);
    char path[] = "/tmp/msw-packed-XXXXXX";
    const int fd = mkstemp(path);
    msw_gemm_options options;
    packed_file f;
    msw_reader *r;
    msw_gemm *g;
    weights w;

    (void)state;
    weights_make(&w, ctx, &usual);
    f = packed_file_make(ctx, w.u, &o, 4);
    r = packed_open(ctx, &f, false);
    msw_gemm_options_init(&options);
    options.max_bytes = 1;
    assert_int_equal(msw_reader_gemm(&g, r, "w", &options), MSW_E_LIMIT);
    assert_null(g);
    assert_true(msw_reader_error(r)[0] != 0);
    check_copied(r, &w, ctx, "multiple of 64");
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f.data, f.size), f.size);
    close(fd);
    assert_int_equal(msw_reader_open(&r, ctx, path, NULL), MSW_OK);
    check_copied(r, &w, ctx, "not in memory");
    unlink(path);
    packed_file_free(&f);
    weights_free(&w);
    msw_context_free(ctx);
}

/* Other forms are packed, and a dense copy is made of the weights. */
static void test_packed_here(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    msw_store_options o;
    msw_gemm_options options;
    packed_file f;
    msw_reader *r;
    msw_gemm *g;
    weights w;

    (void)state;
    weights_make(&w, ctx, &usual);
    msw_gemm_options_init(&options);
    options.fallback = MSW_FALLBACK_NEVER;
    for (uint32_t encoding = 0; encoding <= MSW_ENCODING_TRANSPORT; encoding++) {
        msw_store_options_init(&o);
        o.encoding = encoding;
        f = packed_file_make(ctx, w.u, &o, 0);
        r = packed_open(ctx, &f, false);
        assert_int_equal(msw_reader_gemm(&g, r, "w", &options), MSW_OK);
        assert_int_equal(info_of(g, 1).placement, MSW_PLACEMENT_PACKED);
        assert_non_null(strstr(info_of(g, 1).placement_reason, "form"));
        check_products(g, &w, ctx, 0);
        msw_gemm_free(g);
        msw_reader_free(r);
        packed_file_free(&f);
    }
    o = packed_options(0, 0);
    f = packed_file_make(ctx, w.u, &o, 0);
    r = packed_open(ctx, &f, false);
    options.fallback = MSW_FALLBACK_BLAS;
    assert_int_equal(msw_reader_gemm(&g, r, "w", &options), MSW_OK);
    assert_int_equal(info_of(g, 1).placement, MSW_PLACEMENT_REPACKED);
    msw_gemm_free(g);
    msw_reader_free(r);
    packed_file_free(&f);
    weights_free(&w);
    msw_context_free(ctx);
}

/* The buffer is released once, when nothing uses it any more. */

static void count_release(const void *data, void *user)
{
    (void)data;
    ++*(int *)user;
}

static void test_release(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options o = packed_options(0, 0);
    float y[ROWS];
    msw_reader_options options;
    packed_file f;
    msw_reader *r;
    msw_gemm *g;
    weights w;
    int released = 0;

    (void)state;
    weights_make(&w, ctx, &usual);
    f = packed_file_make(ctx, w.u, &o, 0);
    msw_reader_options_init(&options);
    options.release = count_release;
    options.release_user = &released;
    assert_int_equal(msw_reader_open_buffer(&r, ctx, f.data, f.size, &options), MSW_OK);
    assert_int_equal(msw_reader_gemm(&g, r, "w", NULL), MSW_OK);
    msw_reader_free(r);
    assert_int_equal(released, 0);
    assert_int_equal(packed_run(y, g, ROWS, COLUMNS, 1), MSW_OK);
    msw_gemm_free(msw_gemm_ref(g));
    assert_int_equal(released, 0);
    msw_gemm_free(g);
    assert_int_equal(released, 1);
    packed_file_free(&f);
    weights_free(&w);
    msw_context_free(ctx);
}

/* Bias, activation, tuning and wisdom work as with any handle. */
static void test_options(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options o = packed_options(8, 0);
    float bias[ROWS], y[ROWS * 8], z[ROWS * 8];
    msw_gemm_options options;
    msw_wisdom *wisdom;
    packed_file f;
    msw_reader *r;
    msw_gemm *a, *b;
    weights w;

    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        bias[i] = (float)i - 30;
    weights_make(&w, ctx, &usual);
    f = packed_file_make(ctx, w.u, &o, 0);
    r = packed_open(ctx, &f, false);
    msw_gemm_options_init(&options);
    options.expected_n = 8;
    options.bias = bias;
    options.bias_count = ROWS;
    options.activation = MSW_ACTIVATION_RELU6;
    options.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_reader_gemm(&a, r, "w", &options), MSW_OK);
    assert_int_equal(msw_gemm_new(&b, ctx, w.u, &options), MSW_OK);
    assert_int_equal(packed_run(y, a, ROWS, COLUMNS, 8), MSW_OK);
    assert_int_equal(packed_run(z, b, ROWS, COLUMNS, 8), MSW_OK);
    assert_memory_equal(y, z, sizeof y);
    msw_gemm_free(a);
    msw_gemm_free(b);
    assert_int_equal(msw_wisdom_new(&wisdom, ctx), MSW_OK);
    options.wisdom = wisdom;
    options.tune = 1;
    assert_int_equal(msw_reader_gemm(&a, r, "w", &options), MSW_OK);
    assert_int_equal(msw_wisdom_count(wisdom), 1);
    assert_true(info_of(a, 8).measured > 0);
    assert_int_equal(info_of(a, 8).placement, MSW_PLACEMENT_IN_PLACE);
    options.tune = 0; /* the time is remembered: of such blocks */
    assert_int_equal(msw_reader_gemm(&b, r, "w", &options), MSW_OK);
    assert_true(info_of(b, 8).measured == info_of(a, 8).measured);
    msw_gemm_free(a);
    msw_gemm_free(b);
    options.bias_count = 3;
    assert_int_equal(msw_reader_gemm(&a, r, "w", &options), MSW_E_INVAL);
    assert_null(a);
    msw_wisdom_free(wisdom);
    msw_reader_free(r);
    packed_file_free(&f);
    weights_free(&w);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_no_weight_is_copied),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_copied),
        cmocka_unit_test(test_packed_here),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_options),
    };

    return packed_missing() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
