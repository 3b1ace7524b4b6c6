/* SPDX-License-Identifier: BSD-2-Clause */
/* Is it a narrow packing (gemm.h), and of which weights? Everything that a kernel takes
 * for granted is checked, whatever the checksums say. */
#include "packed.h"
#include "packing.h"

enum { UNIT_GROUPS = MSW__UNIT_GROUPS, LANES = MSW__NARROW_LANES };
enum { LEAST_TABLE_COLUMNS = 3 }; /* as in pack_narrow.c */

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
    return msw__ceil_div(p->block_rows, LANES);
}

void msw__narrow_geometry(msw__packing *w, const msw_plan *p)
{
    const size_t groups = p->block_columns < LEAST_TABLE_COLUMNS
                              ? 0 : msw__ceil_div(p->block_columns, MSW__GROUP);

    w->bands = LANES;
    while (w->bands * p->block_rows > LANES && w->bands > 1)
        w->bands /= 2;
    w->strip_rows = w->bands == 1 ? msw__ceil_div(p->block_rows, parts_of(p))
                                  : w->bands * p->block_rows;
    for (uint32_t i = 0; i < w->strip_rows; i++)
        w->lane[i] = w->bands == 1 ? i
                                   : i / p->block_rows + w->bands * (i % p->block_rows);
    w->span = w->bands > 1 ? w->strip_rows : p->block_rows;
    w->paired = groups && groups % UNIT_GROUPS == 0;
    w->in_order = !p->column_permutation;
    w->columns = MSW__UNIT;
    w->groups = UNIT_GROUPS;
    w->panel_bytes = msw__narrow_panel_bytes(w->width);
}

static size_t strips_of(const msw_plan *p, const msw__packing *w)
{
    if (w->bands > 1)
        return msw__ceil_div(p->block_row_count, w->bands);
    return (p->block_row_count - 1) * parts_of(p) +
           msw__ceil_div(msw__plan_rows(p, p->block_row_count - 1), w->strip_rows);
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

static size_t magnitude_words(const msw__packing *w)
{
    return (size_t)w->bands * (w->paired ? 1 : UNIT_GROUPS);
}

static uint32_t magnitude_of(const msw__packing *w, const uint32_t *magnitudes, uint32_t g,
                             uint32_t lane)
{
    return magnitudes[(w->paired ? 0 : g * w->bands) + lane % w->bands];
}

static size_t number_of(const walk *k, uint32_t u)
{
    return unit_number(k, unit(k, u));
}

/* A unit that there is not has no magnitudes. */
static bool unpack_quad(const walk *k, size_t strip, const uint32_t *code,
                        const uint32_t *magnitudes)
{
    const uint8_t *index = (const uint8_t *)code;

    for (uint32_t i = 0; i < MSW__QUAD_INDEX * MSW__UNITS; i++) {
        const uint32_t u = i % MSW__UNITS, lane = i / MSW__UNITS % LANES;
        const uint32_t g = i / MSW__UNITS / LANES;
        const uint32_t magnitude = magnitude_of(k->w, magnitudes + u * magnitude_words(k->w),
                                                g, lane);
        const bool there = u < k->stage->slices;

        if (index[i] >> 4 != g || (!there && (magnitude || index[i] & 15)))
            return false;
        if (there && !unpack_lookup(k, strip, lane, number_of(k, u) * UNIT_GROUPS + g,
                                    magnitude, index[i] & 15))
            return false;
    }
    return true;
}

static bool unpack_lookups(const walk *k, size_t strip, const uint32_t *code,
                           const uint32_t *magnitudes, uint32_t u)
{
    const uint8_t *index = (const uint8_t *)code;

    for (uint32_t l = 0; l < LANES; l++)
        for (uint32_t g = 0; g < UNIT_GROUPS; g++)
            if (!unpack_lookup(k, strip, l, number_of(k, u) * UNIT_GROUPS + g,
                               magnitude_of(k->w, magnitudes, g, l), index[l] >> 4 * g & 15))
                return false;
    return true;
}

static bool unpack_products(const walk *k, size_t strip, const uint32_t *code, uint32_t u)
{
    for (uint32_t c = 0; c < MSW__UNIT; c++)
        for (uint32_t l = 0; l < LANES; l++)
            if (!unpack_product(k, strip, l, number_of(k, u) * UNIT_GROUPS + c / MSW__GROUP,
                                c % MSW__GROUP, *code++))
                return false;
    return true;
}

/* The next words of the code; NULL: there are not so many. */
static const uint32_t *take(walk *k, size_t count, size_t words)
{
    const uint32_t *code = k->w->code + k->code;

    if (count > (k->w->code_count - k->code) / words)
        return NULL;
    k->code += count * words;
    return code;
}

static const uint32_t *take_strips(walk *k, uint32_t count)
{
    const uint32_t *strips = take(k, count, 1);

    for (uint32_t i = 0; strips && i < count; i++)
        if (strips[i] >= k->chunk->strip_count || (i && strips[i] <= strips[i - 1]))
            return NULL;
    k->w->records += count;
    return strips;
}

static bool skip_to_line(walk *k)
{
    const size_t words = msw__narrow_align(k->code) - k->code;
    const uint32_t *zeros = take(k, words, 1);

    for (size_t i = 0; zeros && i < words; i++)
        if (zeros[i])
            return false;
    return zeros;
}

static bool finite(const walk *k, const uint32_t *bits, size_t count)
{
    for (size_t i = 0; k->k->values && i < count; i++)
        if (!msw__finite_bits(bits[i]))
            return false;
    return true;
}

static bool check_quads(walk *k, uint32_t count)
{
    const size_t words = MSW__UNITS * magnitude_words(k->w);
    const uint32_t *strips = take_strips(k, count), *code, *magnitudes;

    if (!strips || (count && !skip_to_line(k)))
        return false;
    code = take(k, count, MSW__QUAD_INDEX);
    magnitudes = code ? take(k, count, words) : NULL;
    if (!magnitudes || !finite(k, magnitudes, count * words))
        return false;
    k->w->lookups += (uint64_t)count * MSW__UNITS;
    for (uint32_t i = 0; k->k->unpacker && i < count; i++)
        if (!unpack_quad(k, (size_t)k->chunk->first_strip + strips[i],
                         code + (size_t)i * MSW__QUAD_INDEX, magnitudes + i * words))
            return false;
    return true;
}

static bool check_lookups(walk *k, uint32_t u, uint32_t count)
{
    const size_t words = magnitude_words(k->w);
    const uint32_t *strips = take_strips(k, count), *code, *magnitudes;

    magnitudes = strips ? take(k, count, words) : NULL;
    code = magnitudes ? take(k, count, MSW__LOOKUP_INDEX) : NULL;
    if (!code || !finite(k, magnitudes, count * words))
        return false;
    k->w->lookups += count;
    for (uint32_t i = 0; k->k->unpacker && i < count; i++)
        if (!unpack_lookups(k, (size_t)k->chunk->first_strip + strips[i],
                            code + (size_t)i * MSW__LOOKUP_INDEX, magnitudes + i * words, u))
            return false;
    return true;
}

static bool check_products(walk *k, uint32_t u, uint32_t count)
{
    const uint32_t *strips = take_strips(k, count), *code;

    if (!strips || (count && !skip_to_line(k)))
        return false;
    code = take(k, count, MSW__FREE_WEIGHTS);
    if (!code || !finite(k, code, (size_t)count * MSW__FREE_WEIGHTS))
        return false;
    k->w->products += count;
    for (uint32_t i = 0; k->k->unpacker && i < count; i++)
        if (!unpack_products(k, (size_t)k->chunk->first_strip + strips[i],
                             code + (size_t)i * MSW__FREE_WEIGHTS, u))
            return false;
    return true;
}

static const char *check_code(walk *k)
{
    const uint32_t *header = take(k, 1, MSW__NARROW_HEADER);

    if (!header)
        return "a stage beyond its code";
    for (uint32_t u = k->stage->slices; u < MSW__UNITS; u++)
        if (header[MSW__LOOKUPS_OF + u] || header[MSW__FREE_OF + u])
            return "records of no unit";
    if (!check_quads(k, header[MSW__QUADS]))
        return "look-ups of several units";
    for (uint32_t u = 0; u < k->stage->slices; u++) {
        if (!check_lookups(k, u, header[MSW__LOOKUPS_OF + u]))
            return "look-ups";
        if (!check_products(k, u, header[MSW__FREE_OF + u]))
            return "free weights";
    }
    k->w->visits++;
    return NULL;
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
    const msw__packing *w = k->w;

    k->stage = s;
    if (s->column != k->column || s->table != k->tables || s->code != k->code ||
        s->strips || s->finished || s->slices > MSW__UNITS ||
        s->slices > (w->column_count - k->column) / MSW__UNIT ||
        s->tables > s->slices || s->tables > w->table_count - k->tables)
        return "a stage";
    if (!check_units(k) || !check_tables(k))
        return "the columns of a stage";
    k->column += (size_t)s->slices * MSW__UNIT;
    k->tables += s->tables;
    return check_code(k);
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
        !msw__size_mul(&sums, msw__narrow_sum_lanes(c->strip_count, LANES),
                       w->width * sizeof(float)))
        return "a chunk";
    for (size_t i = 0; i < c->stage_count && !reason; i++)
        reason = check_stage(k, &w->stages[stage + i]);
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
    if (reason)
        return reason;
    return strip != k.strip_count || stage != w->stage_count ||
                   k.column != w->column_count || k.tables != w->table_count ||
                   k.code != w->code_count ? "what is left over" : NULL;
}
