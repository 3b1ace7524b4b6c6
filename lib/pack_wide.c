/* SPDX-License-Identifier: BSD-2-Clause */
/* msw_unified -> the wide packing (gemm.h). */
#include "packing.h"

enum { CHUNK_ROWS = 1024 }; /* sums and code of a chunk share the second-level cache */
enum { FEW_LOOKUPS = 50, VERY_FEW_LOOKUPS = 15 }; /* per cent of the blocks */
#define NEVER UINT32_MAX

/* A slice of the stage being packed. */
typedef struct slice {
    uint32_t block_column;
    uint32_t offset, columns; /* within the block; how many */
    uint32_t table;           /* number among those with tables; NEVER: none */
    bool multiplied;          /* some strip has a free record */
} slice;

typedef struct packer {
    msw_context *ctx;
    const msw_unified *u;
    const msw_plan *plan;
    msw__packing *w;
    const msw__gemm_traits *traits;
    uint32_t parts;              /* strips per block row */
    uint32_t slices_per_block;
    uint32_t strip_count, slice_count;
    size_t stage_bytes;          /* tables and panel buffer, at most */
    uint8_t *kinds;              /* per block */
    msw__block_cursor *cursors;  /* per block row: at the first block of the stage */
    slice *slices;               /* of the stage */
    uint32_t slice_used;
    uint32_t *first_stage, *last_stage; /* per strip; filled by the counting pass */
    uint32_t *order, *counts, *sorted;  /* strips of a stage by their counts */
    bool write;                  /* false: count only */
} packer;

/* Geometry */

static void cut(packer *k)
{
    const msw_plan *p = k->plan;
    msw__packing *w = k->w;
    const size_t last_row = msw__plan_rows(p, p->block_row_count - 1);
    const size_t last_column = msw__plan_columns(p, p->block_column_count - 1);

    k->parts = msw__ceil_div(p->block_rows, k->traits->strip_rows);
    w->strip_rows = msw__ceil_div(p->block_rows, k->parts);
    k->slices_per_block = msw__ceil_div(p->block_columns, MSW__MAX_SLICE);
    w->columns = p->block_columns;
    if (k->slices_per_block > 1)
        w->columns = MSW__GROUP * msw__ceil_div(p->block_columns,
                                           MSW__GROUP * (size_t)k->slices_per_block);
    w->groups = msw__ceil_div(w->columns, MSW__GROUP);
    w->in_order = !p->column_permutation && p->columns % w->columns == 0 &&
                  p->block_columns % w->columns == 0;
    w->width = k->traits->width;
    k->strip_count = (uint32_t)(p->block_row_count - 1) * k->parts +
                     msw__ceil_div(last_row, w->strip_rows);
    k->slice_count = (uint32_t)(p->block_column_count - 1) * k->slices_per_block +
                     msw__ceil_div(last_column, w->columns);
}

static size_t strip_offset(const packer *k, uint32_t strip) /* within the block row */
{
    return (size_t)(strip % k->parts) * k->w->strip_rows;
}

/* Of the view; that of the strip after the last one is the number of rows. */
static size_t first_row(const packer *k, uint32_t strip)
{
    if (strip == k->strip_count)
        return k->plan->rows;
    return msw__plan_row(k->plan, strip / k->parts) + strip_offset(k, strip);
}

static uint32_t strip_rows(const packer *k, uint32_t strip)
{
    const size_t offset = strip_offset(k, strip);
    const size_t rows = msw__plan_rows(k->plan, strip / k->parts);
    const size_t left = rows > offset ? rows - offset : 0;

    return (uint32_t)(left < k->w->strip_rows ? left : k->w->strip_rows);
}

static slice slice_at(const packer *k, uint32_t number)
{
    slice s;
    size_t left;

    s.block_column = number / k->slices_per_block;
    s.offset = number % k->slices_per_block * k->w->columns;
    left = msw__plan_columns(k->plan, s.block_column);
    left = left > s.offset ? left - s.offset : 0;
    s.columns = (uint32_t)(left < k->w->columns ? left : k->w->columns);
    s.table = NEVER;
    s.multiplied = false;
    return s;
}

static uint8_t kind(const packer *k, uint32_t strip, const slice *s)
{
    const size_t block = strip / k->parts * k->plan->block_column_count + s->block_column;
    const uint8_t found = k->kinds[block];

    return found == MSW__LOOKUPS && s->table == NEVER ? MSW__PRODUCTS : found;
}

/* Blocks */

/* Number of a strip's weight in its block. */
static size_t weight_at(const packer *k, uint32_t strip, const slice *s, uint32_t row,
                        uint32_t column)
{
    return (strip_offset(k, strip) + row) * msw__plan_columns(k->plan, s->block_column) +
           s->offset + column;
}

static uint32_t *put_table_record(const packer *k, uint32_t *code, uint32_t strip,
                                  const slice *s, const msw__block_cursor *c, bool full)
{
    const msw__packing *w = k->w;
    const uint32_t rows = strip_rows(k, strip);

    *code++ = msw__bits_of(k->u->magnitudes[c->magnitude]);
    if (!full)
        *code++ = s->table * w->groups * MSW__ENTRIES * w->width * (uint32_t)sizeof(float);
    for (uint32_t g = 0; g < w->groups; g++) {
        uint32_t word = 0;

        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t b = 0; b < MSW__GROUP; b++) {
                const uint32_t column = g * MSW__GROUP + b;
                if (column < s->columns &&
                    msw__sign_get(k->u->signs, c->sign + weight_at(k, strip, s, r, column)))
                    word |= 1u << (4 * r + b);
            }
        *code++ = word;
    }
    return code;
}

static float weight(const packer *k, uint32_t strip, const slice *s,
                    const msw__block_cursor *c, uint32_t row, uint32_t column)
{
    const size_t i = weight_at(k, strip, s, row, column);
    float m;

    if (k->u->classes[strip / k->parts * k->plan->block_column_count + s->block_column] ==
        MSW_CLASS_FREE)
        return k->u->free_weights[c->weight + i];
    m = k->u->magnitudes[c->magnitude];
    return msw__sign_get(k->u->signs, c->sign + i) ? -m : m;
}

static uint32_t *put_free_record(const packer *k, uint32_t *code, uint32_t strip,
                                 uint32_t place, const slice *s, const msw__block_cursor *c)
{
    const msw__packing *w = k->w;
    const uint32_t rows = strip_rows(k, strip);

    *code++ = place * w->columns * w->width * (uint32_t)sizeof(float);
    for (uint32_t column = 0; column < w->columns; column++)
        for (uint32_t r = 0; r < w->strip_rows; r++)
            *code++ = r < rows && column < s->columns
                          ? msw__bits_of(weight(k, strip, s, c, r, column)) : 0;
    return code;
}

/* @p full: a look-up for each table. */
static uint32_t *put_records(const packer *k, uint32_t *code, uint32_t strip,
                             uint8_t wanted, bool full)
{
    msw__block_cursor c = k->cursors[strip / k->parts];

    for (uint32_t i = 0; i < k->slice_used; i++) {
        const slice *s = &k->slices[i];

        if (kind(k, strip, s) != wanted)
            continue;
        msw__cursor_advance(&c, k->u, strip / k->parts, s->block_column);
        code = wanted == MSW__LOOKUPS ? put_table_record(k, code, strip, s, &c, full)
                                 : put_free_record(k, code, strip, i, s, &c);
    }
    return code;
}

/* Strips of a stage */

static uint32_t count_records(const packer *k, uint32_t strip, uint8_t wanted)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < k->slice_used; i++)
        n += kind(k, strip, &k->slices[i]) == wanted;
    return n;
}

/* One pass of a stable sort of `order`. */
static void sort_by(packer *k, uint32_t n, uint8_t wanted)
{
    uint32_t start = 0;

    memset(k->counts, 0, (k->slice_used + 1) * sizeof *k->counts);
    for (uint32_t i = 0; i < n; i++)
        k->counts[count_records(k, k->order[i], wanted)]++;
    for (uint32_t c = 0; c <= k->slice_used; c++) {
        const uint32_t count = k->counts[c];
        k->counts[c] = start;
        start += count;
    }
    for (uint32_t i = 0; i < n; i++)
        k->sorted[k->counts[count_records(k, k->order[i], wanted)]++] = k->order[i];
    memcpy(k->order, k->sorted, n * sizeof *k->order);
}

static void count_work(packer *k, uint32_t lookups, uint32_t products, bool full)
{
    msw__packing *w = k->w;

    w->code_count += MSW__WIDE_HEADER + (size_t)lookups * ((full ? 1 : 2) + w->groups) +
                     (size_t)products * (1 + (size_t)w->columns * w->strip_rows);
    w->lookups += (uint64_t)lookups * w->groups * w->strip_rows;
    w->products += (uint64_t)products * w->columns * w->strip_rows;
    w->records += lookups + products;
    w->visits++;
}

static void put_strip(packer *k, const msw__chunk *chunk, uint32_t stage, uint32_t strip,
                      uint32_t tables)
{
    const uint32_t lookups = count_records(k, strip, MSW__LOOKUPS);
    const uint32_t products = count_records(k, strip, MSW__PRODUCTS);
    const bool full = lookups == tables;
    uint32_t *code = k->write ? k->w->code + k->w->code_count : NULL;
    uint32_t head = strip - chunk->first_strip;

    if (k->write) {
        if (k->first_stage[strip] == stage || k->first_stage[strip] == NEVER)
            head |= MSW__STRIP_FIRST;
        if (k->last_stage[strip] == stage || k->last_stage[strip] == NEVER) {
            head |= MSW__STRIP_LAST;
            k->w->stages[chunk->stage + stage].finished++;
        }
        *code++ = head;
        *code++ = (uint32_t)first_row(k, strip);
        *code++ = strip_rows(k, strip) << 24 | products << 12 | lookups;
        code = put_records(k, code, strip, MSW__LOOKUPS, full);
        put_records(k, code, strip, MSW__PRODUCTS, full);
    } else {
        if (k->first_stage[strip] == NEVER)
            k->first_stage[strip] = stage;
        k->last_stage[strip] = stage;
    }
    count_work(k, lookups, products, full);
}

static void put_columns(packer *k)
{
    msw__packing *w = k->w;
    const uint32_t *permutation = k->plan->column_permutation;

    for (uint32_t i = 0; i < k->slice_used; i++) {
        const slice *s = &k->slices[i];

        for (uint32_t j = 0; k->write && j < w->columns; j++) {
            const uint32_t c = s->block_column * k->plan->block_columns + s->offset + j;
            w->column[w->column_count + j] = j >= s->columns ? MSW__NO_COLUMN
                                             : permutation   ? permutation[c] : c;
        }
        w->column_count += w->columns;
        if (s->table == NEVER)
            continue;
        if (k->write)
            w->table[w->table_count] =
                (uint16_t)(s->multiplied ? i : i | MSW__SLICE_NO_PANEL);
        w->table_count++;
    }
}

/* Stages */

/* Does any strip of the chunk use the slice, and do enough for a table? */
static bool use_slice(const packer *k, const msw__chunk *chunk, slice *s, uint32_t tables)
{
    const uint32_t groups = msw__ceil_div(s->columns, MSW__GROUP);
    uint64_t rows = 0;
    bool used = false;

    s->table = tables; /* so that kind() shows what is unified */
    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        const uint8_t found = kind(k, chunk->first_strip + i, s);

        used = used || found != MSW__NOTHING;
        s->multiplied = s->multiplied || found == MSW__PRODUCTS;
        if (found == MSW__LOOKUPS)
            rows += strip_rows(k, chunk->first_strip + i);
    }
    /* a look-up instead of s->columns / groups products */
    if (rows * (s->columns - groups) <
        (uint64_t)k->traits->table_rows * groups * (MSW__GROUP - 1))
        s->table = NEVER;
    return used;
}

/* Where tables are used less or there are none, fetching them and X from the second-level
 * cache costs less than the sums, which move between each stage and the next. */
static void set_stage_bytes(packer *k)
{
    const size_t blocks = k->plan->block_count;
    size_t lookups = 0;

    for (size_t b = 0; b < blocks; b++)
        lookups += k->kinds[b] == MSW__LOOKUPS;
    k->stage_bytes = k->traits->stage_bytes;
    if (100 * lookups < FEW_LOOKUPS * blocks)
        k->stage_bytes *= lookups && 100 * lookups < VERY_FEW_LOOKUPS * blocks ? 3 : 2;
}

/* The slices from *next on that fit a stage. */
static uint32_t choose_slices(packer *k, const msw__chunk *chunk, uint32_t *next)
{
    const size_t row_bytes = k->w->width * sizeof(float);
    const size_t panel = k->w->columns * row_bytes;
    const size_t table = k->w->groups * (size_t)MSW__ENTRIES * row_bytes;
    size_t bytes = 0;
    uint32_t tables = 0;

    k->slice_used = 0;
    for (; *next < k->slice_count && k->slice_used < MSW__MAX_RECORDS; ++*next) {
        slice s = slice_at(k, *next);
        size_t more;

        if (!use_slice(k, chunk, &s, tables))
            continue;
        more = (s.table == NEVER || s.multiplied ? panel : 0) +
               (s.table == NEVER ? 0 : table);
        if (k->slice_used && bytes + more > k->stage_bytes)
            break;
        bytes += more;
        tables += s.table != NEVER;
        k->slices[k->slice_used++] = s;
    }
    if (k->w->table_bytes < tables * table)
        k->w->table_bytes = tables * table;
    if (k->w->panel_bytes < k->slice_used * panel)
        k->w->panel_bytes = k->slice_used * panel;
    return tables;
}

static void put_stage(packer *k, const msw__chunk *chunk, uint32_t tables)
{
    msw__packing *w = k->w;
    const uint32_t stage = (uint32_t)(w->stage_count - chunk->stage);
    uint32_t n = 0;

    for (uint32_t i = 0; i < chunk->strip_count; i++) {
        const uint32_t strip = chunk->first_strip + i;
        const bool idle = k->write && stage == 0 && k->last_stage[strip] == NEVER;

        if (idle || count_records(k, strip, MSW__LOOKUPS) ||
            count_records(k, strip, MSW__PRODUCTS))
            k->order[n++] = strip;
    }
    sort_by(k, n, MSW__LOOKUPS);
    sort_by(k, n, MSW__PRODUCTS);
    if (k->write)
        w->stages[w->stage_count] = (msw__stage){
            .column = w->column_count, .table = w->table_count, .code = w->code_count,
            .slices = k->slice_used, .tables = tables, .strips = n};
    w->stage_count++;
    put_columns(k);
    for (uint32_t i = 0; i < n; i++)
        put_strip(k, chunk, stage, k->order[i], tables);
}

static void put_chunk(packer *k, msw__chunk *chunk)
{
    const uint32_t first = chunk->first_strip / k->parts;
    const uint32_t end = msw__ceil_div((size_t)chunk->first_strip + chunk->strip_count,
                                       k->parts);
    uint32_t next = 0;

    for (uint32_t i = first; i < end; i++)
        k->cursors[i] = msw__cursor_at_row(k->u, i);
    chunk->stage = k->w->stage_count;
    do {
        const uint32_t tables = choose_slices(k, chunk, &next);

        for (uint32_t i = first; k->write && k->slice_used && i < end; i++)
            msw__cursor_advance(&k->cursors[i], k->u, i, k->slices[0].block_column);
        if (k->slice_used || chunk->stage == k->w->stage_count)
            put_stage(k, chunk, tables);
    } while (next < k->slice_count);
    chunk->stage_count = k->w->stage_count - chunk->stage;
}

static void put_all(packer *k)
{
    msw__packing *w = k->w;

    w->stage_count = w->column_count = w->table_count = w->code_count = 0;
    w->lookups = w->products = w->records = w->visits = 0;
    for (size_t c = 0; c < w->chunk_count; c++)
        put_chunk(k, &w->chunks[c]);
}

/* Chunks of whole block rows, of equal size, so that no cursor is in two. */
static void cut_chunks(packer *k)
{
    msw__packing *w = k->w;
    const uint32_t rows = (uint32_t)k->plan->block_row_count;
    uint32_t most = 0;

    for (size_t c = 0; c < w->chunk_count; c++) {
        const uint32_t begin = (uint32_t)((uint64_t)rows * c / w->chunk_count) * k->parts;
        uint32_t end = (uint32_t)((uint64_t)rows * (c + 1) / w->chunk_count) * k->parts;

        if (end > k->strip_count)
            end = k->strip_count;
        w->chunks[c].first_strip = begin;
        w->chunks[c].strip_count = end - begin;
        w->chunks[c].first_row = first_row(k, begin);
        w->chunks[c].row_count = first_row(k, end) - first_row(k, begin);
        if (most < end - begin)
            most = end - begin;
    }
    w->sum_bytes = (size_t)most * w->strip_rows * w->width * sizeof(float);
}

static msw_status alloc_packer(packer *k)
{
    msw_status s = msw__alloc_array(&k->kinds, k->ctx, k->plan->block_count, 1);

    if (!s)
        s = msw__alloc_array(&k->cursors, k->ctx, k->plan->block_row_count,
                             sizeof *k->cursors);
    if (!s)
        s = msw__alloc_array(&k->slices, k->ctx, k->slice_count, sizeof(slice));
    if (!s)
        s = msw__alloc_array(&k->first_stage, k->ctx, k->strip_count, sizeof(uint32_t));
    if (!s)
        s = msw__alloc_array(&k->last_stage, k->ctx, k->strip_count, sizeof(uint32_t));
    if (!s)
        s = msw__alloc_array(&k->order, k->ctx, k->strip_count, sizeof(uint32_t));
    if (!s)
        s = msw__alloc_array(&k->sorted, k->ctx, k->strip_count, sizeof(uint32_t));
    if (!s)
        s = msw__alloc_array(&k->counts, k->ctx, (size_t)k->slice_count + 1,
                             sizeof(uint32_t));
    return s;
}

static void free_packer(packer *k)
{
    msw__free(k->ctx, k->kinds, k->plan->block_count, 1);
    msw__free(k->ctx, k->cursors, k->plan->block_row_count, sizeof *k->cursors);
    msw__free(k->ctx, k->slices, k->slice_count, sizeof(slice));
    msw__free(k->ctx, k->first_stage, k->strip_count, sizeof(uint32_t));
    msw__free(k->ctx, k->last_stage, k->strip_count, sizeof(uint32_t));
    msw__free(k->ctx, k->order, k->strip_count, sizeof(uint32_t));
    msw__free(k->ctx, k->sorted, k->strip_count, sizeof(uint32_t));
    msw__free(k->ctx, k->counts, (size_t)k->slice_count + 1, sizeof(uint32_t));
}

/* Count, allocate, write. */
static msw_status pack(packer *k)
{
    msw__packing *w = k->w;
    msw_status status;

    msw__find_kinds(k->kinds, k->u);
    set_stage_bytes(k);
    memset(k->first_stage, 0xff, k->strip_count * sizeof *k->first_stage); /* NEVER */
    memset(k->last_stage, 0xff, k->strip_count * sizeof *k->last_stage);
    status = msw__packing_alloc_chunks(w, k->ctx, k->plan, CHUNK_ROWS);
    if (status)
        return status;
    cut_chunks(k);
    put_all(k);
    for (uint32_t i = 0; i < k->strip_count; i++)
        w->code_count += k->last_stage[i] == NEVER ? MSW__WIDE_HEADER : 0;
    w->panel_bytes = (w->panel_bytes + MSW__ALIGN - 1) / MSW__ALIGN * MSW__ALIGN;
    status = msw__packing_alloc(w, k->ctx);
    if (status)
        return status;
    k->write = true;
    put_all(k);
    return MSW_OK;
}

msw_status msw__wide_pack(msw__packing *out, msw_context *ctx, const msw_unified *u,
                          const msw__gemm_traits *traits)
{
    packer k = {.ctx = ctx, .u = u, .plan = u->plan, .w = out, .traits = traits};
    msw_status status;

    memset(out, 0, sizeof *out);
    cut(&k);
    status = alloc_packer(&k);
    if (!status)
        status = pack(&k);
    free_packer(&k);
    if (status)
        msw__packing_free(out, ctx);
    return status;
}
