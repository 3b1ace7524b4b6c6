/* SPDX-License-Identifier: BSD-2-Clause */
#include "sample_model.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 1, COLUMNS = 2, F32 = MSW_DTYPE_F32, F16 = MSW_DTYPE_F16 };

const sample_layer sample_layers[] = {
    {"fc", {5, 9}, 2, MSW_WEIGHTS_OI, 0, 2, 4, 1, 0, 0.3, 0.4, F16, F16, 1, NULL, 0},
    {"conv", {6, 2, 3, 2}, 4, MSW_WEIGHTS_OIHW, MSW_REDUCTION_CHANNELS, 2, 4, 2,
     ROWS | COLUMNS, 0.25, 0.5, F32, F16, 77778, NULL, 0},
    {"conv.bias", {6}, 1, SAMPLE_PLAIN, 0, 0, 0, 0, 0, 0, 0, F32, F32, 155555, NULL, 0},
    {"ohwi", {4, 3, 3, 5}, 4, MSW_WEIGHTS_OHWI, MSW_REDUCTION_KERNEL, 3, 7, 1, COLUMNS, 0.5,
     0.5, F16, F32, 233332, NULL, 0},
    {"io", {9, 4}, 2, MSW_WEIGHTS_IO, 0, 8, 8, 1, ROWS, 0, 0, F32, F32, 311109, NULL, 0},
    {"all unified \xc3\xa9", {4, 6}, 2, MSW_WEIGHTS_OI, 0, 1, 5, 1, 0, 0, 1, F32, F32,
     388886, NULL, 0},
    {"all pruned", {3, 300}, 2, MSW_WEIGHTS_OI, 0, 2, 64, 3, COLUMNS, 1, 0, F16, F16, 466663,
     NULL, 0},
    {"batch norm", {2, 3, 4, 2}, 4, SAMPLE_PLAIN, 0, 0, 0, 0, 0, 0, 0, F16, F16, 544440, NULL,
     0},
};
const size_t sample_layer_count = sizeof sample_layers / sizeof *sample_layers;

void sample_values(float *out, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(int32_t)(seed ^ seed >> 15) * 0x1p-31f;
    }
}

/* Bands of small and of equal values: something to prune and to merge. */
static void shape_values(float *values, size_t count, size_t row)
{
    for (size_t i = 0; i < count; i++) {
        const size_t band = i / row / 16 % 3;

        if (band == 1)
            values[i] /= 16;
        else if (band == 2)
            values[i] = values[i] > 0 ? 0.75f : -0.75f;
    }
}

msw_tensor *sample_tensor(msw_context *ctx, const sample_layer *layer)
{
    msw_tensor *t;

    if (msw_tensor_new(&t, ctx, layer->shape, layer->rank))
        return NULL;
    sample_values(msw_tensor_data(t), msw_tensor_count(t), layer->seed);
    if (layer->levels)
        shape_values(msw_tensor_data(t), msw_tensor_count(t),
                     msw_tensor_count(t) / layer->shape[0]);
    return t;
}

/* Reverse the entries within each group. */
static void reverse(uint32_t *out, size_t count, size_t group)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint32_t)(i / group * group + group - 1 - i % group);
}

static msw_plan *make_plan(msw_context *ctx, const sample_layer *layer)
{
    const uint32_t output = layer->weights == MSW_WEIGHTS_IO ? 1 : 0;
    uint32_t rows[64], columns[512];
    size_t row_count = layer->shape[output], column_count = 1;
    msw_plan_options o;
    msw_plan *plan;

    for (uint32_t i = 0; i < layer->rank; i++)
        column_count *= i == output ? 1 : layer->shape[i];
    msw_plan_options_init(&o);
    o.weights = layer->weights;
    o.reduction = layer->reduction;
    o.block_rows = layer->block_rows;
    o.block_columns = layer->block_columns;
    o.groups = layer->groups;
    reverse(rows, row_count, row_count / layer->groups);
    reverse(columns, column_count, column_count);
    if (layer->permuted & ROWS)
        o.row_permutation = rows;
    if (layer->permuted & COLUMNS)
        o.column_permutation = columns;
    return msw_plan_new(&plan, ctx, layer->shape, layer->rank, &o) ? NULL : plan;
}

static msw_status merge(msw_unified **out, msw_plan *plan, const msw_tensor *t,
                        const sample_layer *layer)
{
    msw_quadtree_options o;

    msw_quadtree_options_init(&o);
    o.price = layer->prune;
    o.levels = layer->levels;
    o.magnitude_bits = o.free_bits = 8;
    return msw_unified_from_quadtree(out, plan, t, &o);
}

msw_unified *sample_unified(msw_context *ctx, const sample_layer *layer)
{
    msw_tensor *t = sample_tensor(ctx, layer);
    msw_plan *plan = make_plan(ctx, layer);
    msw_unified *u = NULL;
    msw_projection_options o;

    msw_projection_options_init(&o);
    o.prune = layer->prune;
    o.unify = layer->unify;
    if (t && plan && (layer->levels ? merge(&u, plan, t, layer)
                                    : msw_unified_from(&u, plan, t, &o)))
        u = NULL;
    msw_plan_free(plan);
    msw_tensor_free(t);
    return u;
}

/* Made by the layer's recipe and added. */
static msw_status add(msw_writer *w, msw_context *ctx, const sample_layer *layer,
                      const msw_store_options *o)
{
    msw_status status = MSW_E_NOMEM;

    if (layer->weights == SAMPLE_PLAIN) {
        msw_tensor *t = sample_tensor(ctx, layer);
        if (t)
            status = msw_writer_add_tensor(w, layer->name, t, o);
        msw_tensor_free(t);
    } else {
        msw_unified *u = sample_unified(ctx, layer);
        if (u)
            status = msw_writer_add_unified(w, layer->name, u, o);
        msw_unified_free(u);
    }
    return status;
}

msw_status sample_add(msw_writer *w, msw_context *ctx, const sample_layer *layer)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.magnitudes = layer->magnitudes;
    o.free_weights = layer->free_weights;
    return add(w, ctx, layer, layer->store ? layer->store : &o);
}

/* Steps and bits that suit values between -1 and 1. */
static void choose(uint32_t dtype, double *step, uint32_t *bits, size_t i)
{
    if (dtype == MSW_DTYPE_UNIFORM && i % 2)
        *step = 0.02;
    else if (dtype >= MSW_DTYPE_UNIFORM)
        *bits = 3 + (uint32_t)i % 4;
}

void sample_transport_options(msw_store_options *o, size_t i)
{
    msw_store_options_init(o);
    o->encoding = MSW_ENCODING_TRANSPORT;
    o->magnitudes = (uint32_t)(i + 2) % 4;
    o->free_weights = (uint32_t)(i + i / 4) % 4;
    choose(o->magnitudes, &o->magnitude_step, &o->magnitude_bits, i);
    choose(o->free_weights, &o->free_step, &o->free_bits, i);
    if (sample_layers[i].weights == SAMPLE_PLAIN) {
        o->magnitudes = o->magnitude_bits = 0;
        o->magnitude_step = 0;
    }
}

msw_status sample_add_all(msw_writer *w, msw_context *ctx)
{
    msw_status status = msw_writer_add_metadata(w, "model", "sample", 6);

    if (!status)
        status = msw_writer_add_metadata(w, "empty", NULL, 0);
    if (!status)
        status = msw_writer_add_metadata(w, "bytes", "\0\xff\n", 3);
    for (size_t i = 0; i < sample_layer_count && !status; i++)
        status = sample_add(w, ctx, &sample_layers[i]);
    return status;
}

static uint8_t *write_out(size_t *size, msw_writer *w)
{
    uint8_t *data;

    *size = (size_t)msw_writer_bytes(w);
    data = malloc(*size);
    if (data && msw_writer_write_buffer(w, data, *size)) {
        free(data);
        data = NULL;
    }
    return data;
}

uint8_t *sample_file(size_t *size, msw_context *ctx)
{
    uint8_t *data = NULL;
    msw_writer *w;

    if (msw_writer_new(&w, ctx))
        return NULL;
    if (!sample_add_all(w, ctx))
        data = write_out(size, w);
    msw_writer_free(w);
    return data;
}

uint8_t *sample_transport_file(size_t *size, msw_context *ctx)
{
    msw_status status;
    uint8_t *data = NULL;
    msw_store_options o;
    msw_writer *w;

    if (msw_writer_new(&w, ctx))
        return NULL;
    status = msw_writer_add_metadata(w, "model", "transport", 9);
    for (size_t i = 0; i < sample_layer_count && !status; i++) {
        sample_transport_options(&o, i);
        status = add(w, ctx, &sample_layers[i], &o);
    }
    if (!status)
        data = write_out(size, w);
    msw_writer_free(w);
    return data;
}

uint8_t *sample_small_file(size_t *size, msw_context *ctx, size_t layers)
{
    msw_status status = MSW_OK;
    uint8_t *data = NULL;
    msw_writer *w;

    if (msw_writer_new(&w, ctx))
        return NULL;
    for (size_t i = 0; i < layers && !status; i++)
        status = sample_add(w, ctx, &sample_layers[i]);
    if (!status)
        data = write_out(size, w);
    msw_writer_free(w);
    return data;
}

static msw_status copy_entry(msw_writer *w, msw_reader *r, size_t i)
{
    msw_store_options o;
    msw_status status;
    msw_entry e;

    msw_store_options_init(&o);
    msw_entry_init(&e);
    status = msw_reader_get_entry(&e, r, i);
    if (status)
        return status;
    o.magnitudes = e.magnitudes;
    o.free_weights = e.free_weights;
    o.encoding = e.encoding;
    o.magnitude_bits = e.magnitude_bits;
    o.free_bits = e.free_bits;
    o.magnitude_step = e.magnitude_step;
    o.free_step = e.free_step;
    if (e.kind == MSW_ENTRY_UNIFIED) {
        msw_unified *u;
        status = msw_reader_unified(&u, r, e.name);
        if (!status)
            status = msw_writer_add_unified(w, e.name, u, &o);
        msw_unified_free(u);
    } else {
        msw_tensor *t;
        status = msw_reader_tensor(&t, r, e.name);
        if (!status)
            status = msw_writer_add_tensor(w, e.name, t, &o);
        msw_tensor_free(t);
    }
    return status;
}

msw_status sample_copy(msw_writer *w, msw_reader *r)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; i < msw_reader_metadata_count(r) && !status; i++) {
        const char *key = msw_reader_metadata_key(r, i);
        const void *value;
        size_t size;
        status = msw_reader_get_metadata(&value, &size, r, key);
        if (!status)
            status = msw_writer_add_metadata(w, key, value, size);
    }
    for (size_t i = 0; i < msw_reader_count(r) && !status; i++)
        status = copy_entry(w, r, i);
    return status;
}

static msw_status load_entry(msw_reader *r, size_t i)
{
    msw_status status;
    msw_entry e;

    msw_entry_init(&e);
    status = msw_reader_get_entry(&e, r, i);
    if (status)
        return status;
    if (e.kind == MSW_ENTRY_UNIFIED) {
        msw_unified *u;
        status = msw_reader_unified(&u, r, e.name);
        msw_unified_free(u);
    } else {
        msw_tensor *t;
        status = msw_reader_tensor(&t, r, e.name);
        msw_tensor_free(t);
    }
    return status;
}

msw_status sample_load_all(msw_reader *r)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; i < msw_reader_count(r) && !status; i++)
        status = load_entry(r, i);
    for (size_t i = 0; i < msw_reader_metadata_count(r) && !status; i++) {
        const void *value;
        size_t size;
        status = msw_reader_get_metadata(&value, &size, r, msw_reader_metadata_key(r, i));
    }
    return status;
}

msw_status sample_open_and_load(msw_context *ctx, const void *data, size_t size)
{
    msw_reader *r;
    msw_status status = msw_reader_open_buffer(&r, ctx, data, size, NULL);

    if (status)
        return status;
    status = sample_load_all(r);
    msw_reader_free(r);
    return status;
}
