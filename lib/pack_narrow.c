/* SPDX-License-Identifier: BSD-2-Clause */
/* msw_unified -> the narrow packing (gemm.h): strips, units and stages. */
#include "pack_narrow.h"

#include <string.h>

enum { CHUNK_ROWS = 1024 };
enum { LEAST_TABLE_COLUMNS = 3 }; /* of a block: below, products are faster */
enum { QUAD_LEAST = 3 };          /* look-ups for which a quad is faster than one by one */

typedef msw__narrow_packer packer;
typedef msw__narrow_group group;
typedef msw__narrow_unit unit;

/* Geometry */

static uint32_t bands_for(uint32_t block_rows)
{
    uint32_t bands = MSW__NARROW_LANES;

    while (bands * block_rows > MSW__NARROW_LANES && bands > 1)
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
    k->parts = msw__ceil_div(p->block_rows, MSW__NARROW_LANES);
    w->strip_rows = w->bands == 1 ? msw__ceil_div(p->block_rows, k->parts)
                                  : w->bands * p->block_rows;
    k->strip_count = w->bands > 1 ? msw__ceil_div(p->block_row_count, w->bands)
                                  : (uint32_t)(p->block_row_count - 1) * k->parts +
                                        msw__ceil_div(last_row, w->strip_rows);
    k->block_groups = p->block_columns < LEAST_TABLE_COLUMNS
                          ? 0 : msw__ceil_div(p->block_columns, MSW__GROUP);
    groups = k->block_groups ? p->block_column_count * k->block_groups
                             : msw__ceil_div(p->columns, MSW__GROUP);
    k->unit_count = msw__ceil_div(groups, MSW__UNIT_GROUPS);
    w->span = w->bands > 1 ? w->strip_rows : p->block_rows;
    w->paired = k->block_groups && k->block_groups % MSW__UNIT_GROUPS == 0;
    w->in_order = !p->column_permutation;
    w->columns = MSW__UNIT;
    w->groups = MSW__UNIT_GROUPS;
    w->width = k->traits->width;
    w->panel_bytes = msw__narrow_panel_bytes(w->width);
    map_lanes(k);
}

size_t msw__narrow_strip_row(const packer *k, uint32_t strip)
{
    return k->w->bands > 1 ? (size_t)strip * k->w->strip_rows
                           : msw__plan_row(k->plan, strip / k->parts) +
                                 (size_t)(strip % k->parts) * k->w->strip_rows;
}

size_t msw__narrow_block_row(const packer *k, uint32_t strip, uint32_t band)
{
    return k->w->bands > 1 ? (size_t)strip * k->w->bands + band : strip / k->parts;
}

uint32_t msw__narrow_strip_rows(const packer *k, uint32_t strip)
{
    const size_t row = msw__narrow_strip_row(k, strip);
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
    return (unit){.groups = {group_at(k, (size_t)number * MSW__UNIT_GROUPS),
                             group_at(k, (size_t)number * MSW__UNIT_GROUPS + 1)}};
}

/* What a strip does for a unit */

/* The most that the blocks of a group in one band are. */
static uint8_t group_kind(const packer *k, size_t row, const unit *u, int index)
{
    const group *g = &u->groups[index];
    const msw_plan *p = k->plan;
    uint8_t most = MSW__NOTHING;

    for (size_t j = g->column / p->block_columns;
         j <= (g->column + g->count - 1) / p->block_columns; j++) {
        const uint8_t kind = k->kinds[row * p->block_column_count + j];
        most = kind > most ? kind : most;
    }
    return most == MSW__LOOKUPS && (!u->table || !k->block_groups) ? MSW__PRODUCTS : most;
}

/* Products where any group needs them. *skips: the record has lanes of pruned blocks. */
static uint8_t unit_kind(const packer *k, uint32_t strip, const unit *u, bool *skips)
{
    bool products = false, used = false, nothing = false;

    for (uint32_t b = 0; b < k->w->bands; b++) {
        const size_t row = msw__narrow_block_row(k, strip, b);

        for (int g = 0; g < MSW__UNIT_GROUPS && row < k->plan->block_row_count; g++) {
            const uint8_t kind = u->groups[g].count ? group_kind(k, row, u, g)
                                                    : MSW__NOTHING;

            products = products || kind == MSW__PRODUCTS;
            used = used || kind != MSW__NOTHING;
            nothing = nothing || (kind == MSW__NOTHING && u->groups[g].count);
        }
    }
    *skips = used && (nothing || !k->block_groups);
    return !used ? MSW__NOTHING : products ? MSW__PRODUCTS : MSW__LOOKUPS;
}

static uint32_t count_lookups(const packer *k, const msw__narrow_task *t)
{
    uint32_t lookups = 0;

    for (uint32_t i = 0; i < k->unit_used; i++)
        lookups += t->kinds[i] == MSW__LOOKUPS;
    return lookups;
}

/* Quads only where many strips have one: the tables of all units must be built for them. */
static void find_tasks(packer *k, const msw__chunk *chunk)
{
    uint32_t quads = 0;

    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        msw__narrow_task *t = &k->tasks[i];

        for (uint32_t j = 0; j < k->unit_used; j++) {
            bool skips;

            t->kinds[j] = unit_kind(k, chunk->first_strip + i, &k->units[j], &skips);
            k->w->skips = k->w->skips || skips;
        }
        memset(t->kinds + k->unit_used, MSW__NOTHING, MSW__UNITS - k->unit_used);
        t->quad = count_lookups(k, t) >= QUAD_LEAST;
        quads += t->quad;
    }
    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        msw__narrow_task *t = &k->tasks[i];

        t->quad = t->quad && 2 * quads >= chunk->strip_count;
        if (t->quad && count_lookups(k, t) < k->unit_used)
            k->w->skips = true;
    }
}

/* Does any strip of the chunk use the unit, and do enough for tables? */
static bool use_unit(packer *k, const msw__chunk *chunk, unit *u)
{
    uint32_t rows = 0;
    bool used = false, skips;

    u->table = true; /* so that unit_kind() shows what is unified */
    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        const uint8_t kind = unit_kind(k, chunk->first_strip + i, u, &skips);

        used = used || kind != MSW__NOTHING;
        rows += kind == MSW__LOOKUPS ? MSW__NARROW_LANES : 0;
    }
    u->table = rows >= k->traits->table_rows;
    return used;
}

/* Stages */

/* The next units that are used, from *next on. */
static void choose_units(packer *k, const msw__chunk *chunk, uint32_t *next)
{
    k->unit_used = 0;
    for (; *next < k->unit_count && k->unit_used < MSW__UNITS; ++*next) {
        unit u = unit_at(k, *next);

        if (use_unit(k, chunk, &u))
            k->units[k->unit_used++] = u;
    }
}

static uint32_t count_tables(const packer *k)
{
    uint32_t tables = 0;

    for (uint32_t i = 0; i < k->unit_used; i++)
        tables += k->units[i].table;
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
        if (!u->table)
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
    for (int g = 0; g < MSW__UNIT_GROUPS; g++) {
        const group *last = &k->units[k->unit_used - 1].groups[g];
        if (last->count)
            end = (last->column + last->count - 1) / k->plan->block_columns + 1;
    }
    k->stage_blocks = end - k->first_block;
    for (size_t i = first_row; i < end_row; i++)
        msw__cursor_advance(&k->cursors[i], k->u, i, (uint32_t)k->first_block);
}

static void put_stage(packer *k, msw__chunk *chunk, size_t first_row, size_t end_row)
{
    msw__packing *w = k->w;

    if (k->write) {
        find_stage_blocks(k, first_row, end_row);
        w->stages[w->stage_count] = (msw__stage){
            .column = w->column_count, .table = w->table_count, .code = w->code_count,
            .slices = k->unit_used, .tables = count_tables(k)};
    }
    put_columns(k);
    find_tasks(k, chunk);
    msw__narrow_put_stage(k, chunk);
    w->stage_count++;
}

static void put_chunk(packer *k, msw__chunk *chunk)
{
    msw__packing *w = k->w;
    const size_t first = msw__narrow_block_row(k, chunk->first_strip, 0);
    size_t end = msw__narrow_block_row(k, chunk->first_strip + chunk->strip_count - 1,
                                       w->bands - 1) + 1;
    uint32_t next = 0;

    end = end < k->plan->block_row_count ? end : k->plan->block_row_count;
    for (size_t i = first; i < end; i++)
        k->cursors[i] = msw__cursor_at_row(k->u, i);
    chunk->stage = w->stage_count;
    do {
        choose_units(k, chunk, &next);
        if (k->unit_used || w->stage_count == chunk->stage)
            put_stage(k, chunk, first, end);
    } while (k->unit_used);
    chunk->stage_count = w->stage_count - chunk->stage;
}

static void put_all(packer *k)
{
    msw__packing *w = k->w;

    w->stage_count = w->column_count = w->table_count = w->code_count = 0;
    w->lookups = w->products = w->records = w->visits = 0;
    for (size_t c = 0; c < w->chunk_count; c++)
        put_chunk(k, &w->chunks[c]);
    w->visits = w->stage_count;
}

static void cut_chunks(packer *k)
{
    msw__packing *w = k->w;

    for (size_t c = 0; c < w->chunk_count; c++) {
        const uint32_t begin = (uint32_t)((uint64_t)k->strip_count * c / w->chunk_count);
        const uint32_t end = (uint32_t)((uint64_t)k->strip_count * (c + 1) / w->chunk_count);

        w->chunks[c].first_strip = begin;
        w->chunks[c].strip_count = end - begin;
        w->chunks[c].first_row = msw__narrow_strip_row(k, begin);
        w->chunks[c].row_count = (end < k->strip_count ? msw__narrow_strip_row(k, end)
                                                       : k->plan->rows) -
                                 w->chunks[c].first_row;
        k->most_strips = end - begin > k->most_strips ? end - begin : k->most_strips;
    }
    w->sum_bytes = msw__narrow_sum_lanes(k->most_strips, MSW__NARROW_LANES) * w->width *
                   sizeof(float);
}

static msw_status alloc_packer(packer *k)
{
    msw_status s = msw__alloc_array(&k->kinds, k->ctx, k->plan->block_count, 1);

    if (!s)
        s = msw__alloc_array(&k->cursors, k->ctx, k->plan->block_row_count,
                             sizeof *k->cursors);
    if (!s)
        s = msw__alloc_array(&k->blocks, k->ctx, k->block_capacity * k->w->bands,
                             sizeof *k->blocks);
    if (!s)
        s = msw__alloc_array(&k->tasks, k->ctx, k->most_strips, sizeof *k->tasks);
    return s;
}

static void free_packer(packer *k)
{
    msw__free(k->ctx, k->kinds, k->plan->block_count, 1);
    msw__free(k->ctx, k->cursors, k->plan->block_row_count, sizeof *k->cursors);
    msw__free(k->ctx, k->blocks, k->block_capacity * k->w->bands, sizeof *k->blocks);
    msw__free(k->ctx, k->tasks, k->most_strips, sizeof *k->tasks);
}

/* Count, allocate, write. */
static msw_status pack(packer *k)
{
    msw_status status = msw__packing_alloc_chunks(k->w, k->ctx, k->plan, CHUNK_ROWS);

    if (status)
        return status;
    cut_chunks(k);
    status = alloc_packer(k);
    if (status)
        return status;
    msw__find_kinds(k->kinds, k->u);
    put_all(k);
    status = msw__packing_alloc(k->w, k->ctx);
    if (status)
        return status;
    k->write = true;
    put_all(k);
    return MSW_OK;
}

msw_status msw__narrow_pack(msw__packing *out, msw_context *ctx, const msw_unified *u,
                            const msw__gemm_traits *traits)
{
    packer k = {.ctx = ctx, .u = u, .plan = u->plan, .w = out, .traits = traits};
    msw_status status;

    memset(out, 0, sizeof *out);
    cut(&k);
    k.block_capacity = u->plan->block_column_count;
    status = pack(&k);
    free_packer(&k);
    if (status)
        msw__packing_free(out, ctx);
    return status;
}
