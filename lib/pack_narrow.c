/* SPDX-License-Identifier: BSD-2-Clause */
/* msw_unified -> the narrow packing (gemm.h). */
#include "packing.h"

#include <string.h>

enum { CHUNK_ROWS = 1024 };
enum { LEAST_TABLE_COLUMNS = 3 }; /* of a block: below, products are faster */
enum { HALF_ROWS = 8, UNIT_GROUPS = 2 };
#define NEVER UINT32_MAX

/* 4 columns of W, fewer at an edge, for which one index stands. */
typedef struct group {
    size_t column;  /* of the view */
    uint32_t count; /* 0 beyond the last */
} group;

typedef struct unit {
    group groups[UNIT_GROUPS];
    uint32_t table; /* number among those of the stage with tables; NEVER: none */
} unit;

/* A block of the strip being written. */
typedef struct block {
    uint8_t kind;
    float magnitude;
    size_t start; /* of its signs, or free weights */
} block;

typedef struct packer {
    msw_context *ctx;
    const msw_unified *u;
    const msw_plan *plan;
    msw__packing *w;
    const msw__gemm_traits *traits;
    uint32_t parts;              /* strips per block row, where it has more than one */
    uint32_t block_groups;       /* groups per block column; 0: groups cross blocks */
    uint32_t strip_count, unit_count;
    uint8_t *kinds;              /* per block */
    msw__block_cursor *cursors;  /* per block row: at the first block of the stage */
    unit *units;                 /* of the stage */
    uint32_t unit_used, most_units;
    size_t first_block, stage_blocks; /* block columns of the stage */
    block *blocks;               /* of the stage and strip: band by band */
    size_t block_capacity;       /* in each band */
    uint32_t *first_stage, *last_stage; /* per strip; filled by the counting pass */
    bool write;                  /* false: count only */
} packer;

/* Geometry */

static uint32_t bands_for(uint32_t block_rows)
{
    uint32_t bands = MSW__LANES;

    while (bands * block_rows > MSW__LANES && bands > 1)
        bands /= 2;
    return bands;
}

static void map_lanes(packer *k)
{
    msw__packing *w = k->w;
    const uint32_t rows = k->plan->block_rows;

    for (uint32_t i = 0; i < w->strip_rows; i++)
        w->lane[i] = w->bands == 1 ? i : i / rows + w->bands * (i % rows);
}

static void cut(packer *k)
{
    const msw_plan *p = k->plan;
    msw__packing *w = k->w;
    const size_t last_row = msw__plan_rows(p, p->block_row_count - 1);
    size_t groups;

    w->bands = bands_for(p->block_rows);
    k->parts = msw__ceil_div(p->block_rows, MSW__LANES);
    w->strip_rows = w->bands == 1 ? msw__ceil_div(p->block_rows, k->parts)
                                  : w->bands * p->block_rows;
    k->strip_count = w->bands > 1 ? msw__ceil_div(p->block_row_count, w->bands)
                                  : (uint32_t)(p->block_row_count - 1) * k->parts +
                                        msw__ceil_div(last_row, w->strip_rows);
    k->block_groups = p->block_columns < LEAST_TABLE_COLUMNS
                          ? 0 : msw__ceil_div(p->block_columns, MSW__GROUP);
    groups = k->block_groups ? p->block_column_count * k->block_groups
                             : msw__ceil_div(p->columns, MSW__GROUP);
    k->unit_count = msw__ceil_div(groups, UNIT_GROUPS);
    w->paired = k->block_groups && k->block_groups % UNIT_GROUPS == 0;
    w->in_order = !p->column_permutation;
    w->columns = MSW__UNIT;
    w->groups = UNIT_GROUPS;
    w->width = k->traits->width;
    map_lanes(k);
}

static bool has_halves(const packer *k)
{
    return k->w->bands == 2 && k->w->paired;
}

static size_t strip_row(const packer *k, uint32_t strip)
{
    return k->w->bands > 1 ? (size_t)strip * k->w->strip_rows
                           : msw__plan_row(k->plan, strip / k->parts) +
                                 (size_t)(strip % k->parts) * k->w->strip_rows;
}

static size_t block_row(const packer *k, uint32_t strip, uint32_t band)
{
    return k->w->bands > 1 ? (size_t)strip * k->w->bands + band : strip / k->parts;
}

static uint32_t strip_rows(const packer *k, uint32_t strip)
{
    const size_t row = strip_row(k, strip);
    const size_t end = k->w->bands > 1 ? k->plan->rows
                                       : msw__plan_row(k->plan, strip / k->parts) +
                                             msw__plan_rows(k->plan, strip / k->parts);
    const size_t left = end - row;

    return (uint32_t)(left < k->w->strip_rows ? left : k->w->strip_rows);
}

static group group_at(const packer *k, size_t number)
{
    const msw_plan *p = k->plan;
    group g = {0};
    size_t end = p->columns;

    if (k->block_groups) {
        const size_t column = number / k->block_groups;

        if (column >= p->block_column_count)
            return g;
        g.column = column * p->block_columns + number % k->block_groups * MSW__GROUP;
        end = column * p->block_columns + msw__plan_columns(p, column);
    } else {
        g.column = number * MSW__GROUP;
    }
    if (g.column < end)
        g.count = end - g.column < MSW__GROUP ? (uint32_t)(end - g.column) : MSW__GROUP;
    return g;
}

static unit unit_at(const packer *k, uint32_t number)
{
    return (unit){.groups = {group_at(k, (size_t)number * UNIT_GROUPS),
                             group_at(k, (size_t)number * UNIT_GROUPS + 1)},
                  .table = NEVER};
}

/* The most that the blocks of a group in one band are. */
static uint8_t group_kind(const packer *k, size_t row, const unit *u, int index)
{
    const group *g = &u->groups[index];
    const msw_plan *p = k->plan;
    uint8_t most = MSW__NOTHING;

    if (row >= p->block_row_count || !g->count)
        return MSW__NOTHING;
    for (size_t j = g->column / p->block_columns;
         j <= (g->column + g->count - 1) / p->block_columns; j++) {
        const uint8_t kind = k->kinds[row * p->block_column_count + j];
        most = kind > most ? kind : most;
    }
    return most == MSW__LOOKUPS && (u->table == NEVER || !k->block_groups) ? MSW__PRODUCTS
                                                                           : most;
}

/* What a strip has to do for a unit: sets of bits 1 << record. */

static uint32_t half_records(const uint8_t kinds[2])
{
    static const uint32_t upper[] = {[MSW__NOTHING] = 0, [MSW__PRODUCTS] = 1 << MSW__FREE_UPPER,
                                     [MSW__LOOKUPS] = 1 << MSW__LOOKUP_UPPER};
    static const uint32_t lower[] = {[MSW__NOTHING] = 0, [MSW__PRODUCTS] = 1 << MSW__FREE_LOWER,
                                     [MSW__LOOKUPS] = 1 << MSW__LOOKUP_LOWER};

    if (kinds[0] == MSW__LOOKUPS && kinds[1] == MSW__LOOKUPS)
        return 1 << MSW__LOOKUP;
    return upper[kinds[0]] | lower[kinds[1]];
}

static uint32_t records(const packer *k, uint32_t strip, const unit *u, bool *skips)
{
    uint8_t kinds[2] = {MSW__NOTHING, MSW__NOTHING};
    bool free = false, used = false, nothing = false;

    for (uint32_t b = 0; b < k->w->bands; b++) {
        const size_t row = block_row(k, strip, b);

        for (int g = 0; g < UNIT_GROUPS && row < k->plan->block_row_count; g++) {
            const uint8_t kind = group_kind(k, row, u, g);

            kinds[b & 1] = g ? kinds[b & 1] : kind;
            free = free || kind == MSW__PRODUCTS;
            used = used || kind != MSW__NOTHING;
            nothing = nothing || (kind == MSW__NOTHING && u->groups[g].count);
        }
    }
    if (has_halves(k))
        return half_records(kinds);
    if (used && (nothing || !k->block_groups))
        *skips = true;
    return !used ? 0 : free ? 1 << MSW__FREE : 1 << MSW__LOOKUP;
}

/* Blocks */

/* The blocks of the stage in each band of the strip. */
static void find_blocks(const packer *k, uint32_t strip)
{
    const size_t columns = k->plan->block_column_count;

    for (uint32_t b = 0; b < k->w->bands; b++) {
        const size_t row = block_row(k, strip, b);
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
        return *row < height && *band * height + *row < strip_rows(k, strip);
    if (lane >= strip_rows(k, strip))
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

    if (!g->count || block_row(k, strip, band) >= k->plan->block_row_count)
        return 0;
    b = block_of(k, band, g->column);
    return b->kind == MSW__LOOKUPS ? msw__bits_of(b->magnitude) : 0;
}

/* Records */

static size_t record_words(const packer *k, msw__narrow_record record)
{
    const size_t magnitudes = (size_t)k->w->bands * (k->w->paired ? 1 : UNIT_GROUPS);

    switch (record) {
    case MSW__LOOKUP:
        return 1 + magnitudes + MSW__LANES / sizeof(uint32_t);
    case MSW__LOOKUP_UPPER:
    case MSW__LOOKUP_LOWER:
        return 2 + MSW__LANES / sizeof(uint32_t);
    case MSW__FREE:
        return 1 + (size_t)MSW__UNIT * MSW__LANES;
    default:
        return 1 + (size_t)MSW__UNIT * HALF_ROWS;
    }
}

static void put_lookup(const packer *k, uint32_t *code, uint32_t strip, const unit *u)
{
    uint8_t index[MSW__LANES];

    *code++ = u->table * UNIT_GROUPS * MSW__ENTRIES * (uint32_t)sizeof(float);
    for (int g = 0; g < (k->w->paired ? 1 : UNIT_GROUPS); g++)
        for (uint32_t b = 0; b < k->w->bands; b++)
            *code++ = magnitude_bits(k, strip, b, &u->groups[g]);
    for (uint32_t l = 0; l < MSW__LANES; l++)
        index[l] = (uint8_t)(index_of(k, strip, l, &u->groups[0]) |
                             index_of(k, strip, l, &u->groups[1]) << 4);
    memcpy(code, index, sizeof index);
}

static void put_half_lookup(const packer *k, uint32_t *code, uint32_t strip, const unit *u,
                            uint32_t band)
{
    uint8_t index[MSW__LANES];

    *code++ = u->table * UNIT_GROUPS * MSW__ENTRIES * (uint32_t)sizeof(float);
    *code++ = magnitude_bits(k, strip, band, &u->groups[0]);
    for (uint32_t g = 0; g < UNIT_GROUPS; g++)
        for (uint32_t r = 0; r < HALF_ROWS; r++)
            index[g * HALF_ROWS + r] =
                (uint8_t)(index_of(k, strip, band + 2 * r, &u->groups[g]) | g << 4);
    memcpy(code, index, sizeof index);
}

static void put_free(const packer *k, uint32_t *code, uint32_t strip, const unit *u,
                     uint32_t place)
{
    *code++ = place;
    for (uint32_t c = 0; c < MSW__UNIT; c++)
        for (uint32_t l = 0; l < MSW__LANES; l++)
            *code++ = weight_bits(k, strip, l, &u->groups[c / MSW__GROUP], c % MSW__GROUP);
}

static void put_half_free(const packer *k, uint32_t *code, uint32_t strip, const unit *u,
                          uint32_t place, uint32_t band)
{
    *code++ = place;
    for (uint32_t i = 0; i < MSW__GROUP; i++)
        for (uint32_t g = 0; g < UNIT_GROUPS; g++)
            for (uint32_t r = 0; r < HALF_ROWS; r++)
                *code++ = weight_bits(k, strip, band + 2 * r, &u->groups[g], i);
}

static void put_record(const packer *k, uint32_t *code, uint32_t strip, uint32_t index,
                       msw__narrow_record record)
{
    const unit *u = &k->units[index];
    const uint32_t place = index * MSW__UNIT * (uint32_t)sizeof(float);

    switch (record) {
    case MSW__LOOKUP:
        put_lookup(k, code, strip, u);
        break;
    case MSW__LOOKUP_UPPER:
    case MSW__LOOKUP_LOWER:
        put_half_lookup(k, code, strip, u, record == MSW__LOOKUP_LOWER);
        break;
    case MSW__FREE:
        put_free(k, code, strip, u, place);
        break;
    default:
        put_half_free(k, code, strip, u, place, record == MSW__FREE_LOWER);
    }
}

/* Stages */

static uint32_t strip_records(packer *k, uint32_t strip, uint32_t counts[MSW__NARROW_RECORDS])
{
    uint32_t all = 0;

    memset(counts, 0, MSW__NARROW_RECORDS * sizeof *counts);
    for (uint32_t i = 0; i < k->unit_used; i++) {
        const uint32_t set = records(k, strip, &k->units[i], &k->w->skips);

        for (int r = 0; r < MSW__NARROW_RECORDS; r++)
            counts[r] += set >> r & 1;
        all |= set;
    }
    return all;
}

static void write_strip(packer *k, const msw__chunk *chunk, uint32_t stage, uint32_t strip,
                        const uint32_t counts[MSW__NARROW_RECORDS])
{
    uint32_t *code = k->w->code + k->w->code_count;
    uint32_t head = strip - chunk->first_strip;
    bool skips;

    if (k->first_stage[strip] == stage || k->first_stage[strip] == NEVER)
        head |= MSW__STRIP_FIRST;
    if (k->last_stage[strip] == stage || k->last_stage[strip] == NEVER)
        head |= MSW__STRIP_LAST;
    *code++ = head;
    *code++ = (uint32_t)strip_row(k, strip);
    *code++ = strip_rows(k, strip);
    memcpy(code, counts, MSW__NARROW_RECORDS * sizeof *code);
    code += MSW__NARROW_RECORDS;
    find_blocks(k, strip);
    for (int r = 0; r < MSW__NARROW_RECORDS; r++)
        for (uint32_t i = 0; counts[r] && i < k->unit_used; i++)
            if (records(k, strip, &k->units[i], &skips) >> r & 1) {
                put_record(k, code, strip, i, (msw__narrow_record)r);
                code += record_words(k, (msw__narrow_record)r);
            }
}

static void put_strip(packer *k, const msw__chunk *chunk, uint32_t stage, uint32_t strip)
{
    msw__packing *w = k->w;
    uint32_t counts[MSW__NARROW_RECORDS];
    const bool idle = k->write && stage == 0 && k->last_stage[strip] == NEVER;

    if (!strip_records(k, strip, counts) && !idle)
        return;
    if (k->write) {
        write_strip(k, chunk, stage, strip, counts);
        w->stages[w->stage_count].strips++;
    } else {
        if (k->first_stage[strip] == NEVER)
            k->first_stage[strip] = stage;
        k->last_stage[strip] = stage;
    }
    w->code_count += MSW__NARROW_HEADER;
    for (int r = 0; r < MSW__NARROW_RECORDS; r++) {
        w->code_count += counts[r] * record_words(k, (msw__narrow_record)r);
        w->records += counts[r];
    }
    w->lookups += 2 * (uint64_t)counts[MSW__LOOKUP] + counts[MSW__LOOKUP_UPPER] +
                  counts[MSW__LOOKUP_LOWER];
    w->products += 2 * (uint64_t)counts[MSW__FREE] + counts[MSW__FREE_UPPER] +
                   counts[MSW__FREE_LOWER];
    w->visits++;
}

/* Does any strip of the chunk use the unit, and do enough for tables? */
static bool use_unit(packer *k, const msw__chunk *chunk, unit *u, uint32_t tables)
{
    const uint32_t lookups = 1 << MSW__LOOKUP | 1 << MSW__LOOKUP_UPPER |
                             1 << MSW__LOOKUP_LOWER;
    uint32_t used = 0, rows = 0;
    bool skips;

    u->table = tables; /* so that records() shows what is unified */
    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        const uint32_t set = records(k, chunk->first_strip + i, u, &skips);

        used |= set;
        if (set & lookups)
            rows += set & 1 << MSW__LOOKUP ? MSW__LANES : HALF_ROWS;
    }
    if (rows < k->traits->table_rows)
        u->table = NEVER;
    return used != 0;
}

/* The units from *next on that fit a stage. */
static uint32_t choose_units(packer *k, const msw__chunk *chunk, uint32_t *next)
{
    const size_t panel = (size_t)MSW__UNIT * k->w->width * sizeof(float);
    const size_t table = (size_t)UNIT_GROUPS * MSW__ENTRIES * k->w->width * sizeof(float);
    uint32_t tables = 0;

    k->unit_used = 0;
    for (; *next < k->unit_count && k->unit_used < k->most_units; ++*next) {
        unit u = unit_at(k, *next);

        if (!use_unit(k, chunk, &u, tables))
            continue;
        tables += u.table != NEVER;
        k->units[k->unit_used++] = u;
    }
    if (k->w->table_bytes < tables * table)
        k->w->table_bytes = tables * table;
    if (k->w->panel_bytes < k->unit_used * panel)
        k->w->panel_bytes = k->unit_used * panel;
    return tables;
}

static void put_columns(packer *k)
{
    msw__packing *w = k->w;
    const uint32_t *permutation = k->plan->column_permutation;

    for (uint32_t i = 0; i < k->unit_used; i++) {
        const unit *u = &k->units[i];

        for (uint32_t j = 0; k->write && j < MSW__UNIT; j++) {
            const group *g = &u->groups[j / MSW__GROUP];
            const size_t c = g->column + j % MSW__GROUP;

            w->column[w->column_count + j] = j % MSW__GROUP >= g->count ? MSW__NO_COLUMN
                                             : permutation ? permutation[c] : (uint32_t)c;
        }
        w->column_count += MSW__UNIT;
        if (u->table == NEVER)
            continue;
        if (k->write)
            w->table[w->table_count] = (uint16_t)i;
        w->table_count++;
    }
}

/* The block columns of the stage, and the cursors to the first. */
static void find_stage_blocks(packer *k, size_t first_row, size_t end_row)
{
    size_t end = 0;

    if (!k->unit_used)
        return;
    k->first_block = k->units[0].groups[0].column / k->plan->block_columns;
    for (int g = 0; g < UNIT_GROUPS; g++) {
        const group *last = &k->units[k->unit_used - 1].groups[g];
        if (last->count)
            end = (last->column + last->count - 1) / k->plan->block_columns + 1;
    }
    k->stage_blocks = end - k->first_block;
    for (size_t i = first_row; i < end_row; i++)
        msw__cursor_advance(&k->cursors[i], k->u, i, (uint32_t)k->first_block);
}

static void put_chunk(packer *k, msw__chunk *chunk)
{
    msw__packing *w = k->w;
    const size_t first = block_row(k, chunk->first_strip, 0);
    size_t end = block_row(k, chunk->first_strip + chunk->strip_count - 1,
                           w->bands - 1) + 1;
    uint32_t next = 0;

    end = end < k->plan->block_row_count ? end : k->plan->block_row_count;
    for (size_t i = first; i < end; i++)
        k->cursors[i] = msw__cursor_at_row(k->u, i);
    chunk->stage = w->stage_count;
    do {
        const uint32_t tables = choose_units(k, chunk, &next);
        const uint32_t stage = (uint32_t)(w->stage_count - chunk->stage);

        if (!k->unit_used && stage)
            break;
        if (k->write) {
            find_stage_blocks(k, first, end);
            w->stages[w->stage_count] = (msw__stage){
                .column = w->column_count, .table = w->table_count, .code = w->code_count,
                .slices = k->unit_used, .tables = tables};
        }
        put_columns(k);
        for (uint32_t i = 0; i < chunk->strip_count; i++)
            put_strip(k, chunk, stage, chunk->first_strip + i);
        w->stage_count++;
    } while (next < k->unit_count);
    chunk->stage_count = w->stage_count - chunk->stage;
}

static void put_all(packer *k)
{
    msw__packing *w = k->w;

    w->stage_count = w->column_count = w->table_count = w->code_count = 0;
    w->lookups = w->products = w->records = w->visits = 0;
    for (size_t c = 0; c < w->chunk_count; c++)
        put_chunk(k, &w->chunks[c]);
}

static void cut_chunks(packer *k)
{
    msw__packing *w = k->w;
    uint32_t most = 0;

    for (size_t c = 0; c < w->chunk_count; c++) {
        const uint32_t begin = (uint32_t)((uint64_t)k->strip_count * c / w->chunk_count);
        const uint32_t end = (uint32_t)((uint64_t)k->strip_count * (c + 1) / w->chunk_count);

        w->chunks[c].first_strip = begin;
        w->chunks[c].strip_count = end - begin;
        w->chunks[c].first_row = strip_row(k, begin);
        w->chunks[c].row_count = (end < k->strip_count ? strip_row(k, end) : k->plan->rows) -
                                 strip_row(k, begin);
        most = end - begin > most ? end - begin : most;
    }
    w->sum_bytes = (size_t)most * MSW__LANES * w->width * sizeof(float);
}

static msw_status alloc_packer(packer *k)
{
    msw_status s = msw__alloc_array(&k->kinds, k->ctx, k->plan->block_count, 1);

    if (!s)
        s = msw__alloc_array(&k->cursors, k->ctx, k->plan->block_row_count,
                             sizeof *k->cursors);
    if (!s)
        s = msw__alloc_array(&k->units, k->ctx, k->most_units, sizeof *k->units);
    if (!s)
        s = msw__alloc_array(&k->blocks, k->ctx, k->block_capacity * k->w->bands,
                             sizeof *k->blocks);
    if (!s)
        s = msw__alloc_array(&k->first_stage, k->ctx, k->strip_count, sizeof(uint32_t));
    if (!s)
        s = msw__alloc_array(&k->last_stage, k->ctx, k->strip_count, sizeof(uint32_t));
    return s;
}

static void free_packer(packer *k)
{
    msw__free(k->ctx, k->kinds, k->plan->block_count, 1);
    msw__free(k->ctx, k->cursors, k->plan->block_row_count, sizeof *k->cursors);
    msw__free(k->ctx, k->units, k->most_units, sizeof *k->units);
    msw__free(k->ctx, k->blocks, k->block_capacity * k->w->bands, sizeof *k->blocks);
    msw__free(k->ctx, k->first_stage, k->strip_count, sizeof(uint32_t));
    msw__free(k->ctx, k->last_stage, k->strip_count, sizeof(uint32_t));
}

/* Count, allocate, write. */
static msw_status pack(packer *k)
{
    msw__packing *w = k->w;
    msw_status status;

    msw__find_kinds(k->kinds, k->u);
    memset(k->first_stage, 0xff, k->strip_count * sizeof *k->first_stage); /* NEVER */
    memset(k->last_stage, 0xff, k->strip_count * sizeof *k->last_stage);
    status = msw__packing_alloc_chunks(w, k->ctx, k->plan, CHUNK_ROWS);
    if (status)
        return status;
    cut_chunks(k);
    put_all(k);
    for (uint32_t i = 0; i < k->strip_count; i++)
        w->code_count += k->last_stage[i] == NEVER ? MSW__NARROW_HEADER : 0;
    w->panel_bytes = (w->panel_bytes + MSW__ALIGN - 1) / MSW__ALIGN * MSW__ALIGN;
    status = msw__packing_alloc(w, k->ctx);
    if (status)
        return status;
    k->write = true;
    put_all(k);
    return MSW_OK;
}

msw_status msw__narrow_pack(msw__packing *out, msw_context *ctx, const msw_unified *u,
                            const msw__gemm_traits *traits, size_t n)
{
    const size_t columns = n && n < traits->width ? n : traits->width;
    const size_t unit_bytes = columns * UNIT_GROUPS * MSW__ENTRIES * sizeof(float);
    packer k = {.ctx = ctx, .u = u, .plan = u->plan, .w = out, .traits = traits};
    msw_status status;

    memset(out, 0, sizeof *out);
    cut(&k);
    k.most_units = msw__ceil_div(traits->stage_bytes, unit_bytes);
    if (k.most_units > k.unit_count)
        k.most_units = k.unit_count;
    k.block_capacity = u->plan->block_column_count;
    status = alloc_packer(&k);
    if (!status)
        status = pack(&k);
    free_packer(&k);
    if (status)
        msw__packing_free(out, ctx);
    return status;
}
