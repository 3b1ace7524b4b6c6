/* SPDX-License-Identifier: BSD-2-Clause */
#include "file_fixture.h"

#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

msw_context *file_ctx;
char file_log[256];
static faults memory;

static void keep_log(int level, const char *text, void *user)
{
    (void)level;
    (void)user;
    snprintf(file_log, sizeof file_log, "%s", text);
}

msw_writer *file_new_writer(void)
{
    msw_writer *w;

    assert_int_equal(msw_writer_new(&w, file_ctx), MSW_OK);
    return w;
}

uint8_t *file_written(msw_writer *w, size_t *size)
{
    uint8_t *data;

    *size = (size_t)msw_writer_bytes(w);
    data = malloc(*size);
    assert_non_null(data);
    assert_int_equal(msw_writer_write_buffer(w, data, *size), MSW_OK);
    return data;
}

msw_reader *file_open(const uint8_t *data, size_t size)
{
    msw_reader *r;

    assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, NULL), MSW_OK);
    return r;
}

uint8_t *file_golden(const char *name, size_t *size)
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
static void assert_floats(const float *got, const float *want, size_t count,
                          uint32_t dtype)
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

void file_check_layer(msw_reader *r, const sample_layer *layer)
{
    if (layer->weights == SAMPLE_PLAIN) {
        msw_tensor *want = sample_tensor(file_ctx, layer), *got;

        assert_int_equal(msw_reader_tensor(&got, r, layer->name), MSW_OK);
        assert_true(msw__tensor_same_shape(got, want));
        assert_floats(got->data, want->data, want->count, layer->free_weights);
        msw_tensor_free(got);
        msw_tensor_free(want);
    } else {
        msw_unified *want = sample_unified(file_ctx, layer), *got;

        assert_non_null(want);
        assert_int_equal(msw_reader_unified(&got, r, layer->name), MSW_OK);
        assert_unified(got, want, layer);
        msw_unified_free(got);
        msw_unified_free(want);
    }
}

static void file_check_metadata(const msw_reader *r)
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

static void file_check_entry(const msw_reader *r, size_t i)
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

void file_check_all(msw_reader *r)
{
    assert_int_equal(msw_reader_count(r), sample_layer_count);
    for (size_t i = 0; i < sample_layer_count; i++) {
        file_check_entry(r, i);
        file_check_layer(r, &sample_layers[i]);
    }
    file_check_metadata(r);
}

int file_set_up(void **state)
{
    msw_context_options o;

    (void)state;
    memset(&memory, 0, sizeof memory);
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&memory);
    o.log = keep_log;
    return msw_context_new(&file_ctx, &o) != MSW_OK;
}

int file_tear_down(void **state)
{
    (void)state;
    msw_context_free(file_ctx);
    return !faults_clean(&memory);
}
