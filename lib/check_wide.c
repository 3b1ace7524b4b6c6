/* SPDX-License-Identifier: BSD-2-Clause */
/* Is it a wide packing (gemm.h), and of which weights? Everything that a kernel takes for
 * granted is checked, whatever the checksums say. */
#include "packed.h"
#include "packing.h"

typedef struct walk {
    const msw__packed_walk *k;
    const msw_plan *plan;
    msw__packing *w;
    size_t parts;              /* strips per block row */
    size_t strip_count;
    size_t panel, table;       /* bytes of a slice in the panel buffer, of its tables */
    size_t column, tables, code; /* how far the arrays have been walked */
    const msw__chunk *chunk;
    const msw__stage *stage;
    size_t next_slice;         /* of the chunk: slices ascend */
    uint32_t finished;         /* strips of the stage */
} walk;

/* Geometry: as pack_wide.c cuts, from the rows of a strip. */

void msw__wide_geometry(msw__packing *w, const msw_plan *p)
{
    const uint32_t slices = msw__ceil_div(p->block_columns, MSW__MAX_SLICE);

    w->columns = p->block_columns;
    if (slices > 1)
        w->columns = MSW__GROUP * msw__ceil_div(p->block_columns,
                                                (size_t)MSW__GROUP * slices);
    w->groups = msw__ceil_div(w->columns, MSW__GROUP);
    w->in_order = !p->column_permutation && p->columns % w->columns == 0 &&
                  p->block_columns % w->columns == 0;
}

static size_t parts_of(const msw_plan *p, uint32_t strip_rows)
{
    return msw__ceil_div(p->block_rows, strip_rows);
}

size_t msw__wide_strips(const msw_plan *p, uint32_t strip_rows)
{
    return (p->block_row_count - 1) * parts_of(p, strip_rows) +
           msw__ceil_div(msw__plan_rows(p, p->block_row_count - 1), strip_rows);
}

static size_t first_row(const walk *k, size_t strip)
{
    if (strip == k->strip_count)
        return k->plan->rows;
    return msw__plan_row(k->plan, strip / k->parts) +
           strip % k->parts * k->w->strip_rows;
}

static size_t strip_rows(const walk *k, size_t strip)
{
    const size_t left = msw__plan_rows(k->plan, strip / k->parts) -
                        strip % k->parts * k->w->strip_rows;

    return left < k->w->strip_rows ? left : k->w->strip_rows;
}

/* Columns of the view that a slice has, the first of which is given; 0: it is none. */
static size_t slice_columns(const walk *k, size_t column)
{
    const uint32_t width = k->plan->block_columns;
    size_t left;

    if (column >= k->plan->columns || column % width % k->w->columns)
        return 0;
    left = msw__plan_columns(k->plan, column / width) - column % width;
    return left < k->w->columns ? left : k->w->columns;
}

static const uint32_t *slice(const walk *k, size_t number)
{
    return k->w->column + k->stage->column + number * k->w->columns;
}

/* Records */

/* @p full: record number @p number has no place, but is of that table. */
static bool table_record(const walk *k, size_t strip, const uint32_t *code, bool full,
                         size_t number)
{
    const msw__packing *w = k->w;
    const size_t rows = strip_rows(k, strip), table = full ? number : code[1] / k->table;
    const uint32_t *index = code + (full ? 1 : 2);
    size_t column, columns;

    if ((!full && code[1] % k->table) || table >= k->stage->tables ||
        (k->k->values && !msw__finite_bits(code[0])))
        return false;
    if (!k->k->unpacker)
        return true;
    column = msw__view_column(
        k->k, slice(k, w->table[k->stage->table + table] & MSW__SLICE_MASK));
    columns = slice_columns(k, column);
    if (code[0] == 0 || code[0] >> 31)
        return false;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            const uint32_t word = index[c / MSW__GROUP];
            const uint32_t sign = word >> (4 * r + c % MSW__GROUP) & 1;

            if (!msw__unpack_weight(k->k->unpacker, first_row(k, strip) + r, column + c,
                                    code[0] | sign << 31, true))
                return false;
        }
    return true;
}

/* Will the kernels have the slice in the panel buffer? */
static bool in_panel(const walk *k, size_t number)
{
    const uint16_t *table = k->w->table + k->stage->table;
    size_t begin = 0, end = k->stage->tables;

    while (begin < end) { /* they ascend */
        const size_t middle = begin + (end - begin) / 2;

        if ((table[middle] & MSW__SLICE_MASK) < number)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin == k->stage->tables || table[begin] != (number | MSW__SLICE_NO_PANEL);
}

static bool free_record(const walk *k, size_t strip, const uint32_t *code)
{
    const msw__packing *w = k->w;
    const size_t rows = strip_rows(k, strip), weights = (size_t)w->columns * w->strip_rows;
    size_t column, columns;

    if (*code % k->panel || *code / k->panel >= k->stage->slices ||
        !in_panel(k, *code / k->panel))
        return false;
    for (size_t i = 1; k->k->values && i <= weights; i++)
        if (!msw__finite_bits(code[i]))
            return false;
    if (!k->k->unpacker)
        return true;
    column = msw__view_column(k->k, slice(k, *code / k->panel));
    columns = slice_columns(k, column);
    for (size_t c = 0; c < columns; c++)
        for (size_t r = 0; r < rows; r++)
            if (!msw__unpack_weight(k->k->unpacker, first_row(k, strip) + r, column + c,
                                    code[1 + c * w->strip_rows + r], false))
                return false;
    return true;
}

static const char *check_records(walk *k, size_t strip, size_t lookups, size_t products)
{
    msw__packing *w = k->w;
    const bool full = lookups == k->stage->tables;
    const size_t lookup_words = (full ? 1 : 2) + (size_t)w->groups;
    const size_t product_words = 1 + (size_t)w->columns * w->strip_rows;
    const uint32_t *code = w->code + k->code;

    if (lookups * lookup_words + products * product_words > w->code_count - k->code)
        return "records beyond its code";
    k->code += lookups * lookup_words + products * product_words;
    for (size_t i = 0; i < lookups; i++, code += lookup_words)
        if (!table_record(k, strip, code, full, i))
            return "a look-up";
    for (size_t i = 0; i < products; i++, code += product_words) {
        if (!free_record(k, strip, code))
            return "free weights";
        if (i && *code <= code[-(ptrdiff_t)product_words])
            return "the order of free weights";
    }
    w->lookups += (uint64_t)lookups * w->groups * w->strip_rows;
    w->products += (uint64_t)products * w->columns * w->strip_rows;
    w->records += lookups + products;
    w->visits++;
    return NULL;
}

static const char *check_strip(walk *k)
{
    const uint32_t *code = k->w->code + k->code;
    size_t number, strip;

    if (k->w->code_count - k->code < MSW__WIDE_HEADER)
        return "a strip beyond its code";
    number = code[0] & MSW__STRIP_MASK;
    if (number >= k->chunk->strip_count || !msw__strip_step(&k->k->strips[number], code[0]))
        return "the order of its strips";
    strip = k->chunk->first_strip + number;
    if (code[1] != first_row(k, strip) || code[2] >> 24 != strip_rows(k, strip))
        return "the rows of a strip";
    k->finished += (code[0] & MSW__STRIP_LAST) != 0;
    k->code += MSW__WIDE_HEADER;
    return check_records(k, strip, code[2] & 0xfff, code[2] >> 12 & 0xfff);
}

/* Stages */

static bool check_slices(walk *k)
{
    const msw__stage *s = k->stage;

    for (uint32_t i = 0; i < s->slices; i++) {
        const uint32_t *from = slice(k, i);
        const size_t column = msw__view_column(k->k, from);
        const size_t columns = slice_columns(k, column);

        if (!columns || column < k->next_slice ||
            !msw__columns_are(k->k, from, column, columns, k->w->columns))
            return false;
        k->next_slice = column + columns;
    }
    return true;
}

static bool check_tables(const walk *k)
{
    const msw__stage *s = k->stage;
    const uint16_t *table = k->w->table + s->table;

    for (uint32_t i = 0; i < s->tables; i++) {
        const uint32_t number = table[i] & MSW__SLICE_MASK;

        if (number >= s->slices || (i && number <= (table[i - 1] & MSW__SLICE_MASK)))
            return false;
    }
    return true;
}

static const char *check_stage(walk *k, const msw__stage *s)
{
    msw__packing *w = k->w;
    const char *reason = NULL;

    k->stage = s;
    if (s->column != k->column || s->table != k->tables || s->code != k->code ||
        s->slices > MSW__MAX_RECORDS ||
        s->slices > (w->column_count - k->column) / w->columns ||
        s->tables > s->slices || s->tables > w->table_count - k->tables)
        return "a stage";
    if (!check_slices(k) || !check_tables(k))
        return "the columns of a stage";
    k->column += (size_t)s->slices * w->columns;
    k->tables += s->tables;
    if (w->table_bytes < s->tables * k->table)
        w->table_bytes = s->tables * k->table;
    if (w->panel_bytes < s->slices * k->panel)
        w->panel_bytes = s->slices * k->panel;
    k->finished = 0;
    for (uint32_t i = 0; i < s->strips && !reason; i++)
        reason = check_strip(k);
    return reason ? reason : s->finished != k->finished ? "a stage" : NULL;
}

static const char *check_chunk(walk *k, const msw__chunk *c, size_t first_strip,
                               size_t stage)
{
    msw__packing *w = k->w;
    const char *reason = NULL;
    size_t sums;

    k->chunk = c;
    k->next_slice = 0;
    if (c->first_strip != first_strip || c->strip_count == 0 ||
        c->strip_count > k->strip_count - first_strip ||
        first_strip % k->parts || c->first_row != first_row(k, first_strip) ||
        c->row_count != first_row(k, first_strip + c->strip_count) - c->first_row ||
        c->stage != stage || c->stage_count == 0 ||
        c->stage_count > w->stage_count - stage ||
        !msw__size_mul(&sums, c->strip_count, w->strip_rows * w->width * sizeof(float)))
        return "a chunk";
    memset(k->k->strips, 0, c->strip_count);
    for (size_t i = 0; i < c->stage_count && !reason; i++)
        reason = check_stage(k, &w->stages[stage + i]);
    for (size_t i = 0; i < c->strip_count && !reason; i++)
        if (k->k->strips[i] != MSW__STRIP_DONE)
            reason = "a strip without an end";
    w->sum_bytes = w->sum_bytes < sums ? sums : w->sum_bytes;
    return reason;
}

const char *msw__wide_check(msw__packing *w, const msw__packed_walk *walk_of)
{
    walk k = {.k = walk_of, .plan = walk_of->plan, .w = w,
              .parts = parts_of(walk_of->plan, w->strip_rows),
              .strip_count = msw__wide_strips(walk_of->plan, w->strip_rows)};
    const char *reason = NULL;
    size_t strip = 0, stage = 0;

    k.panel = (size_t)w->columns * w->width * sizeof(float);
    k.table = (size_t)w->groups * MSW__ENTRIES * w->width * sizeof(float);
    for (size_t c = 0; c < w->chunk_count && !reason; c++) {
        reason = check_chunk(&k, &w->chunks[c], strip, stage);
        strip += w->chunks[c].strip_count;
        stage += (size_t)w->chunks[c].stage_count;
    }
    w->panel_bytes = (w->panel_bytes + MSW__ALIGN - 1) / MSW__ALIGN * MSW__ALIGN;
    if (reason)
        return reason;
    return strip != k.strip_count || stage != w->stage_count ||
                   k.column != w->column_count || k.tables != w->table_count ||
                   k.code != w->code_count ? "what is left over" : NULL;
}
