/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "bytes.h"
#include "container.h"
#include "file_fixture.h"
#include "file_format.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_round_trip(void **state)
{
    size_t size, at;
    uint8_t *data = sample_file(&size, file_ctx);
    msw_entry e;
    msw_reader *r;

    (void)state;
    assert_non_null(data);
    r = file_open(data, size);
    file_check_all(r);
    msw_entry_init(&e);
    assert_int_equal(msw_reader_get_entry(&e, r, sample_layer_count), MSW_E_RANGE);
    assert_int_equal(msw_reader_find(&at, r, "fc2"), MSW_E_NOTFOUND);
    assert_string_equal(msw_reader_error(r), "");
    msw_reader_free(r);
    free(data);
}

/* What was loaded, file_written again, gives the same bytes: also those stored as f16. */
static void test_rewrite(void **state)
{
    size_t size, again_size;
    uint8_t *data = sample_file(&size, file_ctx), *again;
    msw_reader *r = file_open(data, size);
    msw_writer *w = file_new_writer();

    (void)state;
    assert_int_equal(sample_copy(w, r), MSW_OK);
    msw_reader_free(r);
    again = file_written(w, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    free(again);
    again = sample_file(&again_size, file_ctx);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    free(again);
    free(data);
    msw_writer_free(w);
}

static void test_empty_model(void **state)
{
    msw_writer *w = file_new_writer();
    size_t size;
    uint8_t *data = file_written(w, &size);
    msw_reader *r = file_open(data, size);

    (void)state;
    assert_int_equal(size, 64);
    assert_int_equal(msw_reader_count(r), 0);
    assert_int_equal(msw_reader_metadata_count(r), 0);
    assert_null(msw_reader_metadata_key(r, 0));
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_metadata_only(void **state)
{
    msw_writer *w = file_new_writer();
    const void *value;
    size_t size, value_size;
    uint8_t *data;
    msw_reader *r;

    (void)state;
    assert_int_equal(msw_writer_add_metadata(w, "k", "v", 1), MSW_OK);
    data = file_written(w, &size);
    r = file_open(data, size);
    assert_int_equal(msw_reader_get_metadata(&value, &value_size, r, "k"), MSW_OK);
    assert_string_equal(value, "v");
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_many_names(void **state)
{
    enum { COUNT = 2000 };
    static const size_t shape[1] = {1};
    msw_writer *w = file_new_writer();
    size_t size, at;
    char name[16];
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 1), MSW_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%u", i * 7919u % COUNT);
        t->data[0] = (float)i;
        assert_int_equal(msw_writer_add_tensor(w, name, t, NULL), MSW_OK);
    }
    msw_tensor_free(t);
    data = file_written(w, &size);
    r = file_open(data, size);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%u", i * 7919u % COUNT);
        assert_int_equal(msw_reader_find(&at, r, name), MSW_OK);
        assert_int_equal(at, i);
        assert_int_equal(msw_reader_tensor(&t, r, name), MSW_OK);
        assert_true(t->data[0] == (float)i);
        msw_tensor_free(t);
    }
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

/* Views into the host's rows are stored as the values they show. */
static void test_strided_tensor(void **state)
{
    static const size_t shape[2] = {2, 3}, strides[2] = {1, 4};
    float values[12], want[6] = {0, 4, 8, 1, 5, 9};
    msw_writer *w = file_new_writer();
    msw_store_options o;
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    for (int i = 0; i < 12; i++)
        values[i] = (float)i;
    assert_int_equal(msw_tensor_borrow(&t, file_ctx, values, shape, strides, 2), MSW_OK);
    msw_store_options_init(&o);
    assert_int_equal(msw_writer_add_tensor(w, "f32", t, NULL), MSW_OK);
    o.free_weights = MSW_DTYPE_F16;
    assert_int_equal(msw_writer_add_tensor(w, "f16", t, &o), MSW_OK);
    msw_tensor_free(t);
    data = file_written(w, &size);
    r = file_open(data, size);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(msw_reader_tensor(&t, r, i ? "f16" : "f32"), MSW_OK);
        assert_memory_equal(t->data, want, sizeof want);
        msw_tensor_free(t);
    }
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_f32_keeps_every_bit(void **state)
{
    static const uint32_t bits[6] = {0x7fc12345u, 0xff800000u, 0x7f800000u,
                                     0x80000000u, 0x00000001u, 0x7fa00001u};
    static const size_t shape[1] = {6};
    msw_writer *w = file_new_writer();
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 1), MSW_OK);
    memcpy(t->data, bits, sizeof bits);
    assert_int_equal(msw_writer_add_tensor(w, "t", t, NULL), MSW_OK);
    msw_tensor_free(t);
    data = file_written(w, &size);
    r = file_open(data, size);
    assert_int_equal(msw_reader_tensor(&t, r, "t"), MSW_OK);
    assert_memory_equal(t->data, bits, sizeof bits);
    msw_tensor_free(t);
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

/* Indices of one, two and four bytes. */
static void test_wide_permutations(void **state)
{
    static const size_t columns[] = {256, 257, 65536, 65537};

    (void)state;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const size_t shape[2] = {1, columns[i]};
        uint32_t *order = malloc(columns[i] * sizeof *order);
        msw_writer *w = file_new_writer();
        msw_plan_options o;
        msw_unified *u, *got;
        msw_tensor *t;
        msw_plan *plan;
        msw_reader *r;
        uint8_t *data;
        size_t size;

        assert_non_null(order);
        for (size_t c = 0; c < columns[i]; c++)
            order[c] = (uint32_t)(columns[i] - 1 - c);
        msw_plan_options_init(&o);
        o.column_permutation = order;
        assert_int_equal(msw_plan_new(&plan, file_ctx, shape, 2, &o), MSW_OK);
        assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 2), MSW_OK);
        assert_int_equal(msw_unified_from(&u, plan, t, NULL), MSW_OK);
        assert_int_equal(msw_writer_add_unified(w, "u", u, NULL), MSW_OK);
        data = file_written(w, &size);
        r = file_open(data, size);
        assert_int_equal(msw_reader_unified(&got, r, "u"), MSW_OK);
        assert_memory_equal(got->plan->column_permutation, order,
                            columns[i] * sizeof *order);
        msw_unified_free(got);
        msw_unified_free(u);
        msw_reader_free(r);
        msw_writer_free(w);
        msw_tensor_free(t);
        msw_plan_free(plan);
        free(data);
        free(order);
    }
}

/* Weights with their inputs first: rows and columns are in another order than the shape. */
static void test_inputs_first(void **state)
{
    static const sample_layer layer = {"io", {9, 4}, 2, MSW_WEIGHTS_IO, 0, 2, 4, 1, 3, 0.3,
                                       0.3, 0, 0, 5, NULL, 0};
    msw_unified *u = sample_unified(file_ctx, &layer), *got;
    msw_writer *w = file_new_writer();
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    assert_non_null(u);
    assert_int_equal(msw_writer_add_unified(w, "io", u, NULL), MSW_OK);
    data = file_written(w, &size);
    r = file_open(data, size);
    assert_int_equal(msw_reader_unified(&got, r, "io"), MSW_OK);
    assert_memory_equal(got->plan->row_permutation, u->plan->row_permutation,
                        4 * sizeof(uint32_t));
    assert_memory_equal(got->plan->column_permutation, u->plan->column_permutation,
                        9 * sizeof(uint32_t));
    msw_unified_free(got);
    msw_unified_free(u);
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_save_and_open(void **state)
{
    char directory[] = "/tmp/msw-test-XXXXXX", path[64], missing[64];
    msw_writer *w = file_new_writer();
    msw_reader *r;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/model.msw", directory);
    snprintf(missing, sizeof missing, "%s/none/model.msw", directory);
    assert_int_equal(msw_writer_save(w, path), MSW_OK);
    assert_int_equal(sample_add_all(w, file_ctx), MSW_OK);
    assert_int_equal(msw_writer_save(w, path), MSW_OK); /* over the old one */
    assert_int_equal(msw_writer_save(w, missing), MSW_E_IO);
    assert_string_not_equal(msw_writer_error(w), "");
    assert_int_equal(msw_writer_save(w, directory), MSW_E_IO); /* it is a directory */
    msw_writer_free(w);
    assert_int_equal(msw_reader_open(&r, file_ctx, path, NULL), MSW_OK);
    unlink(path); /* stays open */
    file_check_all(r);
    msw_reader_free(r);
    file_log[0] = 0;
    assert_int_equal(msw_reader_open(&r, file_ctx, path, NULL), MSW_E_IO);
    assert_null(r);
    assert_non_null(strstr(file_log, path));
    assert_int_equal(msw_reader_open(&r, file_ctx, directory, NULL), MSW_E_IO);
    assert_int_equal(rmdir(directory), 0); /* nothing left behind */
}

/* The example of doc/format.md. */
static void test_example(void **state)
{
    static const struct run {
        size_t at, size;
        uint8_t bytes[24];
    } runs[] = {
        {0x00, 16, {0x89, 'M', 'S', 'W', '\r', '\n', 0x1a, '\n', 1}},
        {0x10, 16, {64, 0, 0, 0, 2, 0, 0, 0, 0x08, 1}},
        {0x20, 4, {0x8a, 0xa6, 0x10, 0xe6}},
        {0x3c, 4, {0x56, 0x41, 0xf8, 0x19}},
        {0x40, 16, {1, 0, 0, 0, 1, 0, 0, 0, 0xc0}},
        {0x50, 24, {0x16, 0, 0, 0, 0, 0, 0,    0,    0x16, 0,
                    0,    0, 0, 0, 0, 0, 0x86, 0x06, 0,    0x3b}},
        {0x68, 16, {5, 0, 0, 0, 1, 0, 0, 0, 0, 1}},
        {0x78, 24, {8, 0, 0, 0, 0, 0, 0,    0,    8,    0,
                    0, 0, 0, 0, 0, 0, 0xc9, 0xf2, 0x36, 0xaa}},
        {0xc0, 22, {1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'b', 0}},
        {0x100, 8, {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}},
    };
    static const size_t shape[1] = {2};
    float values[2] = {1, -2};
    uint8_t expected[264] = {0}, *data;
    msw_writer *w = file_new_writer();
    msw_tensor *t;
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        memcpy(expected + runs[i].at, runs[i].bytes, runs[i].size);
    assert_int_equal(msw_tensor_borrow(&t, file_ctx, values, shape, NULL, 1), MSW_OK);
    assert_int_equal(msw_writer_add_tensor(w, "b", t, NULL), MSW_OK);
    msw_tensor_free(t);
    data = file_written(w, &size);
    assert_int_equal(size, sizeof expected);
    assert_memory_equal(data, expected, size);
    msw_writer_free(w);
    free(data);
}

/* A file that an earlier version wrote still loads, and the same model still gives the
 * same bytes. */
static void test_golden(void **state)
{
    size_t size, dense_size, at = 0, again_size;
    uint8_t *data = file_golden("ok-1.msw", &size),
            *dense = file_golden("ok-1.dense", &dense_size);
    uint8_t *again = sample_file(&again_size, file_ctx);
    msw_reader *r = file_open(data, size);

    (void)state;
    file_check_all(r);
    for (size_t i = 0; i < msw_reader_count(r); i++) {
        msw_unified *u = NULL;
        msw_tensor *t;
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        if (e.kind == MSW_ENTRY_UNIFIED) {
            assert_int_equal(msw_reader_unified(&u, r, e.name), MSW_OK);
            assert_int_equal(msw_tensor_new(&t, file_ctx, e.shape, e.rank), MSW_OK);
            assert_int_equal(msw_unified_to_dense(t, u), MSW_OK);
        } else {
            assert_int_equal(msw_reader_tensor(&t, r, e.name), MSW_OK);
        }
        for (size_t k = 0; k < t->count; k++, at += 4)
            assert_int_equal(msw__float_bits(&t->data[k]), msw__load32(dense + at));
        msw_tensor_free(t);
        msw_unified_free(u);
    }
    assert_int_equal(at, dense_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    msw_reader_free(r);
    free(again);
    free(dense);
    free(data);
}

/* A stream of more than one section; 17,000,000 values take 68 MB. */
static void test_two_sections(void **state)
{
    const size_t shape[2] = {17000, 1000};
    msw_writer *w = file_new_writer();
    uint8_t *data;
    msw_reader *r;
    size_t size;
    msw_tensor *t, *got;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 2), MSW_OK);
    sample_values(t->data, t->count, 5);
    assert_int_equal(msw_writer_add_tensor(w, "large", t, NULL), MSW_OK);
    assert_int_equal(sample_add(w, file_ctx, &sample_layers[2]), MSW_OK);
    data = file_written(w, &size);
    msw_writer_free(w);
    assert_int_equal(data[20], 3); /* sections */
    r = file_open(data, size);
    assert_int_equal(msw_reader_tensor(&got, r, "large"), MSW_OK);
    assert_memory_equal(got->data, t->data, t->count * sizeof *t->data);
    msw_tensor_free(got);
    file_check_layer(r, &sample_layers[2]);
    msw_reader_free(r);
    data[((size_t)64 << 20) - 100] ^= 1; /* the first of the two */
    r = file_open(data, size);
    file_check_layer(r, &sample_layers[2]);
    assert_int_equal(msw_reader_tensor(&got, r, "large"), MSW_E_CORRUPT);
    assert_null(got);
    msw_reader_free(r);
    msw_tensor_free(t);

    /* as one section, it is too long */
    data[((size_t)64 << 20) - 100] ^= 1;
    msw__store64(data + 64 + 40 + 16, UINT64_C(17000006) * 4);
    msw__store64(data + 64 + 40 + 24, UINT64_C(17000006) * 4);
    data[20] = 2;
    memset(data + 64 + 80, 0, 40);
    container_repair(data, size);
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, NULL),
                     MSW_E_FORMAT);
    assert_non_null(strstr(file_log, "68000024 bytes"));
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_round_trip),
        FILE_TEST(test_rewrite),
        FILE_TEST(test_empty_model),
        FILE_TEST(test_metadata_only),
        FILE_TEST(test_many_names),
        FILE_TEST(test_strided_tensor),
        FILE_TEST(test_f32_keeps_every_bit),
        FILE_TEST(test_wide_permutations),
        FILE_TEST(test_inputs_first),
        FILE_TEST(test_save_and_open),
        FILE_TEST(test_example),
        FILE_TEST(test_golden),
        FILE_TEST(test_two_sections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
