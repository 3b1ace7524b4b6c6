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

/* Any alignment, and never file_written to. */
static void test_unaligned_buffer(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, file_ctx), *shifted = malloc(size + 7);

    (void)state;
    for (size_t shift = 1; shift < 8; shift++) {
        msw_reader *r;
        memcpy(shifted + shift, data, size);
        r = file_open(shifted + shift, size);
        file_check_all(r);
        msw_reader_free(r);
        assert_memory_equal(shifted + shift, data, size);
    }
    free(shifted);
    free(data);
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

static void test_reader_arguments(void **state)
{
    size_t size, at;
    uint8_t *data = sample_file(&size, file_ctx);
    msw_reader *r = file_open(data, size);
    const void *value;
    msw_unified *u;
    msw_tensor *t;
    msw_entry e;

    (void)state;
    msw_entry_init(&e);
    assert_int_equal(msw_reader_get_entry(NULL, r, 0), MSW_E_INVAL);
    assert_int_equal(msw_reader_get_entry(&e, NULL, 0), MSW_E_INVAL);
    assert_int_equal(msw_reader_find(NULL, r, "fc"), MSW_E_INVAL);
    assert_int_equal(msw_reader_find(&at, r, NULL), MSW_E_INVAL);
    assert_null(msw_reader_metadata_key(NULL, 0));
    assert_int_equal(msw_reader_get_metadata(NULL, &size, r, "model"), MSW_E_INVAL);
    assert_int_equal(msw_reader_get_metadata(&value, NULL, r, "model"), MSW_E_INVAL);
    assert_int_equal(msw_reader_get_metadata(&value, &size, r, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_unified(NULL, r, "fc"), MSW_E_INVAL);
    assert_int_equal(msw_reader_unified(&u, r, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_tensor(NULL, r, "conv.bias"), MSW_E_INVAL);
    assert_int_equal(msw_reader_tensor(&t, r, NULL), MSW_E_INVAL);
    assert_null(t);
    msw_reader_free(r);
    free(data);
}

static void test_kinds(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, file_ctx);
    msw_reader *r = file_open(data, size);
    msw_unified *u;
    msw_tensor *t;

    (void)state;
    assert_int_equal(msw_reader_unified(&u, r, "conv.bias"), MSW_E_INVAL);
    assert_null(u);
    assert_non_null(strstr(msw_reader_error(r), "conv.bias"));
    assert_int_equal(msw_reader_tensor(&t, r, "conv"), MSW_E_INVAL);
    assert_null(t);
    assert_int_equal(msw_reader_tensor(&t, r, "none"), MSW_E_NOTFOUND);
    assert_non_null(strstr(msw_reader_error(r), "none"));
    assert_int_equal(msw_reader_tensor(&t, r, "conv.bias"), MSW_OK);
    assert_string_equal(msw_reader_error(r), "");
    msw_reader_free(r);
    file_check_layer(r = file_open(data, size), &sample_layers[0]);
    msw_reader_free(r);
    assert_int_equal(t->count, 6); /* outlives its reader */
    msw_tensor_free(t);
    free(data);
}

static void count_release(const void *data, void *user)
{
    (void)data;
    ++*(int *)user;
}

static void test_release(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, file_ctx);
    int released = 0;
    msw_reader_options o;
    msw_reader *r;

    (void)state;
    msw_reader_options_init(&o);
    o.release = count_release;
    o.release_user = &released;
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size - 1, &o),
                     MSW_E_FORMAT);
    assert_null(r);
    assert_int_equal(released, 0);
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, &o), MSW_OK);
    assert_int_equal(released, 0);
    msw_reader_free(r);
    assert_int_equal(released, 1);
    free(data);
}

/* Storage that counts what is read of it. */
typedef struct counted {
    const uint8_t *data;
    size_t size;
    uint64_t read;
} counted;

static int64_t counted_read(uint64_t offset, void *data, size_t size, void *user)
{
    counted *c = user;

    memcpy(data, c->data + (size_t)offset, size);
    c->read += size;
    return (int64_t)size;
}

static uint64_t counted_length(void *user)
{
    return ((const counted *)user)->size;
}

/* Opening reads what the number of tensors asks for, and the first use of one, when the
 * host vouches for the file, no more than its payload. */
static void test_reads_no_more(void **state)
{
    enum { COUNT = 50, VALUES = 5000, OVERHEAD = 64 + 2 * 40 + 2 * 64 };
    static const size_t shape[1] = {VALUES};
    msw_writer *w = file_new_writer();
    msw_reader_options o;
    counted source = {NULL, 0, 0};
    msw_tensor *t;
    msw_reader *r;
    msw_io io;
    char name[8];

    (void)state;
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 1), MSW_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%02u", i);
        assert_int_equal(msw_writer_add_tensor(w, name, t, NULL), MSW_OK);
    }
    msw_tensor_free(t);
    source.data = file_written(w, &source.size);
    msw_io_init(&io);
    io.user = &source;
    io.read_at = counted_read;
    io.length = counted_length;
    msw_reader_options_init(&o);
    for (o.trusted = 0; o.trusted < 2; o.trusted++) {
        source.read = 0;
        assert_int_equal(msw_reader_open_io(&r, file_ctx, &io, &o), MSW_OK);
        assert_true(source.read < OVERHEAD + 2 * (4 + COUNT * (8 + 8 + 2 + 1)));
        source.read = 0;
        assert_int_equal(msw_reader_tensor(&t, r, "17"), MSW_OK);
        msw_tensor_free(t);
        if (o.trusted)
            assert_int_equal(source.read, 4 * VALUES);
        source.read = 0; /* the section is known by now */
        assert_int_equal(msw_reader_tensor(&t, r, "18"), MSW_OK);
        msw_tensor_free(t);
        assert_int_equal(source.read, 4 * VALUES);
        msw_reader_free(r);
    }
    msw_writer_free(w);
    free((void *)(uintptr_t)source.data);
}

static void test_trusted(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, file_ctx);
    msw_reader_options o;
    msw_reader *r;
    msw_tensor *t;

    (void)state;
    container_find(data, size, MSW__SECTION_TENSOR).data[0] ^= 1;
    msw_reader_options_init(&o);
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, &o), MSW_OK);
    assert_int_equal(msw_reader_tensor(&t, r, "conv.bias"), MSW_E_CORRUPT);
    msw_reader_free(r);
    o.trusted = 1;
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, &o), MSW_OK);
    assert_int_equal(msw_reader_tensor(&t, r, "conv.bias"), MSW_OK);
    msw_tensor_free(t);
    msw_reader_free(r);
    o.reserved = 1;
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, &o), MSW_E_VERSION);
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
        FILE_TEST(test_unaligned_buffer),
        FILE_TEST(test_empty_model),
        FILE_TEST(test_metadata_only),
        FILE_TEST(test_many_names),
        FILE_TEST(test_strided_tensor),
        FILE_TEST(test_f32_keeps_every_bit),
        FILE_TEST(test_wide_permutations),
        FILE_TEST(test_reader_arguments),
        FILE_TEST(test_kinds),
        FILE_TEST(test_release),
        FILE_TEST(test_trusted),
        FILE_TEST(test_reads_no_more),
        FILE_TEST(test_save_and_open),
        FILE_TEST(test_example),
        FILE_TEST(test_golden),
        FILE_TEST(test_two_sections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
