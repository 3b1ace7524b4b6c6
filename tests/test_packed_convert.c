/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole models from form to form; a packed file of an earlier version. */
#include "file_fixture.h"
#include "packed.h"
#include "packed_fixture.h"
#include "reader.h"
#include "sample_model.h"

#include <msw/msw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static msw_reader *open_bytes(msw_context *ctx, const uint8_t *data, size_t size)
{
    msw_reader *r;

    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_OK);
    return r;
}

static uint8_t *convert(size_t *out_size, msw_context *ctx, const uint8_t *data,
                        size_t size, const msw_store_options *o)
{
    msw_reader *r = open_bytes(ctx, data, size);
    uint8_t *out;
    msw_writer *w;

    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(msw_writer_add_all(w, r, o), MSW_OK);
    out = file_written(w, out_size);
    msw_writer_free(w);
    msw_reader_free(r);
    return out;
}

static bool same_tensors(msw_reader *a, msw_reader *b, const char *name)
{
    msw_tensor *t, *s;
    bool same;

    assert_int_equal(msw_reader_tensor(&t, a, name), MSW_OK);
    assert_int_equal(msw_reader_tensor(&s, b, name), MSW_OK);
    same = msw_tensor_count(t) == msw_tensor_count(s) &&
           memcmp(msw_tensor_data(t), msw_tensor_data(s), msw_tensor_count(t) * 4) == 0;
    msw_tensor_free(t);
    msw_tensor_free(s);
    return same;
}

static bool same_unified(msw_reader *a, msw_reader *b, const char *name)
{
    msw_unified *u, *v;
    bool same;

    assert_int_equal(msw_reader_unified(&u, a, name), MSW_OK);
    assert_int_equal(msw_reader_unified(&v, b, name), MSW_OK);
    same = packed_same(u, v);
    msw_unified_free(u);
    msw_unified_free(v);
    return same;
}

static void check_same(msw_context *ctx, const uint8_t *a, size_t a_size, const uint8_t *b,
                       size_t b_size)
{
    msw_reader *r = open_bytes(ctx, a, a_size), *s = open_bytes(ctx, b, b_size);

    assert_int_equal(msw_reader_count(r), msw_reader_count(s));
    assert_int_equal(msw_reader_metadata_count(r), msw_reader_metadata_count(s));
    for (size_t i = 0; i < msw_reader_count(r); i++) {
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        assert_true(e.kind == MSW_ENTRY_UNIFIED ? same_unified(r, s, e.name)
                                                : same_tensors(r, s, e.name));
    }
    msw_reader_free(r);
    msw_reader_free(s);
}

/* Transport -> packed -> plain, and packed again: the same weights, the same bytes. */
static void test_convert(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options packed = packed_options(0, MSW_CPU_C);
    size_t sizes[4];
    uint8_t *files[4];
    msw_store_options plain;

    (void)state;
    msw_store_options_init(&plain);
    files[0] = sample_transport_file(&sizes[0], ctx);
    assert_non_null(files[0]);
    files[1] = convert(&sizes[1], ctx, files[0], sizes[0], &packed);
    files[2] = convert(&sizes[2], ctx, files[1], sizes[1], NULL);
    files[3] = convert(&sizes[3], ctx, files[2], sizes[2], &packed);
    for (int i = 1; i < 4; i++)
        check_same(ctx, files[0], sizes[0], files[i], sizes[i]);
    assert_int_equal(sizes[1], sizes[3]);
    assert_memory_equal(files[1], files[3], sizes[1]);
    for (int i = 0; i < 4; i++)
        free(files[i]);
    msw_context_free(ctx);
}

/* A plain tensor that the transport form rounded stays what it is, there as well. */
static void test_convert_transport(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    msw_store_options o;
    size_t sizes[2];
    uint8_t *files[2];

    (void)state;
    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_TRANSPORT;
    files[0] = sample_transport_file(&sizes[0], ctx);
    assert_non_null(files[0]);
    files[1] = convert(&sizes[1], ctx, files[0], sizes[0], &o);
    check_same(ctx, files[0], sizes[0], files[1], sizes[1]);
    free(files[0]);
    free(files[1]);
    msw_context_free(ctx);
}

/* Plain to plain: floats of 16 bits stay floats of 16 bits in tensors, and in each form
 * values are what they were. */
static void test_convert_plain(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    size_t sizes[3];
    uint8_t *files[3];
    msw_store_options o;

    (void)state;
    files[0] = sample_file(&sizes[0], ctx);
    assert_non_null(files[0]);
    for (int i = 1; i < 3; i++) {
        msw_reader *r;
        msw_entry e;
        size_t at;

        msw_store_options_init(&o);
        o.encoding = i == 1 ? MSW_ENCODING_PLAIN : MSW_ENCODING_TRANSPORT;
        files[i] = convert(&sizes[i], ctx, files[0], sizes[0], &o);
        check_same(ctx, files[0], sizes[0], files[i], sizes[i]);
        r = open_bytes(ctx, files[i], sizes[i]);
        msw_entry_init(&e);
        assert_int_equal(msw_reader_find(&at, r, "batch norm"), MSW_OK);
        assert_int_equal(msw_reader_get_entry(&e, r, at), MSW_OK);
        assert_int_equal(e.free_weights, MSW_DTYPE_F16);
        msw_reader_free(r);
    }
    for (int i = 0; i < 3; i++)
        free(files[i]);
    msw_context_free(ctx);
}

/* Groups of four outputs or fewer run on no packing and stay plain; others do not. */
static void test_convert_groups(void **state)
{
    static const struct {
        uint32_t outputs, groups, encoding;
    } cases[] = {{4, 3, MSW_ENCODING_PLAIN}, {1, 6, MSW_ENCODING_PLAIN},
                 {5, 3, MSW_ENCODING_PACKED}, {4, 1, MSW_ENCODING_PACKED}};
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options packed = packed_options(0, 0);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sample_layer layer = {
            .name = "w", .shape = {(size_t)cases[i].outputs * cases[i].groups, 2, 3, 3},
            .rank = 4, .weights = MSW_WEIGHTS_OIHW, .block_rows = 4, .block_columns = 4,
            .groups = cases[i].groups, .prune = 0.4, .unify = 0.4, .seed = 5};
        msw_unified *u = sample_unified(ctx, &layer);
        msw_store_options plain;
        packed_file f;
        uint8_t *file;
        msw_reader *r;
        msw_entry e;
        size_t size;

        msw_store_options_init(&plain);
        f = packed_file_make(ctx, u, &plain, 0);
        file = convert(&size, ctx, f.data, f.size, &packed);
        r = open_bytes(ctx, file, size);
        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, 0), MSW_OK);
        assert_int_equal(e.encoding, cases[i].encoding);
        msw_reader_free(r);
        free(file);
        packed_file_free(&f);
        msw_unified_free(u);
    }
    msw_context_free(ctx);
}

/* Nothing is added when something cannot be. */
static void test_convert_fails(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    msw_store_options o;
    msw_reader *r;
    msw_writer *w;
    uint64_t before;
    uint8_t *file;
    size_t size;

    (void)state;
    file = sample_file(&size, ctx);
    assert_non_null(file);
    r = open_bytes(ctx, file, size);
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(msw_writer_add_metadata(w, "other", "x", 1), MSW_OK);
    assert_int_equal(sample_add(w, ctx, &sample_layers[2]), MSW_OK);
    before = msw_writer_bytes(w);
    assert_int_equal(msw_writer_add_all(w, r, NULL), MSW_E_EXISTS);
    assert_non_null(strstr(msw_writer_error(w), "conv.bias"));
    assert_int_equal(msw_writer_bytes(w), before);
    assert_int_equal(msw_writer_add_metadata(w, "other", "x", 1), MSW_E_EXISTS);
    assert_int_equal(msw_writer_add_metadata(w, "model", "x", 1), MSW_OK); /* was undone */
    msw_store_options_init(&o);
    o.encoding = 9;
    assert_int_equal(msw_writer_add_all(w, r, &o), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_all(w, NULL, &o), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_all(NULL, r, &o), MSW_E_INVAL);
    msw_reader_free(r);
    msw_writer_free(w);
    free(file);
    msw_context_free(ctx);
}

/* A file that an earlier version wrote, twice the same weights: for kernels in C, and for
 * AVX-512. Loaded anywhere that has such numbers; the first run in place. */

static const sample_layer golden_layers[] = {
    {"matrix", {29, 21}, 2, MSW_WEIGHTS_OI, 0, 8, 8, 1, 3, 0.25, 0.5, 0, 0, 11, NULL, 0},
    {"small blocks", {13, 26}, 2, MSW_WEIGHTS_OI, 0, 3, 2, 1, 1, 0.3, 0.6, 0, 0, 12, NULL,
     0},
    {"tall blocks", {40, 25}, 2, MSW_WEIGHTS_IO, 0, 17, 20, 1, 0, 0.2, 0.6, 0, 0, 13, NULL,
     0},
    {"groups", {21, 4, 3, 2}, 4, MSW_WEIGHTS_OIHW, 0, 4, 4, 3, 3, 0.3, 0.4, 0, 0, 14, NULL, 0},
};
enum { GOLDEN_LAYERS = sizeof golden_layers / sizeof *golden_layers };

static void check_golden(msw_reader *r, const char *name, const msw_unified *u,
                         bool in_place)
{
    enum { N = 5, MOST_ROWS = 64 };
    float y[N * MOST_ROWS], z[N * MOST_ROWS];
    const size_t rows = u->plan->rows, columns = u->plan->columns;
    msw_gemm_options o;
    msw_gemm_info info;
    msw_unified *v;
    msw_gemm *g;

    assert_int_equal(msw_reader_unified(&v, r, name), MSW_OK);
    assert_true(packed_same(u, v));
    msw_unified_free(v);
    if (u->plan->groups > 1)
        return;
    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_reader_gemm(&g, r, name, &o), MSW_OK);
    msw_gemm_info_init(&info);
    assert_int_equal(msw_gemm_get_info(&info, g, N), MSW_OK);
    assert_int_equal(info.placement, in_place ? MSW_PLACEMENT_IN_PLACE
                                              : MSW_PLACEMENT_REPACKED);
    assert_int_equal(packed_run(y, g, rows, columns, N), MSW_OK);
    msw_gemm_free(g);
    assert_int_equal(msw_gemm_new(&g, r->ctx, u, &o), MSW_OK);
    assert_int_equal(packed_run(z, g, rows, columns, N), MSW_OK);
    msw_gemm_free(g);
    assert_memory_equal(y, z, N * rows * sizeof *y);
}

static void test_golden(void **state)
{
    msw_context *ctx = packed_context(MSW_CPU_C, NULL);
    size_t size;
    uint8_t *data = file_golden("ok-1-packed.msw", &size);
    packed_file f = {malloc(size + 64), NULL, size};
    msw_reader *r;

    (void)state;
    assert_non_null(f.memory);
    f.data = (uint8_t *)(((uintptr_t)f.memory + 63) / 64 * 64);
    memcpy(f.data, data, size);
    r = packed_open(ctx, &f, false);
    assert_int_equal(msw_reader_count(r), 2 * GOLDEN_LAYERS);
    for (size_t i = 0; i < 2 * GOLDEN_LAYERS; i++) {
        msw_unified *u = sample_unified(ctx, &golden_layers[i / 2]);
        msw_entry e;

        assert_non_null(u);
        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        assert_int_equal(strncmp(e.name, golden_layers[i / 2].name,
                                 strlen(golden_layers[i / 2].name)), 0);
        check_golden(r, e.name, u, i % 2 == 0);
        msw_unified_free(u);
    }
    msw_reader_free(r);
    packed_file_free(&f);
    free(data);
    msw_context_free(ctx);
}

/* On machines that are not little-endian. */

static void check_refused(const char *error, const char *reason)
{
    if (!strstr(error, reason))
        fail_msg("\"%s\" does not say \"%s\"", error, reason);
}

/* Nothing is written, and the writer goes on. */
static void test_writing_refused(void **state)
{
    static const char reason[] = "no packed form for such processors";
    msw_context *ctx = packed_context(0, NULL);
    const msw_store_options o = packed_options(0, 0);
    size_t size;
    uint8_t *file = sample_transport_file(&size, ctx);
    msw_reader *r;
    msw_writer *w;
    uint64_t empty;

    (void)state;
    assert_non_null(file);
    r = open_bytes(ctx, file, size);
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    empty = msw_writer_bytes(w);
    for (size_t i = 0; i < GOLDEN_LAYERS; i++) {
        msw_unified *u = sample_unified(ctx, &golden_layers[i]);

        assert_non_null(u);
        assert_int_equal(msw_writer_add_unified(w, "w", u, &o), MSW_E_UNSUPPORTED);
        check_refused(msw_writer_error(w), reason);
        assert_int_equal(msw_writer_bytes(w), empty);
        msw_unified_free(u);
    }
    assert_int_equal(msw_writer_add_all(w, r, &o), MSW_E_UNSUPPORTED);
    check_refused(msw_writer_error(w), reason);
    assert_int_equal(msw_writer_bytes(w), empty);
    assert_int_equal(msw_writer_add_all(w, r, NULL), MSW_OK);
    assert_true(msw_writer_bytes(w) > empty);
    msw_writer_free(w);
    msw_reader_free(r);
    free(file);
    msw_context_free(ctx);
}

/* The file opens and is listed; no weights of it load. */
static void test_golden_refused(void **state)
{
    static const char reason[] = "packed for another kind of machine";
    msw_context *ctx = packed_context(0, NULL);
    size_t size;
    uint8_t *data = file_golden("ok-1-packed.msw", &size);
    msw_reader *r = open_bytes(ctx, data, size);
    msw_writer *w;
    uint64_t empty;

    (void)state;
    assert_int_equal(msw_reader_count(r), 2 * GOLDEN_LAYERS);
    for (size_t i = 0; i < 2 * GOLDEN_LAYERS; i++) {
        msw_unified *u = NULL;
        msw_gemm *g = NULL;
        msw_conv *c = NULL;
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        assert_int_equal(e.encoding, MSW_ENCODING_PACKED);
        assert_int_equal(msw_reader_unified(&u, r, e.name), MSW_E_UNSUPPORTED);
        check_refused(msw_reader_error(r), reason);
        assert_null(u);
        if (i / 2 == GOLDEN_LAYERS - 1) { /* groups */
            assert_int_equal(msw_reader_conv(&c, r, e.name, NULL), MSW_E_UNSUPPORTED);
        } else {
            assert_int_equal(msw_reader_gemm(&g, r, e.name, NULL), MSW_E_UNSUPPORTED);
        }
        check_refused(msw_reader_error(r), reason);
        assert_null(g);
        assert_null(c);
    }
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    empty = msw_writer_bytes(w);
    assert_int_equal(msw_writer_add_all(w, r, NULL), MSW_E_UNSUPPORTED);
    assert_int_equal(msw_writer_bytes(w), empty);
    msw_writer_free(w);
    msw_reader_free(r);
    free(data);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest refused[] = {
        cmocka_unit_test(test_writing_refused),
        cmocka_unit_test(test_golden_refused),
        cmocka_unit_test(test_convert_transport),
        cmocka_unit_test(test_convert_plain),
        cmocka_unit_test(test_convert_fails),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_convert_transport),
        cmocka_unit_test(test_convert_plain),
        cmocka_unit_test(test_convert_groups),
        cmocka_unit_test(test_convert_fails),
    };

    return msw__packed_native() ? cmocka_run_group_tests(tests, NULL, NULL)
                                : cmocka_run_group_tests(refused, NULL, NULL);
}
