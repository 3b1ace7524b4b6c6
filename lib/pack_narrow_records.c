/* SPDX-License-Identifier: BSD-2-Clause */
/* The records of the narrow packing (gemm.h). */
#include "pack_narrow.h"

#include <string.h>

enum { SECOND_GROUP = 1 << 4 }; /* bit of an index */

typedef msw__narrow_packer packer;
typedef msw__narrow_group group;
typedef msw__narrow_unit unit;
typedef msw__narrow_block block;

/* Blocks */

/* The blocks of the stage in each band of the strip. */
static void find_blocks(const packer *k, uint32_t strip)
{
    const size_t columns = k->plan->block_column_count;

    for (uint32_t b = 0; b < k->w->bands; b++) {
        const size_t row = msw__narrow_block_row(k, strip, b);
        msw__block_cursor c;

        if (row >= k->plan->block_row_count)
            return;
        c = k->cursors[row];
        for (size_t j = 0; j < k->stage_blocks; j++) {
            block *to = &k->blocks[b * k->block_capacity + j];

            msw__cursor_advance(&c, k->u, row, (uint32_t)(k->first_block + j));
            to->kind = k->kinds[row * columns + k->first_block + j];
            if (k->u->classes[row * columns + k->first_block + j] == MSW_CLASS_FREE) {
                to->magnitude = 0;
                to->start = c.weight;
            } else if (to->kind != MSW__NOTHING) {
                to->magnitude = k->u->magnitudes[c.magnitude];
                to->start = c.sign;
            }
        }
    }
}

static const block *block_of(const packer *k, uint32_t band, size_t column)
{
    return &k->blocks[band * k->block_capacity + column / k->plan->block_columns -
                      k->first_block];
}

/* A lane's band and row in the block; false: it has none. */
static bool lane_row(const packer *k, uint32_t strip, uint32_t lane, uint32_t *band,
                     size_t *row)
{
    const uint32_t bands = k->w->bands, height = k->plan->block_rows;

    *band = lane % bands;
    *row = lane / bands;
    if (bands > 1)
        return *row < height && *band * height + *row < msw__narrow_strip_rows(k, strip);
    if (lane >= msw__narrow_strip_rows(k, strip))
        return false;
    *row += (size_t)(strip % k->parts) * k->w->strip_rows;
    return true;
}

static size_t element(const packer *k, size_t row, size_t column)
{
    const size_t j = column / k->plan->block_columns;

    return row * msw__plan_columns(k->plan, j) + column % k->plan->block_columns;
}

static uint32_t index_of(const packer *k, uint32_t strip, uint32_t lane, const group *g)
{
    uint32_t band, bits = 0;
    size_t row;

    if (!g->count || !lane_row(k, strip, lane, &band, &row))
        return 0;
    if (block_of(k, band, g->column)->kind != MSW__LOOKUPS)
        return 0;
    for (uint32_t i = 0; i < g->count; i++) {
        const size_t sign = block_of(k, band, g->column)->start +
                            element(k, row, g->column + i);
        bits |= (uint32_t)msw__sign_get(k->u->signs, sign) << i;
    }
    return bits;
}

static uint32_t weight_bits(const packer *k, uint32_t strip, uint32_t lane, const group *g,
                            uint32_t i)
{
    const block *b;
    uint32_t band;
    size_t row, at;

    if (i >= g->count || !lane_row(k, strip, lane, &band, &row))
        return 0;
    b = block_of(k, band, g->column + i);
    if (b->kind == MSW__NOTHING)
        return 0;
    at = b->start + element(k, row, g->column + i);
    if (b->magnitude == 0)
        return msw__bits_of(k->u->free_weights[at]);
    return msw__bits_of(msw__sign_get(k->u->signs, at) ? -b->magnitude : b->magnitude);
}

static uint32_t magnitude_bits(const packer *k, uint32_t strip, uint32_t band, const group *g)
{
    const block *b;

    if (!g->count || msw__narrow_block_row(k, strip, band) >= k->plan->block_row_count)
        return 0;
    b = block_of(k, band, g->column);
    return b->kind == MSW__LOOKUPS ? msw__bits_of(b->magnitude) : 0;
}

/* Records, each without its strip */

static size_t magnitude_words(const packer *k)
{
    return (size_t)k->w->bands * (k->w->paired ? 1 : MSW__UNIT_GROUPS);
}

static void put_magnitudes(const packer *k, uint32_t *code, uint32_t strip, const unit *u)
{
    for (int g = 0; g < (k->w->paired ? 1 : MSW__UNIT_GROUPS); g++)
        for (uint32_t b = 0; b < k->w->bands; b++)
            *code++ = magnitude_bits(k, strip, b, &u->groups[g]);
}

/* Units without look-ups have the magnitude 0. */
static void put_quad(const packer *k, uint32_t *code, uint32_t *magnitudes, uint32_t strip,
                     const uint8_t *kinds)
{
    const size_t words = magnitude_words(k);

    for (uint32_t g = 0; g < MSW__UNIT_GROUPS; g++)
        for (uint32_t l = 0; l < MSW__NARROW_LANES; l++) {
            uint8_t index[MSW__UNITS];

            for (uint32_t j = 0; j < MSW__UNITS; j++)
                index[j] = (uint8_t)((kinds[j] == MSW__LOOKUPS
                                          ? index_of(k, strip, l, &k->units[j].groups[g])
                                          : 0) | g * SECOND_GROUP);
            memcpy(code++, index, sizeof index);
        }
    memset(magnitudes, 0, MSW__UNITS * words * sizeof *magnitudes);
    for (uint32_t j = 0; j < MSW__UNITS; j++)
        if (kinds[j] == MSW__LOOKUPS)
            put_magnitudes(k, magnitudes + j * words, strip, &k->units[j]);
}

static void put_lookup(const packer *k, uint32_t *code, uint32_t strip, const unit *u)
{
    uint8_t index[MSW__NARROW_LANES];

    for (uint32_t l = 0; l < MSW__NARROW_LANES; l++)
        index[l] = (uint8_t)(index_of(k, strip, l, &u->groups[0]) |
                             index_of(k, strip, l, &u->groups[1]) << 4);
    memcpy(code, index, sizeof index);
}

static void put_free(const packer *k, uint32_t *code, uint32_t strip, const unit *u)
{
    for (uint32_t c = 0; c < MSW__UNIT; c++)
        for (uint32_t l = 0; l < MSW__NARROW_LANES; l++)
            *code++ = weight_bits(k, strip, l, &u->groups[c / MSW__GROUP], c % MSW__GROUP);
}

/* A stage */

static void align(packer *k)
{
    msw__packing *w = k->w;
    const size_t to = msw__narrow_align(w->code_count);

    if (k->write)
        memset(w->code + w->code_count, 0, (to - w->code_count) * sizeof *w->code);
    w->code_count = to;
}

typedef bool takes_part(const msw__narrow_task *t, uint32_t u);

static bool has_quad(const msw__narrow_task *t, uint32_t u)
{
    (void)u;
    return t->quad;
}

static bool has_lookup(const msw__narrow_task *t, uint32_t u)
{
    return !t->quad && t->kinds[u] == MSW__LOOKUPS;
}

static bool has_product(const msw__narrow_task *t, uint32_t u)
{
    return t->kinds[u] == MSW__PRODUCTS;
}

/* The strips that take part; how many they are. */
static uint32_t put_strips(packer *k, const msw__chunk *chunk, takes_part *takes, uint32_t u,
                           uint32_t *header)
{
    msw__packing *w = k->w;
    uint32_t count = 0;

    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        if (!takes(&k->tasks[i], u))
            continue;
        if (k->write)
            w->code[w->code_count] = i;
        w->code_count++;
        count++;
    }
    if (k->write)
        *header = count;
    w->records += count;
    return count;
}

static void write_quads(const packer *k, const msw__chunk *chunk, uint32_t count)
{
    uint32_t *code = k->w->code + k->w->code_count;
    uint32_t *magnitudes = code + (size_t)count * MSW__QUAD_INDEX;

    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        if (!has_quad(&k->tasks[i], 0))
            continue;
        find_blocks(k, chunk->first_strip + i);
        put_quad(k, code, magnitudes, chunk->first_strip + i, k->tasks[i].kinds);
        code += MSW__QUAD_INDEX;
        magnitudes += MSW__UNITS * magnitude_words(k);
    }
}

static void put_quads(packer *k, const msw__chunk *chunk, uint32_t *header)
{
    const uint32_t count = put_strips(k, chunk, has_quad, 0, header + MSW__QUADS);

    if (!count)
        return;
    align(k);
    if (k->write)
        write_quads(k, chunk, count);
    k->w->code_count += count * (MSW__QUAD_INDEX + MSW__UNITS * magnitude_words(k));
    k->w->lookups += (uint64_t)count * MSW__UNITS;
}

static void write_lookups(const packer *k, const msw__chunk *chunk, uint32_t u,
                          uint32_t count)
{
    uint32_t *magnitudes = k->w->code + k->w->code_count;
    uint32_t *code = magnitudes + count * magnitude_words(k);

    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        if (!has_lookup(&k->tasks[i], u))
            continue;
        find_blocks(k, chunk->first_strip + i);
        put_magnitudes(k, magnitudes, chunk->first_strip + i, &k->units[u]);
        put_lookup(k, code, chunk->first_strip + i, &k->units[u]);
        magnitudes += magnitude_words(k);
        code += MSW__LOOKUP_INDEX;
    }
}

static void put_lookups(packer *k, const msw__chunk *chunk, uint32_t u, uint32_t *header)
{
    const uint32_t count = put_strips(k, chunk, has_lookup, u, header + MSW__LOOKUPS_OF + u);

    if (k->write)
        write_lookups(k, chunk, u, count);
    k->w->code_count += count * (magnitude_words(k) + MSW__LOOKUP_INDEX);
    k->w->lookups += count;
}

static void write_products(const packer *k, const msw__chunk *chunk, uint32_t u)
{
    uint32_t *code = k->w->code + k->w->code_count;

    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        if (!has_product(&k->tasks[i], u))
            continue;
        find_blocks(k, chunk->first_strip + i);
        put_free(k, code, chunk->first_strip + i, &k->units[u]);
        code += MSW__FREE_WEIGHTS;
    }
}

static void put_products(packer *k, const msw__chunk *chunk, uint32_t u, uint32_t *header)
{
    const uint32_t count = put_strips(k, chunk, has_product, u, header + MSW__FREE_OF + u);

    if (!count)
        return;
    align(k);
    if (k->write)
        write_products(k, chunk, u);
    k->w->code_count += (size_t)count * MSW__FREE_WEIGHTS;
    k->w->products += count;
}

void msw__narrow_put_stage(packer *k, const msw__chunk *chunk)
{
    uint32_t unwritten[MSW__NARROW_HEADER];
    uint32_t *header = k->write ? k->w->code + k->w->code_count : unwritten;

    memset(header, 0, sizeof unwritten);
    k->w->code_count += MSW__NARROW_HEADER;
    put_quads(k, chunk, header);
    for (uint32_t u = 0; u < k->unit_used; u++) {
        put_lookups(k, chunk, u, header);
        put_products(k, chunk, u, header);
    }
}
