/* SPDX-License-Identifier: BSD-2-Clause */
/* Is it a narrow packing (gemm.h), and of which weights? Everything that a kernel takes
 * for granted is checked, whatever the checksums say. */
#include "packed.h"
#include "packing.h"

enum { HALF_ROWS = 8, UNIT_GROUPS = 2, INDEX_WORDS = MSW__LANES / 4 };
enum { LEAST_TABLE_COLUMNS = 3 }; /* as in pack_narrow.c */
enum { TABLE_BYTES = UNIT_GROUPS * MSW__ENTRIES * sizeof(float) };
enum { PANEL_BYTES = MSW__UNIT * sizeof(float) };

/* Columns of the view for which one index stands. */
typedef struct group {
    size_t column, count; /* count 0: none */
} group;

typedef struct walk {
    const msw__packed_walk *k;
    const msw_plan *plan;
    msw__packing *w;
    size_t parts;              /* strips per block row, where it has more than one */
    size_t block_groups;       /* groups per block column; 0: groups cross blocks */
    size_t strip_count, unit_count;
    size_t column, tables, code; /* how far the arrays have been walked */
    const msw__chunk *chunk;
    const msw__stage *stage;
    size_t next_unit;          /* of the chunk: units ascend */
} walk;

/* Geometry: as pack_narrow.c cuts. */

static size_t parts_of(const msw_plan *p)
{
    return msw__ceil_div(p->block_rows, MSW__LANES);
}

void msw__narrow_geometry(msw__packing *w, const msw_plan *p)
{
    const size_t groups = p->block_columns < LEAST_TABLE_COLUMNS
                              ? 0 : msw__ceil_div(p->block_columns, MSW__GROUP);

    w->bands = MSW__LANES;
    while (w->bands * p->block_rows > MSW__LANES && w->bands > 1)
        w->bands /= 2;
    w->strip_rows = w->bands == 1 ? msw__ceil_div(p->block_rows, parts_of(p))
                                  : w->bands * p->block_rows;
    for (uint32_t i = 0; i < w->strip_rows; i++)
        w->lane[i] = w->bands == 1 ? i
                                   : i / p->block_rows + w->bands * (i % p->block_rows);
    w->paired = groups && groups % UNIT_GROUPS == 0;
    w->in_order = !p->column_permutation;
    w->columns = MSW__UNIT;
    w->groups = UNIT_GROUPS;
}

static size_t strips_of(const msw_plan *p, const msw__packing *w)
{
    if (w->bands > 1)
        return msw__ceil_div(p->block_row_count, w->bands);
    return (p->block_row_count - 1) * parts_of(p) +
           msw__ceil_div(msw__plan_rows(p, p->block_row_count - 1), w->strip_rows);
}

size_t msw__narrow_strips(const msw_plan *p)
{
    msw__packing w = {0};

    msw__narrow_geometry(&w, p);
    return strips_of(p, &w);
}

static size_t first_row(const walk *k, size_t strip)
{
    if (strip == k->strip_count)
        return k->plan->rows;
    if (k->w->bands > 1)
        return strip * k->w->strip_rows;
    return msw__plan_row(k->plan, strip / k->parts) + strip % k->parts * k->w->strip_rows;
}

static size_t strip_rows(const walk *k, size_t strip)
{
    const size_t row = first_row(k, strip);
    const size_t end = k->w->bands > 1
                           ? k->plan->rows
                           : msw__plan_row(k->plan, strip / k->parts) +
                                 msw__plan_rows(k->plan, strip / k->parts);

    return end - row < k->w->strip_rows ? end - row : k->w->strip_rows;
}

static group group_at(const walk *k, size_t number)
{
    const msw_plan *p = k->plan;
    group g = {0, 0};
    size_t end = p->columns;

    if (k->block_groups) {
        const size_t block = number / k->block_groups;

        if (block >= p->block_column_count)
            return g;
        g.column = block * p->block_columns + number % k->block_groups * MSW__GROUP;
        end = block * p->block_columns + msw__plan_columns(p, block);
    } else {
        g.column = number * MSW__GROUP;
    }
    if (g.column < end)
        g.count = end - g.column < MSW__GROUP ? end - g.column : MSW__GROUP;
    return g;
}

static const uint32_t *unit(const walk *k, size_t index)
{
    return k->w->column + k->stage->column + index * MSW__UNIT;
}

/* Number of the unit with such columns; SIZE_MAX: none. */
static size_t unit_number(const walk *k, const uint32_t *from)
{
    const size_t column = msw__view_column(k->k, from);
    const size_t width = k->plan->block_columns;
    size_t number;

    if (column >= k->plan->columns)
        return SIZE_MAX;
    number = k->block_groups
                 ? column / width * k->block_groups + column % width / MSW__GROUP
                 : column / MSW__GROUP;
    return number / UNIT_GROUPS;
}

/* Records */

/* The row of the view in a lane; false: there is none. */
static bool lane_row(const walk *k, size_t strip, uint32_t lane, size_t *row)
{
    const uint32_t bands = k->w->bands, height = k->plan->block_rows;
    const size_t in_strip = bands > 1 ? lane % bands * (size_t)height + lane / bands : lane;

    *row = first_row(k, strip) + in_strip;
    return (bands == 1 || lane / bands < height) && in_strip < strip_rows(k, strip);
}

/* Weights of a lane in a group that an index and a magnitude stand for. A magnitude of 0
 * is of a block that has nothing to do. */
static bool unpack_lookup(const walk *k, size_t strip, uint32_t lane, size_t number,
                          uint32_t magnitude, uint32_t index)
{
    const group g = group_at(k, number);
    size_t row;

    if (magnitude >> 31)
        return false;
    if (!lane_row(k, strip, lane, &row) || magnitude == 0)
        return index == 0;
    for (size_t i = 0; i < g.count; i++)
        if (!msw__unpack_weight(k->k->unpacker, row, g.column + i,
                                magnitude | (index >> i & 1) << 31, true))
            return false;
    return index >> g.count == 0;
}

static bool unpack_product(const walk *k, size_t strip, uint32_t lane, size_t number,
                           size_t i, uint32_t bits)
{
    const group g = group_at(k, number);
    size_t row;

    if (!lane_row(k, strip, lane, &row) || i >= g.count)
        return bits == 0;
    return msw__unpack_weight(k->k->unpacker, row, g.column + i, bits, false);
}

static bool unpack_lookups(const walk *k, size_t strip, const uint32_t *code, size_t number)
{
    const msw__packing *w = k->w;
    const uint32_t *magnitudes = code + 1;
    const uint32_t sets = w->paired ? 1 : UNIT_GROUPS;
    const uint8_t *index = (const uint8_t *)(magnitudes + sets * w->bands);

    for (uint32_t l = 0; l < MSW__LANES; l++)
        for (uint32_t g = 0; g < UNIT_GROUPS; g++)
            if (!unpack_lookup(k, strip, l, number * UNIT_GROUPS + g,
                               magnitudes[(sets - 1) * g * w->bands + l % w->bands],
                               index[l] >> 4 * g & 15))
                return false;
    return true;
}

static bool unpack_half_lookups(const walk *k, size_t strip, const uint32_t *code,
                                size_t number, uint32_t band)
{
    const uint8_t *index = (const uint8_t *)(code + 2);

    for (uint32_t g = 0; g < UNIT_GROUPS; g++)
        for (uint32_t r = 0; r < HALF_ROWS; r++, index++)
            if (*index >> 4 != g || !unpack_lookup(k, strip, band + 2 * r,
                                                   number * UNIT_GROUPS + g, code[1],
                                                   *index & 15))
                return false;
    return true;
}

static bool unpack_products(const walk *k, size_t strip, const uint32_t *code, size_t number)
{
    code++;
    for (uint32_t c = 0; c < MSW__UNIT; c++)
        for (uint32_t l = 0; l < MSW__LANES; l++)
            if (!unpack_product(k, strip, l, number * UNIT_GROUPS + c / MSW__GROUP,
                                c % MSW__GROUP, *code++))
                return false;
    return true;
}

static bool unpack_half_products(const walk *k, size_t strip, const uint32_t *code,
                                 size_t number, uint32_t band)
{
    code++;
    for (uint32_t i = 0; i < MSW__GROUP; i++)
        for (uint32_t g = 0; g < UNIT_GROUPS; g++)
            for (uint32_t r = 0; r < HALF_ROWS; r++)
                if (!unpack_product(k, strip, band + 2 * r, number * UNIT_GROUPS + g, i,
                                    *code++))
                    return false;
    return true;
}

static bool is_lookup(msw__narrow_record record)
{
    return record == MSW__LOOKUP || record == MSW__LOOKUP_UPPER ||
           record == MSW__LOOKUP_LOWER;
}

/* Words that are floats, from the second on. */
static size_t floats_of(const msw__packing *w, msw__narrow_record record)
{
    switch (record) {
    case MSW__LOOKUP:
        return (size_t)w->bands * (w->paired ? 1 : UNIT_GROUPS);
    case MSW__LOOKUP_UPPER:
    case MSW__LOOKUP_LOWER:
        return 1;
    case MSW__FREE:
        return (size_t)MSW__UNIT * MSW__LANES;
    default:
        return (size_t)MSW__UNIT * HALF_ROWS;
    }
}

static bool unpack_record(const walk *k, size_t strip, msw__narrow_record record,
                          const uint32_t *code)
{
    const size_t index = is_lookup(record)
                             ? k->w->table[k->stage->table + *code / TABLE_BYTES]
                             : *code / PANEL_BYTES;
    const size_t number = unit_number(k, unit(k, index));

    switch (record) {
    case MSW__LOOKUP:
        return unpack_lookups(k, strip, code, number);
    case MSW__LOOKUP_UPPER:
    case MSW__LOOKUP_LOWER:
        return unpack_half_lookups(k, strip, code, number, record == MSW__LOOKUP_LOWER);
    case MSW__FREE:
        return unpack_products(k, strip, code, number);
    default:
        return unpack_half_products(k, strip, code, number, record == MSW__FREE_LOWER);
    }
}

static bool check_record(const walk *k, size_t strip, msw__narrow_record record,
                         const uint32_t *code)
{
    const bool placed = is_lookup(record)
                            ? *code % TABLE_BYTES == 0 &&
                                  *code / TABLE_BYTES < k->stage->tables
                            : *code % PANEL_BYTES == 0 &&
                                  *code / PANEL_BYTES < k->stage->slices;

    if (!placed)
        return false;
    for (size_t i = 0; k->k->values && i < floats_of(k->w, record); i++)
        if (!msw__finite_bits(code[1 + i]))
            return false;
    return !k->k->unpacker || unpack_record(k, strip, record, code);
}

/* What the cost model counts. */
static void count_records(msw__packing *w, const uint32_t *counts)
{
    for (int r = 0; r < MSW__NARROW_RECORDS; r++) {
        const uint64_t blocks = (r == MSW__LOOKUP || r == MSW__FREE ? 2u : 1u) *
                                (uint64_t)counts[r];

        w->records += counts[r];
        if (is_lookup((msw__narrow_record)r))
            w->lookups += blocks;
        else
            w->products += blocks;
    }
    w->visits++;
}

static const char *check_records(walk *k, size_t strip, const uint32_t *counts)
{
    const msw__packing *w = k->w;
    const bool halves = w->bands == 2 && w->paired;

    for (int r = 0; r < MSW__NARROW_RECORDS; r++) {
        const msw__narrow_record record = (msw__narrow_record)r;
        const size_t words = 1 + floats_of(w, record) + (is_lookup(record) ? INDEX_WORDS : 0);

        if (counts[r] > (w->code_count - k->code) / words ||
            (counts[r] && record >= MSW__LOOKUP_UPPER && !halves))
            return "records beyond its code";
        for (uint32_t i = 0; i < counts[r]; i++, k->code += words)
            if (!check_record(k, strip, record, w->code + k->code))
                return is_lookup(record) ? "a look-up" : "free weights";
    }
    return NULL;
}

static const char *check_strip(walk *k)
{
    const uint32_t *code = k->w->code + k->code;
    size_t number, strip;

    if (k->w->code_count - k->code < MSW__NARROW_HEADER)
        return "a strip beyond its code";
    number = code[0] & MSW__STRIP_MASK;
    if (number >= k->chunk->strip_count || !msw__strip_step(&k->k->strips[number], code[0]))
        return "the order of its strips";
    strip = k->chunk->first_strip + number;
    if (code[1] != first_row(k, strip) || code[2] != strip_rows(k, strip))
        return "the rows of a strip";
    k->code += MSW__NARROW_HEADER;
    count_records(k->w, code + MSW__NARROW_COUNTS);
    return check_records(k, strip, code + MSW__NARROW_COUNTS);
}

/* Stages */

static bool check_units(walk *k)
{
    for (uint32_t i = 0; i < k->stage->slices; i++) {
        const uint32_t *from = unit(k, i);
        const size_t number = unit_number(k, from);

        if (number >= k->unit_count || number < k->next_unit)
            return false;
        for (uint32_t j = 0; j < UNIT_GROUPS; j++) {
            const group g = group_at(k, number * UNIT_GROUPS + j);

            if (!msw__columns_are(k->k, from + j * MSW__GROUP, g.column, g.count,
                                  MSW__GROUP))
                return false;
        }
        k->next_unit = number + 1;
    }
    return true;
}

static bool check_tables(const walk *k)
{
    const msw__stage *s = k->stage;
    const uint16_t *table = k->w->table + s->table;

    for (uint32_t i = 0; i < s->tables; i++)
        if (table[i] >= s->slices || (i && table[i] <= table[i - 1]))
            return false;
    return true;
}

static const char *check_stage(walk *k, const msw__stage *s)
{
    msw__packing *w = k->w;
    const size_t panel = (size_t)PANEL_BYTES * w->width, table = (size_t)TABLE_BYTES * w->width;
    const char *reason = NULL;

    k->stage = s;
    if (s->column != k->column || s->table != k->tables || s->code != k->code ||
        s->reserved || s->slices > (w->column_count - k->column) / MSW__UNIT ||
        s->tables > s->slices || s->tables > w->table_count - k->tables)
        return "a stage";
    if (!check_units(k) || !check_tables(k))
        return "the columns of a stage";
    k->column += (size_t)s->slices * MSW__UNIT;
    k->tables += s->tables;
    if (w->table_bytes < s->tables * table)
        w->table_bytes = s->tables * table;
    if (w->panel_bytes < s->slices * panel)
        w->panel_bytes = s->slices * panel;
    for (uint32_t i = 0; i < s->strips && !reason; i++)
        reason = check_strip(k);
    return reason;
}

static const char *check_chunk(walk *k, const msw__chunk *c, size_t first_strip,
                               size_t stage)
{
    msw__packing *w = k->w;
    const char *reason = NULL;
    size_t sums;

    k->chunk = c;
    k->next_unit = 0;
    if (c->first_strip != first_strip || c->strip_count == 0 ||
        c->strip_count > k->strip_count - first_strip ||
        c->first_row != first_row(k, first_strip) ||
        c->row_count != first_row(k, first_strip + c->strip_count) - c->first_row ||
        c->stage != stage || c->stage_count == 0 ||
        c->stage_count > w->stage_count - stage ||
        !msw__size_mul(&sums, c->strip_count, MSW__LANES * w->width * sizeof(float)))
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

const char *msw__narrow_check(msw__packing *w, const msw__packed_walk *walk_of)
{
    const msw_plan *p = walk_of->plan;
    walk k = {.k = walk_of, .plan = p, .w = w, .parts = parts_of(p),
              .strip_count = strips_of(p, w)};
    const char *reason = NULL;
    size_t strip = 0, stage = 0, groups;

    k.block_groups = p->block_columns < LEAST_TABLE_COLUMNS
                         ? 0 : msw__ceil_div(p->block_columns, MSW__GROUP);
    groups = k.block_groups ? p->block_column_count * k.block_groups
                            : msw__ceil_div(p->columns, MSW__GROUP);
    k.unit_count = msw__ceil_div(groups, UNIT_GROUPS);
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
