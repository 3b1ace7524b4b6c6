/* SPDX-License-Identifier: BSD-2-Clause */
/* The narrow packing (gemm.h) in portable C: the reference of all others. It adds signed
 * elements of X, so that it needs no tables. */
#include "gemm.h"

#include <string.h>

enum { MAX_COLUMNS = 4 };

msw__narrow_run msw__narrow_begin(const msw__packing *w, size_t chunk, const msw__product *p,
                                  size_t column, size_t columns, size_t lanes, char *slab)
{
    const size_t left = p->n - column;
    const msw__narrow_run r = {
        .w = w, .chunk = &w->chunks[chunk], .p = p, .column = column,
        .width = left < columns ? left : columns, .columns = columns, .lanes = lanes,
        .next = msw__narrow_sum_lanes(w->chunks[chunk].strip_count, lanes),
        .panel = (float *)(void *)slab,
        .sums = (float *)(void *)(slab + w->panel_bytes)};

    memset(r.sums, 0, columns * r.next * sizeof *r.sums);
    return r;
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

/* Records add to the sums of their strip. x is the unit in the panel buffer. */

static float *sums_of(const msw__narrow_run *r, uint32_t strip)
{
    return r->sums + strip * r->lanes;
}

/* One row and group. */
static void add_lookup(const msw__narrow_run *r, float magnitude, uint32_t index,
                       const float *x, float *sums)
{
    for (size_t c = 0; magnitude != 0 && c < r->columns; c++)
        sums[c * r->next] += magnitude * looked_up(x + c * MSW__UNIT, index);
}

static size_t magnitude_words(const msw__packing *w)
{
    return (size_t)w->bands * (w->paired ? 1 : MSW__UNIT_GROUPS);
}

static float magnitude_at(const msw__packing *w, const uint32_t *magnitudes, uint32_t group,
                          uint32_t lane)
{
    return float_at(magnitudes + (w->paired ? 0 : group * w->bands) + lane % w->bands);
}

static void add_quad(const msw__narrow_run *r, const uint32_t *code,
                     const uint32_t *magnitudes, uint32_t units, float *sums)
{
    const uint8_t *index = (const uint8_t *)code;

    for (uint32_t u = 0; u < units; u++, magnitudes += magnitude_words(r->w))
        for (uint32_t g = 0; g < MSW__UNIT_GROUPS; g++)
            for (uint32_t l = 0; l < MSW__NARROW_LANES; l++)
                add_lookup(r, magnitude_at(r->w, magnitudes, g, l),
                           index[(g * MSW__NARROW_LANES + l) * MSW__UNITS + u],
                           r->panel + u * MSW__UNIT * r->columns + g * MSW__GROUP, sums + l);
}

static void look_up(const msw__narrow_run *r, const uint32_t *code,
                    const uint32_t *magnitudes, const float *x, float *sums)
{
    const uint8_t *index = (const uint8_t *)code;

    for (uint32_t g = 0; g < MSW__UNIT_GROUPS; g++)
        for (uint32_t l = 0; l < MSW__NARROW_LANES; l++)
            add_lookup(r, magnitude_at(r->w, magnitudes, g, l), index[l] >> 4 * g,
                       x + g * MSW__GROUP, sums + l);
}

static void multiply(const msw__narrow_run *r, const uint32_t *code, const float *x,
                     float *sums)
{
    for (uint32_t i = 0; i < MSW__UNIT; i++)
        for (uint32_t l = 0; l < MSW__NARROW_LANES; l++) {
            const float m = float_at(code++);

            for (size_t c = 0; m != 0 && c < r->columns; c++)
                sums[c * r->next + l] += m * x[c * MSW__UNIT + i];
        }
}

/* Of all strips; each returns what follows. */

static const uint32_t *aligned(const msw__narrow_run *r, const uint32_t *code)
{
    return r->w->code + msw__narrow_align((size_t)(code - r->w->code));
}

static const uint32_t *add_quads(const msw__narrow_run *r, const uint32_t *strips,
                                 uint32_t n, uint32_t units)
{
    const size_t words = MSW__UNITS * magnitude_words(r->w);
    const uint32_t *index = aligned(r, strips + n);
    const uint32_t *magnitudes = index + (size_t)n * MSW__QUAD_INDEX;

    for (uint32_t i = 0; i < n; i++, index += MSW__QUAD_INDEX, magnitudes += words)
        add_quad(r, index, magnitudes, units, sums_of(r, strips[i]));
    return magnitudes;
}

static const uint32_t *look_all_up(const msw__narrow_run *r, const uint32_t *strips,
                                   uint32_t n, const float *x)
{
    const size_t words = magnitude_words(r->w);
    const uint32_t *magnitudes = strips + n, *index = magnitudes + n * words;

    for (uint32_t i = 0; i < n; i++, index += MSW__LOOKUP_INDEX, magnitudes += words)
        look_up(r, index, magnitudes, x, sums_of(r, strips[i]));
    return index;
}

static const uint32_t *multiply_all(const msw__narrow_run *r, const uint32_t *strips,
                                    uint32_t n, const float *x)
{
    const uint32_t *weights = aligned(r, strips + n);

    for (uint32_t i = 0; i < n; i++, weights += MSW__FREE_WEIGHTS)
        multiply(r, weights, x, sums_of(r, strips[i]));
    return weights;
}

void msw__narrow_stage_c(const msw__narrow_run *r, const msw__stage *s)
{
    const size_t unit = MSW__UNIT * r->columns;
    const uint32_t *header = r->w->code + s->code, *code = header + MSW__NARROW_HEADER;

    if (header[MSW__QUADS])
        code = add_quads(r, code, header[MSW__QUADS], s->slices);
    for (uint32_t u = 0; u < s->slices; u++) {
        code = look_all_up(r, code, header[MSW__LOOKUPS_OF + u], r->panel + u * unit);
        if (header[MSW__FREE_OF + u])
            code = multiply_all(r, code, header[MSW__FREE_OF + u], r->panel + u * unit);
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
            const float v = sums[c * r->next + r->w->lane[i]] + p->bias[at];
            *to = clamp(p->beta ? v + *to : v, p->low, p->high);
        }
    }
}

void msw__narrow_c(const msw__packing *w, size_t chunk, const msw__product *p, size_t column,
                   char *slab)
{
    const size_t left = p->n - column;
    const size_t columns = left < MAX_COLUMNS ? left : MAX_COLUMNS;
    const msw__narrow_run r = msw__narrow_begin(w, chunk, p, column, columns,
                                                MSW__NARROW_LANES, slab);
    const msw__chunk *c = r.chunk;
    uint32_t row = (uint32_t)c->first_row;

    for (size_t i = 0; i < c->stage_count; i++) {
        const msw__stage *s = &w->stages[c->stage + i];

        for (uint32_t u = 0; u < s->slices; u++)
            load_unit(&r, w->column + s->column + (size_t)u * MSW__UNIT,
                      r.panel + (size_t)u * MSW__UNIT * columns);
        msw__narrow_stage_c(&r, s);
    }
    for (uint32_t i = 0; i < c->strip_count; i++) {
        const uint32_t rows = msw__narrow_rows(w, c, row);

        msw__narrow_store(&r, row, rows, sums_of(&r, i));
        row += rows;
    }
}
