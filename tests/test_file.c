/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "bytes.h"
#include "container.h"
#include "faults.h"
#include "internal.h"
#include "sample_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static faults memory;
static msw_context *ctx;
static char logged[256]; /* last line */

static void keep_log(int level, const char *text, void *user)
{
    (void)level;
    (void)user;
    snprintf(logged, sizeof logged, "%s", text);
}

static msw_writer *new_writer(void)
{
    msw_writer *w;

    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    return w;
}

static uint8_t *written(msw_writer *w, size_t *size)
{
    uint8_t *data;

    *size = (size_t)msw_writer_bytes(w);
    data = malloc(*size);
    assert_non_null(data);
    assert_int_equal(msw_writer_write_buffer(w, data, *size), MSW_OK);
    return data;
}

static msw_reader *open_bytes(const uint8_t *data, size_t size)
{
    msw_reader *r;

    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_OK);
    return r;
}

static void assert_permutation_equal(const uint32_t *a, const uint32_t *b, size_t count)
{
    assert_int_equal(!a, !b);
    if (a)
        assert_memory_equal(a, b, count * sizeof *a);
}

static void assert_plan_equal(const msw_plan *a, const msw_plan *b)
{
    msw_plan_info x, y;

    msw_plan_info_init(&x);
    msw_plan_info_init(&y);
    assert_int_equal(msw_plan_get_info(&x, a), MSW_OK);
    assert_int_equal(msw_plan_get_info(&y, b), MSW_OK);
    assert_memory_equal(&x, &y, sizeof x);
    assert_permutation_equal(a->row_permutation, b->row_permutation, a->rows);
    assert_permutation_equal(a->column_permutation, b->column_permutation, a->columns);
}

/* Equal, or within half a unit in the last place of f16. */
static void assert_floats(const float *got, const float *want, size_t count, uint32_t dtype)
{
    for (size_t i = 0; i < count; i++)
        if (dtype == MSW_DTYPE_F32)
            assert_memory_equal(&got[i], &want[i], sizeof *got);
        else
            assert_true(fabsf(got[i] - want[i]) <= fabsf(want[i]) * 0x1p-11f + 0x1p-25f);
}

static void assert_unified(const msw_unified *got, const msw_unified *want,
                           const sample_layer *layer)
{
    const size_t end = want->plan->block_row_count;

    assert_plan_equal(got->plan, want->plan);
    assert_memory_equal(got->classes, want->classes, want->plan->block_count);
    assert_floats(got->magnitudes, want->magnitudes, want->magnitude_start[end],
                  layer->magnitudes);
    assert_floats(got->free_weights, want->free_weights, want->free_start[end],
                  layer->free_weights);
    if (want->sign_start[end])
        assert_memory_equal(got->signs, want->signs, (want->sign_start[end] + 7) / 8);
}

static void check_layer(msw_reader *r, const sample_layer *layer)
{
    if (layer->weights == SAMPLE_PLAIN) {
        msw_tensor *want = sample_tensor(ctx, layer), *got;

        assert_int_equal(msw_reader_tensor(&got, r, layer->name), MSW_OK);
        assert_true(msw__tensor_same_shape(got, want));
        assert_floats(got->data, want->data, want->count, layer->free_weights);
        msw_tensor_free(got);
        msw_tensor_free(want);
    } else {
        msw_unified *want = sample_unified(ctx, layer), *got;

        assert_non_null(want);
        assert_int_equal(msw_reader_unified(&got, r, layer->name), MSW_OK);
        assert_unified(got, want, layer);
        msw_unified_free(got);
        msw_unified_free(want);
    }
}

static void check_metadata(const msw_reader *r)
{
    const void *value;
    size_t size;

    assert_int_equal(msw_reader_metadata_count(r), 3);
    assert_string_equal(msw_reader_metadata_key(r, 0), "model");
    assert_string_equal(msw_reader_metadata_key(r, 1), "empty");
    assert_string_equal(msw_reader_metadata_key(r, 2), "bytes");
    assert_null(msw_reader_metadata_key(r, 3));
    assert_int_equal(msw_reader_get_metadata(&value, &size, r, "model"), MSW_OK);
    assert_string_equal(value, "sample");
    assert_int_equal(size, 6);
    assert_int_equal(msw_reader_get_metadata(&value, &size, r, "empty"), MSW_OK);
    assert_string_equal(value, "");
    assert_int_equal(size, 0);
    assert_int_equal(msw_reader_get_metadata(&value, &size, r, "bytes"), MSW_OK);
    assert_memory_equal(value, "\0\xff\n", 4);
    assert_int_equal(size, 3);
    assert_int_equal(msw_reader_get_metadata(&value, &size, r, "none"), MSW_E_NOTFOUND);
    assert_null(value);
}

static void check_entry(const msw_reader *r, size_t i)
{
    const sample_layer *layer = &sample_layers[i];
    size_t at;
    msw_entry e;

    msw_entry_init(&e);
    assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
    assert_string_equal(e.name, layer->name);
    assert_int_equal(e.rank, layer->rank);
    assert_memory_equal(e.shape, layer->shape, sizeof e.shape);
    assert_int_equal(e.kind, layer->weights == SAMPLE_PLAIN ? MSW_ENTRY_TENSOR
                                                            : MSW_ENTRY_UNIFIED);
    assert_int_equal(e.free_weights, layer->free_weights);
    assert_int_equal(e.block_rows, layer->block_rows);
    assert_int_equal(e.block_columns, layer->block_columns);
    assert_true(e.bytes > 0);
    assert_int_equal(msw_reader_find(&at, r, layer->name), MSW_OK);
    assert_int_equal(at, i);
}

static void check_all(msw_reader *r)
{
    assert_int_equal(msw_reader_count(r), sample_layer_count);
    for (size_t i = 0; i < sample_layer_count; i++) {
        check_entry(r, i);
        check_layer(r, &sample_layers[i]);
    }
    check_metadata(r);
}

static void test_round_trip(void **state)
{
    size_t size, at;
    uint8_t *data = sample_file(&size, ctx);
    msw_entry e;
    msw_reader *r;

    (void)state;
    assert_non_null(data);
    r = open_bytes(data, size);
    check_all(r);
    msw_entry_init(&e);
    assert_int_equal(msw_reader_get_entry(&e, r, sample_layer_count), MSW_E_RANGE);
    assert_int_equal(msw_reader_find(&at, r, "fc2"), MSW_E_NOTFOUND);
    assert_string_equal(msw_reader_error(r), "");
    msw_reader_free(r);
    free(data);
}

/* What was loaded, written again, gives the same bytes: also those stored as f16. */
static void test_rewrite(void **state)
{
    size_t size, again_size;
    uint8_t *data = sample_file(&size, ctx), *again;
    msw_reader *r = open_bytes(data, size);
    msw_writer *w = new_writer();

    (void)state;
    assert_int_equal(sample_copy(w, r), MSW_OK);
    msw_reader_free(r);
    again = written(w, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    free(again);
    again = sample_file(&again_size, ctx);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    free(again);
    free(data);
    msw_writer_free(w);
}

/* Any alignment, and never written to. */
static void test_unaligned_buffer(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, ctx), *shifted = malloc(size + 7);

    (void)state;
    for (size_t shift = 1; shift < 8; shift++) {
        msw_reader *r;
        memcpy(shifted + shift, data, size);
        r = open_bytes(shifted + shift, size);
        check_all(r);
        msw_reader_free(r);
        assert_memory_equal(shifted + shift, data, size);
    }
    free(shifted);
    free(data);
}

static void test_empty_model(void **state)
{
    msw_writer *w = new_writer();
    size_t size;
    uint8_t *data = written(w, &size);
    msw_reader *r = open_bytes(data, size);

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
    msw_writer *w = new_writer();
    const void *value;
    size_t size, value_size;
    uint8_t *data;
    msw_reader *r;

    (void)state;
    assert_int_equal(msw_writer_add_metadata(w, "k", "v", 1), MSW_OK);
    data = written(w, &size);
    r = open_bytes(data, size);
    assert_int_equal(msw_reader_get_metadata(&value, &value_size, r, "k"), MSW_OK);
    assert_string_equal(value, "v");
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"",         "\n",           "a\tb",     "\x7f",
                                      "\xc2\x85", "\xff",         "\xc3",     "\xc0\xaf",
                                      "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80"};
    static const char *const good[] = {"a", " ", "../x", "\xc3\xa9", "\xe2\x82\xac",
                                       "\xf0\x9f\x8e\x82", "\xf4\x8f\xbf\xbf"};
    static const size_t shape[1] = {1};
    char longest[1025];
    msw_writer *w = new_writer();
    msw_tensor *t;

    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[1024] = 0;
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 1), MSW_OK);
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

static void test_many_names(void **state)
{
    enum { COUNT = 2000 };
    static const size_t shape[1] = {1};
    msw_writer *w = new_writer();
    size_t size, at;
    char name[16];
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 1), MSW_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%u", i * 7919u % COUNT);
        t->data[0] = (float)i;
        assert_int_equal(msw_writer_add_tensor(w, name, t, NULL), MSW_OK);
    }
    msw_tensor_free(t);
    data = written(w, &size);
    r = open_bytes(data, size);
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
    msw_writer *w = new_writer();
    msw_store_options o;
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    for (int i = 0; i < 12; i++)
        values[i] = (float)i;
    assert_int_equal(msw_tensor_borrow(&t, ctx, values, shape, strides, 2), MSW_OK);
    msw_store_options_init(&o);
    assert_int_equal(msw_writer_add_tensor(w, "f32", t, NULL), MSW_OK);
    o.free_weights = MSW_DTYPE_F16;
    assert_int_equal(msw_writer_add_tensor(w, "f16", t, &o), MSW_OK);
    msw_tensor_free(t);
    data = written(w, &size);
    r = open_bytes(data, size);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(msw_reader_tensor(&t, r, i ? "f16" : "f32"), MSW_OK);
        assert_memory_equal(t->data, want, sizeof want);
        msw_tensor_free(t);
    }
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static msw_status add_f16(msw_writer *w, const char *name, float *values, size_t count)
{
    msw_store_options o;
    msw_status status;
    msw_tensor *t;

    msw_store_options_init(&o);
    o.free_weights = MSW_DTYPE_F16;
    assert_int_equal(msw_tensor_borrow(&t, ctx, values, &count, NULL, 1), MSW_OK);
    status = msw_writer_add_tensor(w, name, t, &o);
    msw_tensor_free(t);
    return status;
}

static void test_loss_of_tensor(void **state)
{
    /* exact, rounded by 2^-12, lost, exact subnormal, zero */
    float values[5] = {1.5f, 1.0f + 0x1p-12f, 0x1p-26f, 0x1p-24f, 0};
    msw_writer *w = new_writer();
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
    msw_writer *w = new_writer();
    msw_store_options o;
    msw_plan_options p;
    msw_store_info i;
    msw_unified *u;
    msw_tensor *t;
    msw_plan *plan;

    (void)state;
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 2;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
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
    assert_true(fabs(i.relative_error - sqrt(4 * 0x1p-24 / (4. * (double)m * (double)m + 16)))
                < 1e-12);
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
    msw_writer *w = new_writer();
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

static void test_f32_keeps_every_bit(void **state)
{
    static const uint32_t bits[6] = {0x7fc12345u, 0xff800000u, 0x7f800000u,
                                     0x80000000u, 0x00000001u, 0x7fa00001u};
    static const size_t shape[1] = {6};
    msw_writer *w = new_writer();
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 1), MSW_OK);
    memcpy(t->data, bits, sizeof bits);
    assert_int_equal(msw_writer_add_tensor(w, "t", t, NULL), MSW_OK);
    msw_tensor_free(t);
    data = written(w, &size);
    r = open_bytes(data, size);
    assert_int_equal(msw_reader_tensor(&t, r, "t"), MSW_OK);
    assert_memory_equal(t->data, bits, sizeof bits);
    msw_tensor_free(t);
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_kinds(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, ctx);
    msw_reader *r = open_bytes(data, size);
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
    check_layer(r = open_bytes(data, size), &sample_layers[0]);
    msw_reader_free(r);
    assert_int_equal(t->count, 6); /* outlives its reader */
    msw_tensor_free(t);
    free(data);
}

static void test_arguments(void **state)
{
    msw_writer *w = new_writer(), *none = w;
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
    assert_int_equal(msw_writer_new(NULL, ctx), MSW_E_INVAL);
    assert_int_equal(msw_writer_new(&none, NULL), MSW_E_INVAL);
    assert_null(none);
    assert_int_equal(msw_writer_add_unified(w, "n", NULL, NULL), MSW_E_INVAL);
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

    t = sample_tensor(ctx, &sample_layers[2]);
    o.free_weights = 2;
    assert_int_equal(msw_writer_add_tensor(w, "n", t, &o), MSW_E_INVAL);
    o.free_weights = 0;
    o.size = 4;
    assert_int_equal(msw_writer_add_tensor(w, "n", t, &o), MSW_E_INVAL);
    msw_tensor_free(t);

    assert_int_equal(msw_reader_open(&r, ctx, NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open(&r, NULL, "x", NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open(NULL, ctx, "x", NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open_buffer(&r, ctx, NULL, 64, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open_io(&r, ctx, NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_reader_open_io(&r, ctx, &io, NULL), MSW_E_INVAL);
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

static void count_release(const void *data, void *user)
{
    (void)data;
    ++*(int *)user;
}

static void test_release(void **state)
{
    size_t size;
    uint8_t *data = sample_file(&size, ctx);
    int released = 0;
    msw_reader_options o;
    msw_reader *r;

    (void)state;
    msw_reader_options_init(&o);
    o.release = count_release;
    o.release_user = &released;
    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size - 1, &o), MSW_E_FORMAT);
    assert_null(r);
    assert_int_equal(released, 0);
    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, &o), MSW_OK);
    assert_int_equal(released, 0);
    msw_reader_free(r);
    assert_int_equal(released, 1);
    free(data);
}

static void test_save_and_open(void **state)
{
    char directory[] = "/tmp/msw-test-XXXXXX", path[64], missing[64];
    msw_writer *w = new_writer();
    msw_reader *r;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/model.msw", directory);
    snprintf(missing, sizeof missing, "%s/none/model.msw", directory);
    assert_int_equal(msw_writer_save(w, path), MSW_OK);
    assert_int_equal(sample_add_all(w, ctx), MSW_OK);
    assert_int_equal(msw_writer_save(w, path), MSW_OK); /* over the old one */
    assert_int_equal(msw_writer_save(w, missing), MSW_E_IO);
    assert_string_not_equal(msw_writer_error(w), "");
    assert_int_equal(msw_writer_save(w, directory), MSW_E_IO); /* it is a directory */
    msw_writer_free(w);
    assert_int_equal(msw_reader_open(&r, ctx, path, NULL), MSW_OK);
    unlink(path); /* stays open */
    check_all(r);
    msw_reader_free(r);
    logged[0] = 0;
    assert_int_equal(msw_reader_open(&r, ctx, path, NULL), MSW_E_IO);
    assert_null(r);
    assert_non_null(strstr(logged, path));
    assert_int_equal(msw_reader_open(&r, ctx, directory, NULL), MSW_E_IO);
    assert_int_equal(rmdir(directory), 0); /* nothing left behind */
}

/* Header, table and index of LeNet's size stay within a few hundred bytes. */
static void test_overhead(void **state)
{
    static const size_t shapes[4][4] = {
        {20, 1, 5, 5}, {50, 20, 5, 5}, {500, 800}, {10, 500}};
    msw_writer *w = new_writer();
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
        assert_int_equal(msw_tensor_new(&t, ctx, shapes[i], i < 2 ? 4 : 2), MSW_OK);
        sample_values(t->data, t->count, i);
        assert_int_equal(msw_plan_new(&plan, ctx, shapes[i], i < 2 ? 4 : 2, &o), MSW_OK);
        assert_int_equal(msw_unified_from(&u, plan, t, &p), MSW_OK);
        snprintf(name, sizeof name, "w%u", (unsigned)i);
        assert_int_equal(msw_writer_add_unified(w, name, u, NULL), MSW_OK);
        assert_int_equal(msw_writer_get_loss(&info, w, name), MSW_OK);
        payload += info.bytes;
        snprintf(name, sizeof name, "b%u", (unsigned)i);
        msw_tensor_free(t);
        assert_int_equal(msw_tensor_new(&t, ctx, shapes[i], 1), MSW_OK);
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
        {0x50, 24, {0x16, 0, 0, 0, 0, 0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0, 0x86, 0x06, 0, 0x3b}},
        {0x68, 16, {5, 0, 0, 0, 1, 0, 0, 0, 0, 1}},
        {0x78, 24, {8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0xc9, 0xf2, 0x36, 0xaa}},
        {0xc0, 22, {1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'b', 0}},
        {0x100, 8, {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}},
    };
    static const size_t shape[1] = {2};
    float values[2] = {1, -2};
    uint8_t expected[264] = {0}, *data;
    msw_writer *w = new_writer();
    msw_tensor *t;
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        memcpy(expected + runs[i].at, runs[i].bytes, runs[i].size);
    assert_int_equal(msw_tensor_borrow(&t, ctx, values, shape, NULL, 1), MSW_OK);
    assert_int_equal(msw_writer_add_tensor(w, "b", t, NULL), MSW_OK);
    msw_tensor_free(t);
    data = written(w, &size);
    assert_int_equal(size, sizeof expected);
    assert_memory_equal(data, expected, size);
    msw_writer_free(w);
    free(data);
}

static uint8_t *golden(const char *name, size_t *size)
{
    uint8_t *data = malloc(1 << 16);
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", MSW_GOLDEN, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_non_null(data);
    *size = fread(data, 1, 1 << 16, f);
    fclose(f);
    return data;
}

/* A file that an earlier version wrote still loads, and the same model still gives the
 * same bytes. */
static void test_golden(void **state)
{
    size_t size, dense_size, at = 0, again_size;
    uint8_t *data = golden("ok-1.msw", &size), *dense = golden("ok-1.dense", &dense_size);
    uint8_t *again = sample_file(&again_size, ctx);
    msw_reader *r = open_bytes(data, size);

    (void)state;
    check_all(r);
    for (size_t i = 0; i < msw_reader_count(r); i++) {
        msw_unified *u = NULL;
        msw_tensor *t;
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        if (e.kind == MSW_ENTRY_UNIFIED) {
            assert_int_equal(msw_reader_unified(&u, r, e.name), MSW_OK);
            assert_int_equal(msw_tensor_new(&t, ctx, e.shape, e.rank), MSW_OK);
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
    msw_writer *w = new_writer();
    uint8_t *data;
    msw_reader *r;
    size_t size;
    msw_tensor *t, *got;

    (void)state;
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    sample_values(t->data, t->count, 5);
    assert_int_equal(msw_writer_add_tensor(w, "large", t, NULL), MSW_OK);
    assert_int_equal(sample_add(w, ctx, &sample_layers[2]), MSW_OK);
    data = written(w, &size);
    msw_writer_free(w);
    assert_int_equal(data[20], 3); /* sections */
    r = open_bytes(data, size);
    assert_int_equal(msw_reader_tensor(&got, r, "large"), MSW_OK);
    assert_memory_equal(got->data, t->data, t->count * sizeof *t->data);
    msw_tensor_free(got);
    check_layer(r, &sample_layers[2]);
    msw_reader_free(r);
    data[((size_t)64 << 20) - 100] ^= 1; /* the first of the two */
    r = open_bytes(data, size);
    check_layer(r, &sample_layers[2]);
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
    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_E_FORMAT);
    assert_non_null(strstr(logged, "68000024 bytes"));
    free(data);
}

static int set_up(void **state)
{
    msw_context_options o;

    (void)state;
    memset(&memory, 0, sizeof memory);
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&memory);
    o.log = keep_log;
    return msw_context_new(&ctx, &o) != MSW_OK;
}

static int tear_down(void **state)
{
    (void)state;
    msw_context_free(ctx);
    return !faults_clean(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),       TEST(test_rewrite),
        TEST(test_unaligned_buffer), TEST(test_empty_model),
        TEST(test_metadata_only),    TEST(test_names),
        TEST(test_many_names),       TEST(test_strided_tensor),
        TEST(test_loss_of_tensor),   TEST(test_loss_of_unified),
        TEST(test_f16_refuses),      TEST(test_f32_keeps_every_bit),
        TEST(test_kinds),            TEST(test_arguments),
        TEST(test_release),          TEST(test_save_and_open),
        TEST(test_overhead),         TEST(test_example),
        TEST(test_golden),           TEST(test_two_sections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
