/* SPDX-License-Identifier: BSD-2-Clause */
/* What a reader reads, checks and keeps of a file that is as it should be. */
#include "container.h"
#include "file_fixture.h"
#include "file_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Damage to a section is seen when the section is used, not when its neighbour is. */
static void test_neighbouring_sections(void **state)
{
    enum { BLOCKS = 62 }; /* 8 bytes of class map, 248 of weights: no padding follows */
    static const size_t shape[2] = {1, BLOCKS};
    msw_writer *w = file_new_writer();
    container_section s, next;
    msw_plan_options o;
    msw_plan *plan;
    msw_tensor *t;
    msw_unified *u;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    msw_plan_options_init(&o);
    o.block_rows = o.block_columns = 1;
    assert_int_equal(msw_plan_new(&plan, file_ctx, shape, 2, &o), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_unified_from(&u, plan, t, NULL), MSW_OK);
    assert_int_equal(msw_writer_add_unified(w, "u", u, NULL), MSW_OK);
    assert_int_equal(msw_writer_add_tensor(w, "t", t, NULL), MSW_OK);
    msw_unified_free(u);
    msw_tensor_free(t);
    data = file_written(w, &size);
    s = container_find(data, size, MSW__SECTION_UNIFIED);
    next = container_find(data, size, MSW__SECTION_TENSOR);
    assert_true(s.data + s.size == next.data);
    s.data[s.size - 1] ^= 1;
    r = file_open(data, size);
    assert_int_equal(msw_reader_tensor(&t, r, "t"), MSW_OK);
    assert_int_equal(msw_reader_unified(&u, r, "u"), MSW_E_CORRUPT);
    msw_tensor_free(t);
    msw_reader_free(r);
    msw_writer_free(w);
    msw_plan_free(plan);
    free(data);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_reader_arguments),
        FILE_TEST(test_unaligned_buffer),
        FILE_TEST(test_kinds),
        FILE_TEST(test_release),
        FILE_TEST(test_reads_no_more),
        FILE_TEST(test_neighbouring_sections),
        FILE_TEST(test_trusted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
