/* SPDX-License-Identifier: BSD-2-Clause */
/* The narrow packing (gemm.h) in portable C: the reference of all others. It adds signed
 * elements of X, so that it needs no tables. */
#include "gemm.h"

#include <string.h>

enum { MAX_COLUMNS = 4, HALF_ROWS = 8, UNIT_GROUPS = 2 };

msw__narrow_run msw__narrow_begin(const msw__packing *w, const msw__product *p,
                                  size_t column, size_t columns, char *slab)
{
    const size_t left = p->n - column;

    return (msw__narrow_run){
        .w = w, .p = p, .column = column, .width = left < columns ? left : columns,
        .columns = columns, .tables = (float *)(void *)slab,
        .panel = (float *)(void *)(slab + w->table_bytes),
        .sums = (float *)(void *)(slab + w->table_bytes + w->panel_bytes)};
}

/* The rows of X for one unit, into its place in the panel buffer. */
static void load_unit(const msw__narrow_run *r, const uint32_t *column, float *to)
{
    const msw__product *p = r->p;

    memset(to, 0, r->columns * MSW__UNIT * sizeof *to);
    for (size_t i = 0; i < MSW__UNIT; i++)
        for (size_t c = 0; column[i] != MSW__NO_COLUMN && c < r->width; c++)
            to[c * MSW__UNIT + i] =
                p->x[column[i] * p->x_row + (r->column + c) * p->x_column];
}

static float float_at(const uint32_t *code)
{
    float f;

    memcpy(&f, code, sizeof f);
    return f;
}

/* A signed sum of 4. */
static float looked_up(const float *x, uint32_t index)
{
    float sum = 0;

    for (uint32_t i = 0; i < MSW__GROUP; i++)
        sum += index >> i & 1 ? -x[i] : x[i];
    return sum;
}

/* Records add to sums, 16 lanes for each column. x is the unit in the panel buffer. */

static void look_up(const msw__narrow_run *r, const uint32_t *code, const float *x,
                    float *sums)
{
    const uint32_t bands = r->w->bands, sets = r->w->paired ? 1 : UNIT_GROUPS;
    const uint8_t *index = (const uint8_t *)(code + 1 + sets * bands);

    for (uint32_t l = 0; l < MSW__LANES; l++)
        for (uint32_t g = 0; g < UNIT_GROUPS; g++) {
            const float m = float_at(code + 1 + (sets - 1) * g * bands + l % bands);

            for (size_t c = 0; m != 0 && c < r->columns; c++)
                sums[c * MSW__LANES + l] +=
                    m * looked_up(x + c * MSW__UNIT + g * MSW__GROUP, index[l] >> 4 * g);
        }
}

static void look_up_half(const msw__narrow_run *r, const uint32_t *code, const float *x,
                         uint32_t band, float *sums)
{
    const uint8_t *index = (const uint8_t *)(code + 2);
    const float m = float_at(code + 1);

    for (uint32_t g = 0; g < UNIT_GROUPS; g++)
        for (uint32_t i = 0; i < HALF_ROWS; i++)
            for (size_t c = 0; c < r->columns; c++)
                sums[c * MSW__LANES + band + 2 * i] +=
                    m * looked_up(x + c * MSW__UNIT + g * MSW__GROUP,
                                  index[g * HALF_ROWS + i]);
}

static void multiply(const msw__narrow_run *r, const uint32_t *code, const float *x,
                     float *sums)
{
    for (uint32_t i = 0; i < MSW__UNIT; i++)
        for (uint32_t l = 0; l < MSW__LANES; l++) {
            const float m = float_at(code + 1 + i * MSW__LANES + l);

            for (size_t c = 0; m != 0 && c < r->columns; c++)
                sums[c * MSW__LANES + l] += m * x[c * MSW__UNIT + i];
        }
}

static void multiply_half(const msw__narrow_run *r, const uint32_t *code, const float *x,
                          uint32_t band, float *sums)
{
    code++;
    for (uint32_t i = 0; i < MSW__GROUP; i++)
        for (uint32_t g = 0; g < UNIT_GROUPS; g++)
            for (uint32_t j = 0; j < HALF_ROWS; j++) {
                const float m = float_at(code++);

                for (size_t c = 0; c < r->columns; c++)
                    sums[c * MSW__LANES + band + 2 * j] +=
                        m * x[c * MSW__UNIT + g * MSW__GROUP + i];
            }
}

static size_t record_words(const msw__packing *w, int record)
{
    const size_t index = MSW__LANES / sizeof(uint32_t);

    switch (record) {
    case MSW__LOOKUP:
        return 1 + (size_t)w->bands * (w->paired ? 1 : UNIT_GROUPS) + index;
    case MSW__LOOKUP_UPPER:
    case MSW__LOOKUP_LOWER:
        return 2 + index;
    case MSW__FREE:
        return 1 + (size_t)MSW__UNIT * MSW__LANES;
    default:
        return 1 + (size_t)MSW__UNIT * HALF_ROWS;
    }
}

/* The unit of a record: places of look-ups count the units that have tables. */
static const float *unit_of(const msw__narrow_run *r, const msw__stage *s, int record,
                            uint32_t place)
{
    const size_t table = place / (UNIT_GROUPS * MSW__ENTRIES * sizeof(float));
    const bool lookup = record == MSW__LOOKUP || record == MSW__LOOKUP_UPPER ||
                        record == MSW__LOOKUP_LOWER;
    const size_t unit = lookup ? r->w->table[s->table + table]
                               : place / (MSW__UNIT * sizeof(float));

    return r->panel + unit * MSW__UNIT * r->columns;
}

static void run_record(const msw__narrow_run *r, const msw__stage *s, int record,
                       const uint32_t *code, float *sums)
{
    const float *x = unit_of(r, s, record, *code);

    switch (record) {
    case MSW__LOOKUP:
        look_up(r, code, x, sums);
        break;
    case MSW__LOOKUP_UPPER:
    case MSW__LOOKUP_LOWER:
        look_up_half(r, code, x, record == MSW__LOOKUP_LOWER, sums);
        break;
    case MSW__FREE:
        multiply(r, code, x, sums);
        break;
    default:
        multiply_half(r, code, x, record == MSW__FREE_LOWER, sums);
    }
}

/* Comparisons such that NaN stays. */
static float clamp(float v, float low, float high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}

void msw__narrow_store(const msw__narrow_run *r, uint32_t row, uint32_t rows,
                       const float *sums)
{
    const msw__product *p = r->p;

    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t at = row + i;
        float *y = p->y + (p->rows ? p->rows[at] : at) * p->y_row;

        for (size_t c = 0; c < r->width; c++) {
            float *to = y + (r->column + c) * p->y_column;
            const float v = sums[c * MSW__LANES + r->w->lane[i]] + p->bias[at];
            *to = clamp(p->beta ? v + *to : v, p->low, p->high);
        }
    }
}

void msw__narrow_stage_c(const msw__narrow_run *r, const msw__stage *s)
{
    const size_t size = MSW__LANES * r->columns;
    const uint32_t *code = r->w->code + s->code;

    for (uint32_t n = s->strips; n; n--) {
        const uint32_t *header = code;
        float *sums = r->sums + (header[0] & MSW__STRIP_MASK) * size;

        code += MSW__NARROW_HEADER;
        if (header[0] & MSW__STRIP_FIRST)
            memset(sums, 0, size * sizeof *sums);
        for (int record = 0; record < MSW__NARROW_RECORDS; record++)
            for (uint32_t i = header[MSW__NARROW_COUNTS + record]; i; i--) {
                run_record(r, s, record, code, sums);
                code += record_words(r->w, record);
            }
        if (header[0] & MSW__STRIP_LAST)
            msw__narrow_store(r, header[1], header[2], sums);
    }
}

void msw__narrow_c(const msw__packing *w, size_t chunk, const msw__product *p, size_t column,
                   char *slab)
{
    const size_t left = p->n - column;
    const size_t columns = left < MAX_COLUMNS ? left : MAX_COLUMNS;
    const msw__narrow_run r = msw__narrow_begin(w, p, column, columns, slab);
    const msw__chunk *c = &w->chunks[chunk];

    for (size_t i = 0; i < c->stage_count; i++) {
        const msw__stage *s = &w->stages[c->stage + i];

        for (uint32_t u = 0; u < s->slices; u++)
            load_unit(&r, w->column + s->column + (size_t)u * MSW__UNIT,
                      r.panel + (size_t)u * MSW__UNIT * columns);
        msw__narrow_stage_c(&r, s);
    }
}
