/* SPDX-License-Identifier: BSD-2-Clause */
/* Values as the bytes of a payload. */
#include "writer.h"

#include "bytes.h"
#include "f16.h"
#include "merge.h"

#include <math.h>
#include <string.h>

void msw__loss_add(msw__loss *l, float value, float stored, double weight)
{
    const double change = fabs((double)stored - (double)value);

    l->norm += weight * (double)value * (double)value;
    if (change > 0) {
        l->info.changed++;
        l->info.underflows += stored == 0;
        l->error += weight * change * change;
        if (change > l->info.max_error)
            l->info.max_error = change;
    }
}

void msw__loss_finish(msw_store_info *out, const msw__loss *l, uint64_t values,
                      uint64_t bytes)
{
    *out = l->info;
    out->size = sizeof *out;
    out->values = values;
    out->relative_error = l->norm > 0 ? sqrt(l->error / l->norm) : 0;
    out->bytes = bytes;
}

/* One float as f16; it stands for `weight` weights. */
static msw_status put_f16(uint8_t *out, float value, double weight, msw__loss *l)
{
    const uint16_t half = msw__f16_from(value);

    if (!isfinite(value))
        return MSW_E_NUMERIC;
    if (fabsf(value) > MSW__F16_MAX)
        return MSW_E_RANGE;
    msw__store16(out, half);
    msw__loss_add(l, value, msw__f16_to(half), weight);
    return MSW_OK;
}

static void put_f32s(uint8_t *out, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        msw__store32(out + 4 * i, msw__float_bits(&values[i]));
}

static msw_status put_f16s(uint8_t *out, const float *values, size_t count, size_t stride,
                           msw__loss *l)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; i < count && !status; i++)
        status = put_f16(out + 2 * i, values[i * stride], 1, l);
    return status;
}

/* Unified weights */

static msw_status put_magnitudes_f16(uint8_t *out, const msw_unified *u, msw__loss *l)
{
    const msw_plan *p = u->plan;
    const float *magnitude = u->magnitudes;
    msw_status status = MSW_OK;

    for (size_t b = 0; b < p->block_count && !status; b++) {
        if (u->classes[b] != MSW_CLASS_UNIFIED)
            continue;
        if (msw__node_begins(p, u->levels, b)) {
            status = put_f16(out, *magnitude,
                             (double)msw__node_weights(p, u->levels, b), l);
            out += 2;
        }
        magnitude++;
    }
    return status;
}

static void put_magnitudes_f32(uint8_t *out, const msw_unified *u)
{
    const size_t blocks = u->magnitude_start[u->plan->block_row_count];

    for (size_t k = 0; k < blocks; k++)
        if (!u->leaders || u->leaders[k] == k) {
            put_f32s(out, &u->magnitudes[k], 1);
            out += 4;
        }
}

/* The class map: of merged blocks, a class for each node. */
static msw_status put_classes(uint8_t *out, msw_context *ctx, const msw_unified *u,
                              const msw__class_code *code)
{
    const size_t blocks = u->plan->block_count;
    uint8_t *classes;
    msw_status status;
    void *memory;

    if (!u->levels) {
        msw__class_map_encode(out, u->classes, blocks, code);
        return MSW_OK;
    }
    status = msw__alloc(&memory, ctx, blocks, 1);
    if (status)
        return status;
    classes = memory;
    msw__class_map_encode(out, classes,
                          msw__node_classes(classes, u->plan, u->classes, u->levels), code);
    msw__free(ctx, classes, blocks, 1);
    return MSW_OK;
}

msw_status msw__encode_unified(msw__item *item, msw_context *ctx, const msw_unified *u,
                               const msw_store_options *o, const msw__class_code *code)
{
    const size_t row_count = u->plan->block_row_count;
    const size_t blocks = msw__node_count(u->plan, u->levels);
    const size_t magnitudes = msw__node_magnitude_count(u);
    const size_t free_weights = u->free_start[row_count];
    const size_t map_bytes = msw__class_map_bytes(code, blocks);
    const size_t magnitude_bytes = magnitudes * msw__dtype_bytes(o->magnitudes);
    const size_t free_bytes = free_weights * msw__dtype_bytes(o->free_weights);
    const size_t sign_bytes = (u->sign_start[row_count] + 7) / 8;
    msw__loss l = {0};
    msw_status status;
    size_t bytes;
    uint8_t *out;

    if (!msw__size_add(&bytes, map_bytes, magnitude_bytes) ||
        !msw__size_add(&bytes, bytes, free_bytes) ||
        !msw__size_add(&bytes, bytes, sign_bytes))
        return MSW_E_NOMEM;
    status = msw__bytes_alloc(&item->payload, ctx, bytes);
    if (status)
        return status;
    out = item->payload.data;
    status = put_classes(out, ctx, u, code);
    if (status)
        return status;
    out += map_bytes;
    if (o->magnitudes == MSW_DTYPE_F16)
        status = put_magnitudes_f16(out, u, &l);
    else
        put_magnitudes_f32(out, u);
    out += magnitude_bytes;
    if (o->free_weights != MSW_DTYPE_F16)
        put_f32s(out, u->free_weights, free_weights);
    else if (!status)
        status = put_f16s(out, u->free_weights, free_weights, 1, &l);
    out += free_bytes;
    if (sign_bytes)
        memcpy(out, u->signs, sign_bytes);
    msw__loss_finish(&item->info, &l, magnitudes + free_weights,
                     item->payload.size + item->permutations.size +
                         item->merge_map.size);
    return status;
}

msw_status msw__encode_merge_map(msw__item *item, msw_context *ctx, const msw_unified *u,
                                 bool transport)
{
    msw_status status;

    if (!u->levels)
        return MSW_OK;
    status = msw__bytes_alloc(
        &item->merge_map, ctx,
        transport ? 1 : 1 + msw__merge_map_bytes(u->plan, u->most_level));
    if (status)
        return status;
    item->merge_map.data[0] = (uint8_t)u->most_level;
    if (!transport)
        msw__merge_map_encode(item->merge_map.data + 1, u->plan, u->levels,
                              u->most_level);
    return MSW_OK;
}

static uint8_t *put_permutation(uint8_t *out, const uint32_t *permutation, size_t count)
{
    const size_t width = msw__index_bytes(count);

    for (size_t i = 0; permutation && i < count; i++)
        for (size_t byte = 0; byte < width; byte++)
            *out++ = (uint8_t)(permutation[i] >> 8 * byte);
    return out;
}

msw_status msw__encode_permutations(msw__item *item, msw_context *ctx, const msw_plan *p)
{
    const size_t rows = p->row_permutation ? p->rows * msw__index_bytes(p->rows) : 0;
    const size_t columns =
        p->column_permutation ? p->columns * msw__index_bytes(p->columns) : 0;
    const msw_status status = msw__bytes_alloc(&item->permutations, ctx, rows + columns);

    if (!status)
        put_permutation(
            put_permutation(item->permutations.data, p->row_permutation, p->rows),
            p->column_permutation, p->columns);
    return status;
}

/* Plain tensors */

msw_status msw__encode_tensor(msw__item *item, msw_context *ctx, const msw_tensor *t,
                              uint32_t dtype)
{
    const size_t length = t->shape[t->rank - 1], stride = t->stride[t->rank - 1];
    const size_t width = msw__dtype_bytes(dtype);
    msw_status status = msw__bytes_alloc(&item->payload, ctx, t->count * width);
    msw__loss l = {0};

    for (size_t outer = 0; outer < t->count / length && !status; outer++) {
        const float *run = msw__tensor_run(t, outer);
        uint8_t *out = item->payload.data + outer * length * width;

        if (dtype == MSW_DTYPE_F16)
            status = put_f16s(out, run, length, stride, &l);
        else
            for (size_t i = 0; i < length; i++)
                msw__store32(out + 4 * i, msw__float_bits(&run[i * stride]));
    }
    msw__loss_finish(&item->info, &l, t->count, item->payload.size);
    return status;
}
