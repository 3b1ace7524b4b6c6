/* SPDX-License-Identifier: BSD-2-Clause */
#include "transport_encode.h"

#include "transport.h"

#include <math.h>
#include <string.h>

/* How the values of an array will be stored, found out by looking at each once. */
typedef struct survey {
    msw__quantiser quantiser;
    uint32_t least, most; /* keys */
} survey;

/* The classes, with the levels of merged blocks. */
static void encode_classes(msw__encoder *e, const msw_unified *u)
{
    const msw_plan *p = u->plan;
    const size_t columns = p->block_column_count;
    msw__class_models models;

    msw__class_models_reset(&models);
    for (size_t b = 0; b < p->block_count; b++) {
        const unsigned context = msw__class_context(u->classes, b, b % columns, columns);
        const unsigned level = u->levels ? u->levels[b] : 0;
        const uint8_t class = u->classes[b];

        if (!msw__node_begins(p, u->levels, b))
            continue;
        for (unsigned l = msw__node_levels(p, b / columns, b % columns, u->most_level);
             l > 0 && l >= level; l--)
            msw__encode_limited(e, &models.merged[l][context], l == level);
        msw__encode_limited(e, &models.pruned[level][context], class == MSW_CLASS_PRUNED);
        if (class != MSW_CLASS_PRUNED && level == 0)
            msw__encode_limited(e, &models.unified[context], class == MSW_CLASS_UNIFIED);
    }
}

static void encode_tree(msw__encoder *e, msw__bit_model *nodes, uint32_t value,
                        unsigned depth)
{
    uint32_t node = 1;

    for (unsigned i = depth; i-- > 0;) {
        const unsigned bit = value >> i & 1;

        msw__encode_bit(e, &nodes[node], bit);
        node = 2 * node + bit;
    }
}

/* The key of a value that was surveyed. */
static uint32_t key_of(const survey *s, float value)
{
    uint32_t key = 0;
    const msw_status never = msw__quantise(&key, &s->quantiser, value);

    (void)never;
    return key;
}

static uint32_t sign_of(float value)
{
    return msw__float_bits(&value) >> 31;
}

/* Keys by a tree; @p with_signs: each with its sign. */
static void encode_keys(msw__encoder *e, const float *values, size_t count,
                        const survey *s, bool with_signs)
{
    const unsigned width = msw__bit_length(s->most - s->least);
    const unsigned depth = msw__tree_depth(width), rest = width - depth;
    msw__tree_models models;

    msw__tree_models_reset(&models);
    msw__encode_raw(e, s->least, s->quantiser.key_bits);
    msw__encode_raw(e, width, MSW__WIDTH_BITS);
    for (size_t i = 0; i < count; i++) {
        const uint32_t key = key_of(s, values[i]) - s->least;

        encode_tree(e, models.node, key >> rest, depth);
        if (with_signs)
            msw__encode_raw(e, sign_of(values[i]), 1);
        msw__encode_raw(e, key, rest);
    }
}

static void encode_uniform(msw__encoder *e, const float *values, size_t count,
                           const survey *s)
{
    const unsigned longest = msw__bit_length(s->most);
    const unsigned depth = msw__length_depth(longest);
    msw__uniform_models models;
    uint32_t level = 0;

    msw__uniform_models_reset(&models);
    msw__encode_raw(e, longest, MSW__LENGTH_BITS);
    for (size_t i = 0; i < count; i++) {
        const uint32_t key = key_of(s, values[i]);
        const unsigned length = msw__bit_length(key);
        unsigned behind = length > 0 ? length - 1 : 0;

        encode_tree(e, models.length[msw__bit_length(level)], length, depth);
        for (unsigned k = 0; k < 2 && behind > 0; k++) {
            const uint32_t node = key >> behind;

            behind--;
            msw__encode_bit(e, &models.next[length][node], key >> behind & 1);
        }
        if (key)
            msw__encode_raw(e, sign_of(values[i]), 1);
        msw__encode_raw(e, key, behind);
        level = msw__level_next(level, key);
    }
}

static void encode_values(msw__encoder *e, const float *values, size_t count,
                          const survey *s)
{
    if (count == 0)
        return;
    if (s->quantiser.dtype == MSW_DTYPE_UNIFORM)
        encode_uniform(e, values, count, s);
    else
        encode_keys(e, values, count, s, true);
}

/* Surveys */

static float largest_of(const float *values, size_t count)
{
    float largest = 0;

    for (size_t i = 0; i < count; i++)
        largest = fabsf(values[i]) > largest ? fabsf(values[i]) : largest;
    return largest;
}

/* @p levels: that the caller's number of bits has, when a step is to be found. */
static msw_status survey_begin(survey *s, const float *values, size_t count,
                               uint32_t dtype, uint32_t bits, double step,
                               uint32_t levels)
{
    uint32_t parameter = dtype == MSW_DTYPE_LOG ? bits : 0;

    if (dtype == MSW_DTYPE_UNIFORM) {
        const float largest = bits ? largest_of(values, count) : 0;

        if (!isfinite(largest))
            return MSW_E_NUMERIC;
        parameter = msw__step_parameter(bits ? msw__step_for(largest, levels) : step);
    }
    s->least = UINT32_MAX;
    s->most = 0;
    return msw__quantiser_from(&s->quantiser, dtype, parameter) ? MSW_OK : MSW_E_INVAL;
}

static msw_status survey_add(survey *s, float value, double weight, msw__loss *l)
{
    uint32_t key;
    const msw_status status = msw__quantise(&key, &s->quantiser, value);

    if (status)
        return status;
    s->least = key < s->least ? key : s->least;
    s->most = key > s->most ? key : s->most;
    if (s->quantiser.dtype != MSW_DTYPE_F32)
        msw__loss_add(l, fabsf(value), msw__dequantise(&s->quantiser, key), weight);
    return MSW_OK;
}

static msw_status survey_values(survey *s, const float *values, size_t count,
                                const msw_store_options *o, msw__loss *l)
{
    const uint32_t levels = (1u << o->free_bits) / 2 - 1; /* on either side of 0 */
    msw_status status = survey_begin(s, values, count, o->free_weights, o->free_bits,
                                     o->free_step, levels);

    for (size_t i = 0; i < count && !status; i++)
        status = survey_add(s, values[i], 1, l);
    return status;
}

static msw_status survey_magnitudes(survey *s, const msw_unified *u,
                                    const msw_store_options *o, msw__loss *l)
{
    const msw_plan *p = u->plan;
    const float *magnitude = u->magnitudes;
    msw_status status =
        survey_begin(s, u->magnitudes, u->magnitude_start[p->block_row_count],
                     o->magnitudes, o->magnitude_bits, o->magnitude_step,
                     (1u << o->magnitude_bits) - 1);

    for (size_t b = 0; b < p->block_count && !status; b++) {
        if (u->classes[b] != MSW_CLASS_UNIFIED)
            continue;
        if (msw__node_begins(p, u->levels, b))
            status = survey_add(s, *magnitude,
                                (double)msw__node_weights(p, u->levels, b), l);
        magnitude++;
    }
    return status;
}

/* Those of merged blocks once. */
static msw_status encode_magnitudes(msw__encoder *e, msw_context *ctx,
                                    const msw_unified *u, size_t count, const survey *s)
{
    const size_t blocks = u->magnitude_start[u->plan->block_row_count];
    msw_status status;
    float *nodes;
    void *memory;

    if (count == 0)
        return MSW_OK;
    if (!u->leaders) {
        encode_keys(e, u->magnitudes, count, s, false);
        return MSW_OK;
    }
    status = msw__alloc(&memory, ctx, count, sizeof *nodes);
    if (status)
        return status;
    nodes = memory;
    for (size_t k = 0, at = 0; k < blocks; k++)
        if (u->leaders[k] == k)
            nodes[at++] = u->magnitudes[k];
    encode_keys(e, nodes, count, s, false);
    msw__free(ctx, nodes, count, sizeof *nodes);
    return MSW_OK;
}

/* Payloads */

/* Signs, then raw bits from front to back, then the range from back to front. Zeros behind
 * the raw bits where it would be less than @p least. */
static msw_status assemble(msw__item *item, msw_context *ctx, const uint8_t *signs,
                           size_t sign_bytes, msw__encoder *e, size_t least)
{
    const msw_status status = msw__encoder_finish(e);
    msw_status allocated;
    size_t bytes, zeros;
    uint8_t *out;

    if (status)
        return status;
    if (!msw__size_add(&bytes, sign_bytes, e->raw.size) ||
        !msw__size_add(&bytes, bytes, e->coded.size))
        return MSW_E_NOMEM;
    zeros = least > bytes ? least - bytes : 0;
    allocated = msw__bytes_alloc(&item->payload, ctx, bytes + zeros);
    if (allocated)
        return allocated;
    out = item->payload.data;
    if (sign_bytes)
        memcpy(out, signs, sign_bytes);
    out += sign_bytes;
    if (e->raw.size)
        memcpy(out, e->raw.data, e->raw.size);
    out += e->raw.size;
    memset(out, 0, zeros);
    out += zeros;
    for (size_t i = e->coded.size; i-- > 0;)
        *out++ = e->coded.data[i];
    return MSW_OK;
}

msw_status msw__transport_unified(msw__item *item, msw__record *record, msw_context *ctx,
                                  const msw_unified *u, const msw_store_options *o)
{
    const size_t end = u->plan->block_row_count;
    const size_t magnitudes = msw__node_magnitude_count(u);
    const size_t free_weights = u->free_start[end];
    survey of_magnitudes, of_free;
    msw__encoder e;
    msw__loss l = {0};
    msw_status status = survey_magnitudes(&of_magnitudes, u, o, &l);

    if (!status)
        status = survey_values(&of_free, u->free_weights, free_weights, o, &l);
    if (status)
        return status;
    msw__encoder_init(&e, ctx);
    encode_classes(&e, u);
    status = encode_magnitudes(&e, ctx, u, magnitudes, &of_magnitudes);
    encode_values(&e, u->free_weights, free_weights, &of_free);
    if (!status)
        status = assemble(item, ctx, u->signs, (u->sign_start[end] + 7) / 8, &e,
                          msw__transport_least(u->plan->block_count));
    msw__encoder_free(&e);
    record->magnitude_parameter = of_magnitudes.quantiser.parameter;
    record->free_parameter = of_free.quantiser.parameter;
    msw__loss_finish(&item->info, &l, (uint64_t)magnitudes + free_weights,
                     (uint64_t)item->payload.size + item->permutations.size +
                         item->merge_map.size);
    return status;
}

static msw_status encode_contiguous(msw__item *item, msw__record *record,
                                    msw_context *ctx, const float *values, size_t count,
                                    const msw_store_options *o)
{
    msw__loss l = {0};
    msw__encoder e;
    survey s;
    msw_status status = survey_values(&s, values, count, o, &l);

    if (status)
        return status;
    msw__encoder_init(&e, ctx);
    encode_values(&e, values, count, &s);
    status = assemble(item, ctx, NULL, 0, &e, 0);
    msw__encoder_free(&e);
    record->free_parameter = s.quantiser.parameter;
    msw__loss_finish(&item->info, &l, count, item->payload.size);
    return status;
}

msw_status msw__transport_tensor(msw__item *item, msw__record *record, msw_context *ctx,
                                 const msw_tensor *t, const msw_store_options *o)
{
    const size_t length = t->shape[t->rank - 1], stride = t->stride[t->rank - 1];
    msw_status status;
    float *copy;
    void *memory;

    if (msw__tensor_contiguous(t))
        return encode_contiguous(item, record, ctx, t->data, t->count, o);
    status = msw__alloc(&memory, ctx, t->count, sizeof *copy);
    if (status)
        return status;
    copy = memory;
    for (size_t outer = 0; outer < t->count / length; outer++) {
        const float *run = msw__tensor_run(t, outer);

        for (size_t i = 0; i < length; i++)
            copy[outer * length + i] = run[i * stride];
    }
    status = encode_contiguous(item, record, ctx, copy, t->count, o);
    msw__free(ctx, memory, t->count, sizeof *copy);
    return status;
}
