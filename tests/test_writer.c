/* SPDX-License-Identifier: BSD-2-Clause */
/* What a writer takes, refuses and reports. */
#include "file_fixture.h"
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_names(void **state)
{
    static const char *const bad[] = {"",
                                      "\n",
                                      "a\tb",
                                      "\x7f",
                                      "\xc2\x85",
                                      "\xc2\x9f",
                                      "\xff",
                                      "\xc3",
                                      "\xc3\xc0",
                                      "\xc3\xff",
                                      "\xe2\x82\xec",
                                      "\xc0\xaf",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80"};
    static const char *const good[] = {"a",
                                       " ",
                                       "../x",
                                       "\xc2\xa0",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x8e\x82",
                                       "\xf4\x8f\xbf\xbf"};
    static const size_t shape[1] = {1};
    char longest[1025];
    msw_writer *w = file_new_writer();
    msw_tensor *t;

    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[1024] = 0;
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 1), MSW_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(msw_writer_add_tensor(w, bad[i], t, NULL), MSW_E_INVAL);
        assert_int_equal(msw_writer_add_metadata(w, bad[i], "", 0), MSW_E_INVAL);
        assert_string_not_equal(msw_writer_error(w), "");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(msw_writer_add_tensor(w, good[i], t, NULL), MSW_OK);
        assert_string_equal(msw_writer_error(w), "");
        assert_int_equal(msw_writer_add_tensor(w, good[i], t, NULL), MSW_E_EXISTS);
        assert_int_equal(msw_writer_add_metadata(w, good[i], "", 0), MSW_OK);
        assert_int_equal(msw_writer_add_metadata(w, good[i], "", 0), MSW_E_EXISTS);
    }
    assert_int_equal(msw_writer_add_tensor(w, longest, t, NULL), MSW_E_INVAL);
    longest[1023] = 0;
    assert_int_equal(msw_writer_add_tensor(w, longest, t, NULL), MSW_OK);
    msw_tensor_free(t);
    msw_writer_free(w);
}

static msw_status add_f16(msw_writer *w, const char *name, float *values, size_t count)
{
    msw_store_options o;
    msw_status status;
    msw_tensor *t;

    msw_store_options_init(&o);
    o.free_weights = MSW_DTYPE_F16;
    assert_int_equal(msw_tensor_borrow(&t, file_ctx, values, &count, NULL, 1), MSW_OK);
    status = msw_writer_add_tensor(w, name, t, &o);
    msw_tensor_free(t);
    return status;
}

static void test_loss_of_tensor(void **state)
{
    /* exact, rounded by 2^-12, lost, exact subnormal, zero */
    float values[5] = {1.5f, 1.0f + 0x1p-12f, 0x1p-26f, 0x1p-24f, 0};
    msw_writer *w = file_new_writer();
    msw_store_info i;
    double norm;

    (void)state;
    msw_store_info_init(&i);
    assert_int_equal(add_f16(w, "t", values, 5), MSW_OK);
    assert_int_equal(msw_writer_get_loss(&i, w, "t"), MSW_OK);
    assert_int_equal(i.size, sizeof i);
    assert_int_equal(i.values, 5);
    assert_int_equal(i.changed, 2);
    assert_int_equal(i.underflows, 1);
    assert_int_equal(i.bytes, 10);
    assert_true(i.max_error == 0x1p-12);
    norm = sqrt(1.5 * 1.5 + (1 + 0x1p-12) * (1 + 0x1p-12) + 0x1p-52 + 0x1p-48);
    assert_true(fabs(i.relative_error - sqrt(0x1p-24 + 0x1p-52) / norm) < 1e-12);
    assert_int_equal(msw_writer_get_loss(&i, w, "u"), MSW_E_NOTFOUND);
    msw_writer_free(w);
}

/* The error of a magnitude counts once for each weight of its block. */
static void test_loss_of_unified(void **state)
{
    static const size_t shape[2] = {2, 6};
    const float m = 1.0f + 0x1p-12f; /* stored as 1 */
    uint8_t classes[3] = {MSW_CLASS_UNIFIED, MSW_CLASS_FREE, MSW_CLASS_PRUNED};
    msw_writer *w = file_new_writer();
    msw_store_options o;
    msw_plan_options p;
    msw_store_info i;
    msw_unified *u;
    msw_tensor *t;
    msw_plan *plan;

    (void)state;
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 2;
    assert_int_equal(msw_plan_new(&plan, file_ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 2), MSW_OK);
    for (int k = 0; k < 12; k++)
        t->data[k] = k % 6 < 2 ? m : 2;
    assert_int_equal(msw_unified_new(&u, plan, t, classes, 3), MSW_OK);
    msw_store_options_init(&o);
    o.magnitudes = MSW_DTYPE_F16;
    o.free_weights = MSW_DTYPE_F16;
    assert_int_equal(msw_writer_add_unified(w, "u", u, &o), MSW_OK);
    msw_store_info_init(&i);
    assert_int_equal(msw_writer_get_loss(&i, w, "u"), MSW_OK);
    assert_int_equal(i.values, 5);
    assert_int_equal(i.changed, 1);
    assert_int_equal(i.underflows, 0);
    assert_int_equal(i.bytes, 1 + 2 + 8 + 1);
    assert_true(fabs(i.relative_error -
                     sqrt(4 * 0x1p-24 / (4. * (double)m * (double)m + 16))) < 1e-12);
    assert_int_equal(msw_writer_add_unified(w, "exact", u, NULL), MSW_OK);
    assert_int_equal(msw_writer_get_loss(&i, w, "exact"), MSW_OK);
    assert_int_equal(i.changed, 0);
    assert_true(i.relative_error == 0);
    assert_int_equal(i.bytes, 1 + 4 + 16 + 1);
    msw_unified_free(u);
    msw_tensor_free(t);
    msw_plan_free(plan);
    msw_writer_free(w);
}

static void test_f16_refuses(void **state)
{
    float largest = 65504, above = 65505, nan = NAN, infinite = -INFINITY;
    msw_writer *w = file_new_writer();
    const uint64_t before = msw_writer_bytes(w);

    (void)state;
    assert_int_equal(add_f16(w, "t", &above, 1), MSW_E_RANGE);
    assert_non_null(strstr(msw_writer_error(w), "\"t\""));
    assert_int_equal(add_f16(w, "t", &nan, 1), MSW_E_NUMERIC);
    assert_int_equal(add_f16(w, "t", &infinite, 1), MSW_E_NUMERIC);
    assert_int_equal(msw_writer_bytes(w), before);
    assert_int_equal(add_f16(w, "t", &largest, 1), MSW_OK);
    msw_writer_free(w);
}

/* Header, table and index of LeNet's size stay within a few hundred bytes. */
static void test_overhead(void **state)
{
    static const size_t shapes[4][4] = {
        {20, 1, 5, 5}, {50, 20, 5, 5}, {500, 800}, {10, 500}};
    msw_writer *w = file_new_writer();
    uint64_t payload = 0;
    msw_store_info info;

    (void)state;
    msw_store_info_init(&info);
    for (uint32_t i = 0; i < 4; i++) {
        char name[8];
        msw_plan_options o;
        msw_projection_options p;
        msw_unified *u;
        msw_plan *plan;
        msw_tensor *t;

        msw_plan_options_init(&o);
        o.weights = i < 2 ? MSW_WEIGHTS_OIHW : MSW_WEIGHTS_OI;
        o.block_rows = 4;
        msw_projection_options_init(&p);
        p.prune = p.unify = 0.5;
        assert_int_equal(msw_tensor_new(&t, file_ctx, shapes[i], i < 2 ? 4 : 2), MSW_OK);
        sample_values(t->data, t->count, i);
        assert_int_equal(msw_plan_new(&plan, file_ctx, shapes[i], i < 2 ? 4 : 2, &o),
                         MSW_OK);
        assert_int_equal(msw_unified_from(&u, plan, t, &p), MSW_OK);
        snprintf(name, sizeof name, "w%u", (unsigned)i);
        assert_int_equal(msw_writer_add_unified(w, name, u, NULL), MSW_OK);
        assert_int_equal(msw_writer_get_loss(&info, w, name), MSW_OK);
        payload += info.bytes;
        snprintf(name, sizeof name, "b%u", (unsigned)i);
        msw_tensor_free(t);
        assert_int_equal(msw_tensor_new(&t, file_ctx, shapes[i], 1), MSW_OK);
        assert_int_equal(msw_writer_add_tensor(w, name, t, NULL), MSW_OK);
        assert_int_equal(msw_writer_get_loss(&info, w, name), MSW_OK);
        payload += info.bytes;
        msw_tensor_free(t);
        msw_unified_free(u);
        msw_plan_free(plan);
    }
    assert_true(msw_writer_bytes(w) - payload < 640);
    msw_writer_free(w);
}

static int64_t no_bytes(uint64_t offset, void *data, size_t size, void *user)
{
    (void)offset;
    (void)data;
    (void)size;
    (void)user;
    return 0;
}

/* A magnitude that f16 cannot hold, in both forms. */
static void test_large_magnitude(void **state)
{
    static const size_t shape[2] = {8, 8};
    static const uint8_t class = MSW_CLASS_UNIFIED;
    msw_writer *w = file_new_writer();
    msw_store_options o;
    msw_unified *u;
    msw_plan *plan;
    msw_tensor *t;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_plan_new(&plan, file_ctx, shape, 2, NULL), MSW_OK);
    for (size_t i = 0; i < t->count; i++)
        t->data[i] = 70000;
    assert_int_equal(msw_unified_new(&u, plan, t, &class, 1), MSW_OK);
    msw_store_options_init(&o);
    o.magnitudes = MSW_DTYPE_F16;
    for (o.encoding = 0; o.encoding < 2; o.encoding++) {
        assert_int_equal(msw_writer_add_unified(w, "u", u, &o), MSW_E_RANGE);
        assert_non_null(strstr(msw_writer_error(w), "65504"));
    }
    msw_unified_free(u);
    msw_plan_free(plan);
    msw_tensor_free(t);
    msw_writer_free(w);
}

static void test_arguments(void **state)
{
    msw_writer *w = file_new_writer(), *none = w;
    msw_store_options o;
    msw_store_info info;
    const void *value;
    size_t size = 1;
    msw_reader *r;
    msw_unified *u;
    msw_tensor *t;
    msw_io io;

    (void)state;
    msw_io_init(&io);
    msw_store_options_init(&o);
    msw_store_info_init(&info);
    assert_int_equal(msw_writer_new(NULL, file_ctx), MSW_E_INVAL);
    assert_int_equal(msw_writer_new(&none, NULL), MSW_E_INVAL);
    assert_null(none);
    assert_int_equal(msw_writer_add_unified(w, "n", NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_unified(NULL, "n", NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_tensor(NULL, "n", NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_metadata(w, "n", "", SIZE_MAX), MSW_E_RANGE);
    assert_int_equal(msw_writer_get_loss(NULL, w, "n"), MSW_E_INVAL);
    assert_int_equal(msw_writer_get_loss(&info, NULL, "n"), MSW_E_INVAL);
    assert_int_equal(msw_writer_save(NULL, "x"), MSW_E_INVAL);
    assert_int_equal(msw_writer_save(w, "/tmp"), MSW_E_IO); /* a directory, in the root */
    assert_int_equal(msw_writer_write(NULL, &io), MSW_E_INVAL);
    assert_int_equal(msw_writer_write_buffer(NULL, &o, 64), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_tensor(w, "n", NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_metadata(w, "n", NULL, 1), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_metadata(w, NULL, "", 0), MSW_E_INVAL);
    assert_int_equal(msw_writer_add_metadata(NULL, "n", "", 0), MSW_E_INVAL);
    assert_int_equal(msw_writer_get_loss(&info, w, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_save(w, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_save(w, ""), MSW_E_INVAL);
    assert_int_equal(msw_writer_save(w, "x/"), MSW_E_INVAL);
    assert_int_equal(msw_writer_write(w, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_write(w, &io), MSW_E_INVAL);
    assert_int_equal(msw_writer_write_buffer(w, NULL, 64), MSW_E_INVAL);
    assert_int_equal(msw_writer_write_buffer(w, &o, 1), MSW_E_RANGE);
    assert_int_equal(msw_writer_bytes(NULL), 0);
    assert_string_equal(msw_writer_error(NULL), "");
    msw_writer_free(NULL);

    t = sample_tensor(file_ctx, &sample_layers[2]);
    o.free_weights = 2;
    assert_int_equal(msw_writer_add_tensor(w, "n", t, &o), MSW_E_INVAL);
    o.free_weights = 0;
    o.size = 4;
    assert_int_equal(msw_writer_add_tensor(w, "n", t, &o), MSW_E_INVAL);
    msw_tensor_free(t);

    assert_int_equal(msw_reader_open(&r, file_ctx, NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open(&r, NULL, "x", NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open(NULL, file_ctx, "x", NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, NULL, 64, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open_io(&r, file_ctx, NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open_io(&r, file_ctx, &io, NULL), MSW_E_INVAL);
    io.read_at = no_bytes;
    assert_int_equal(msw_reader_open_io(&r, file_ctx, &io, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open(&r, file_ctx, "/dev/null", NULL), MSW_E_IO);
    assert_int_equal(msw_reader_get_metadata(&value, &size, NULL, "k"), MSW_E_INVAL);
    assert_int_equal(size, 0);
    assert_int_equal(msw_reader_unified(&u, NULL, "n"), MSW_E_INVAL);
    assert_int_equal(msw_reader_tensor(&t, NULL, "n"), MSW_E_INVAL);
    assert_int_equal(msw_reader_find(&size, NULL, "n"), MSW_E_INVAL);
    assert_int_equal(msw_reader_count(NULL), 0);
    assert_int_equal(msw_reader_metadata_count(NULL), 0);
    assert_string_equal(msw_reader_error(NULL), "");
    msw_reader_free(NULL);
    msw_writer_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_names),
        FILE_TEST(test_loss_of_tensor),
        FILE_TEST(test_loss_of_unified),
        FILE_TEST(test_f16_refuses),
        FILE_TEST(test_overhead),
        FILE_TEST(test_large_magnitude),
        FILE_TEST(test_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
