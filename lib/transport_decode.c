/* SPDX-License-Identifier: BSD-2-Clause */
#include "transport.h"

#include <string.h>

bool msw__transport_classes(uint8_t *out, msw__decoder *d, size_t blocks, size_t columns,
                            uint32_t set)
{
    msw__class_models models;
    uint32_t seen = 0;

    msw__class_models_reset(&models);
    for (size_t block = 0, column = 0; block < blocks; block++) {
        const unsigned context = msw__class_context(out, block, column, columns);
        unsigned class = MSW_CLASS_PRUNED;

        if (!msw__decode_limited(d, &models.pruned[0][context]))
            class = msw__decode_limited(d, &models.unified[context]) ? MSW_CLASS_UNIFIED
                                                                     : MSW_CLASS_FREE;
        out[block] = (uint8_t)class;
        seen |= 1u << class;
        if (++column == columns)
            column = 0;
    }
    return seen == set;
}

enum { UNKNOWN = 0xff };

/* The node that begins with block @p b. */
static void decode_node(uint8_t *classes, uint8_t *levels, msw__decoder *d,
                        msw__class_models *models, const msw_plan *p, unsigned most,
                        size_t b)
{
    const size_t columns = p->block_column_count;
    const unsigned context = msw__class_context(classes, b, b % columns, columns);
    unsigned level = msw__node_levels(p, b / columns, b % columns, most), class;

    while (level > 0 && !msw__decode_limited(d, &models->merged[level][context]))
        level--;
    if (msw__decode_limited(d, &models->pruned[level][context]))
        class = MSW_CLASS_PRUNED;
    else if (level > 0 || msw__decode_limited(d, &models->unified[context]))
        class = MSW_CLASS_UNIFIED;
    else
        class = MSW_CLASS_FREE;
    msw__node_fill(levels, p, b, level, (uint8_t)level);
    msw__node_fill(classes, p, b, level, (uint8_t)class);
}

bool msw__transport_nodes(uint8_t *classes, uint8_t *levels, msw__decoder *d,
                          const msw_plan *p, unsigned most, uint32_t set)
{
    msw__class_models models;
    unsigned highest = 0;
    uint32_t seen = 0;

    msw__class_models_reset(&models);
    memset(levels, UNKNOWN, p->block_count);
    for (size_t b = 0; b < p->block_count; b++) {
        if (levels[b] == UNKNOWN)
            decode_node(classes, levels, d, &models, p, most, b);
        seen |= 1u << classes[b];
        highest = levels[b] > highest ? levels[b] : highest;
    }
    return seen == set && highest == most;
}

/* The leading bits of a key. */
static inline uint32_t decode_tree(msw__decoder *d, msw__bit_model *nodes, unsigned depth)
{
    uint32_t node = 1;

    for (unsigned i = 0; i < depth; i++)
        node = 2 * node + msw__decode_bit(d, &nodes[node]);
    return node - (1u << depth);
}

/* Keys from a least one on, as wide as the largest difference. */
typedef struct key_range {
    uint32_t base, least, most; /* least and most difference that were seen */
    unsigned width, depth;
    bool fits;
} key_range;

static key_range key_range_decode(msw__decoder *d, const msw__quantiser *q)
{
    key_range r = {0};

    r.base = msw__decode_raw(d, q->key_bits);
    r.width = msw__decode_raw(d, MSW__WIDTH_BITS);
    r.least = UINT32_MAX;
    r.fits = r.width <= q->key_bits;
    r.depth = msw__tree_depth(r.width);
    return r;
}

static inline void key_range_add(key_range *r, uint32_t difference)
{
    r->least = difference < r->least ? difference : r->least;
    r->most = difference > r->most ? difference : r->most;
}

/* The encoder takes the range that just holds the keys. */
static bool key_range_right(const key_range *r, const msw__quantiser *q)
{
    return r->least == 0 && msw__bit_length(r->most) == r->width &&
           r->base + r->most < UINT32_C(1) << q->key_bits;
}

bool msw__transport_magnitudes(float *out, msw__decoder *d, size_t count,
                               const msw__quantiser *q)
{
    msw__tree_models models;
    key_range r;

    if (count == 0)
        return true;
    r = key_range_decode(d, q);
    if (!r.fits)
        return false;
    msw__tree_models_reset(&models);
    for (size_t i = 0; i < count; i++) {
        const unsigned rest = r.width - r.depth;
        uint32_t key = decode_tree(d, models.node, r.depth) << rest;

        key |= msw__decode_raw(d, rest);
        key_range_add(&r, key);
        out[i] = msw__dequantise(q, r.base + key);
    }
    return key_range_right(&r, q);
}

static inline void set_sign(float *value, uint32_t negative)
{
    msw__float_set(value, msw__float_bits(value) | negative << 31);
}

static bool decode_signed(float *out, msw__decoder *d, size_t count,
                          const msw__quantiser *q)
{
    msw__tree_models models;
    key_range r = key_range_decode(d, q);

    if (!r.fits)
        return false;
    msw__tree_models_reset(&models);
    for (size_t i = 0; i < count; i++) {
        const unsigned rest = r.width - r.depth;
        uint32_t key = decode_tree(d, models.node, r.depth) << rest;
        const uint32_t raw = msw__decode_raw(d, rest + 1); /* the sign is the lowest */

        key |= raw >> 1;
        key_range_add(&r, key);
        out[i] = msw__dequantise(q, r.base + key);
        set_sign(&out[i], raw & 1);
    }
    return key_range_right(&r, q);
}

static bool decode_uniform(float *out, msw__decoder *d, size_t count, double step)
{
    const unsigned longest = msw__decode_raw(d, MSW__LENGTH_BITS);
    const unsigned depth = msw__length_depth(longest);
    msw__uniform_models models;
    uint32_t level = 0, seen = 0;

    msw__uniform_models_reset(&models);
    for (size_t i = 0; i < count; i++) {
        const unsigned length =
            decode_tree(d, models.length[msw__bit_length(level)], depth);
        const unsigned behind = length > 0 ? length - 1 : 0;
        const unsigned modelled = behind < 2 ? behind : 2;
        uint32_t key = length > 0, raw;

        for (unsigned k = 0; k < modelled; k++)
            key = 2 * key + msw__decode_bit(d, &models.next[length][key]);
        raw = msw__decode_raw(d, behind - modelled + (length > 0));
        key = key << (behind - modelled) | raw >> 1;
        out[i] = (float)((double)key * step);
        set_sign(&out[i], raw & 1);
        level = msw__level_next(level, key);
        seen = length > seen ? length : seen;
    }
    return seen == longest;
}

bool msw__transport_values(float *out, msw__decoder *d, size_t count,
                           const msw__quantiser *q)
{
    if (count == 0)
        return true;
    return q->dtype == MSW_DTYPE_UNIFORM ? decode_uniform(out, d, count, q->step)
                                         : decode_signed(out, d, count, q);
}
