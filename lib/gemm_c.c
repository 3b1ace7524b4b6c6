/* SPDX-License-Identifier: BSD-2-Clause */
/* The wide kernel in portable C: the reference of all others. */
#include "gemm.h"
#if defined(__x86_64__)
#include "x86/gemm.h"
#endif

#include <string.h>

enum { WIDTH = 16, GROUP_FLOATS = MSW__ENTRIES * WIDTH };

/* Fitted as those of the vector kernels (x86/gemm.c). */
static const msw__gemm_traits wide_traits = {
    .width = WIDTH, .strip_rows = MSW__WIDE_STRIP, .table_rows = 30,
    .stage_bytes = 24 << 10,
    .cost = {{.lookup = 9.3, .product = 9.1, .record = 1, .visit = 1.4, .build = 790,
              .load = 15, .store = 17},
             {.lookup = 9.2, .product = 9.1, .record = 1, .visit = 2.4, .build = 790,
              .load = 8, .store = 9},
             {.lookup = 9.2, .product = 9.1, .record = 1, .visit = 2.4, .build = 790,
              .load = 8, .store = 9}}};
static const msw__gemm_traits narrow_traits = {
    .width = 4, .table_rows = UINT32_MAX,
    .cost = {{.product = 105, .store = 8},
             {.product = 80, .store = 6},
             {.product = 68, .visit = 5, .store = 3}}};

typedef struct run {
    const msw__packing *w;
    const msw__product *p;
    size_t column, width; /* of the panel, width in use */
    float *tables, *panel, *sums;
} run;

/* Row `row` of X, from the first column of the panel on. */
static void load_row(float *to, const run *r, uint32_t row)
{
    const msw__product *p = r->p;
    const msw__gather *g = p->gather;

    for (size_t j = 0; j < r->width; j++)
        to[j] = g ? g->x[g->row[row] + msw__gather_column(g, r->column + j)]
                  : p->x[row * p->x_row + (r->column + j) * p->x_column];
}

static void load_panel(const run *r, const msw__stage *s)
{
    const uint32_t *column = r->w->column + s->column;

    for (size_t i = 0; i < (size_t)s->slices * r->w->columns; i++) {
        float *to = r->panel + i * WIDTH;

        memset(to, 0, WIDTH * sizeof *to);
        if (column[i] != MSW__NO_COLUMN)
            load_row(to, r, column[i]);
    }
}

/* All signed sums of `rows` rows of the panel. */
static void build_table(float *table, const float *x, uint32_t rows)
{
    memset(table, 0, GROUP_FLOATS * sizeof *table);
    for (uint32_t e = 0; e < MSW__ENTRIES; e++)
        for (uint32_t b = 0; b < rows; b++)
            for (uint32_t j = 0; j < WIDTH; j++)
                table[e * WIDTH + j] += e >> b & 1 ? -x[b * WIDTH + j] : x[b * WIDTH + j];
}

static void build_tables(const run *r, const msw__stage *s)
{
    const msw__packing *w = r->w;
    float *table = r->tables;

    for (uint32_t i = 0; i < s->tables; i++)
        for (uint32_t g = 0; g < w->groups; g++, table += GROUP_FLOATS) {
            const size_t slice = w->table[s->table + i] & MSW__SLICE_MASK;
            const uint32_t row = g * MSW__GROUP, left = w->columns - row;
            build_table(table, r->panel + (slice * w->columns + row) * WIDTH,
                        left < MSW__GROUP ? left : MSW__GROUP);
        }
}

static float magnitude(const uint32_t *code)
{
    float f;

    memcpy(&f, code, sizeof f);
    return f;
}

/* @p full: the record has no place, because the strip has one for each table. */
static const uint32_t *table_record(const run *r, const uint32_t *code, bool full,
                                    uint32_t number, float *sums)
{
    const float m = magnitude(code++);
    const float *table = r->tables + (full ? number * r->w->groups * GROUP_FLOATS
                                           : *code++ / sizeof *table);

    for (uint32_t g = 0; g < r->w->groups; g++, table += GROUP_FLOATS) {
        const uint32_t word = *code++;

        for (uint32_t i = 0; i < r->w->strip_rows; i++) {
            const float *entry = table + (word >> (4 * i) & 15) * WIDTH;
            for (uint32_t j = 0; j < WIDTH; j++)
                sums[i * WIDTH + j] += m * entry[j];
        }
    }
    return code;
}

static const uint32_t *free_record(const run *r, const uint32_t *code, float *sums)
{
    const float *x = r->panel + *code++ / sizeof *x;

    for (uint32_t c = 0; c < r->w->columns; c++, x += WIDTH)
        for (uint32_t i = 0; i < r->w->strip_rows; i++) {
            const float f = magnitude(code++);
            for (uint32_t j = 0; j < WIDTH; j++)
                sums[i * WIDTH + j] += f * x[j];
        }
    return code;
}

/* Comparisons such that NaN stays. */
static float clamp(float v, float low, float high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}

static void store(const run *r, const float *sums, uint32_t first_row, uint32_t rows)
{
    const msw__product *p = r->p;

    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t row = first_row + i;
        float *y = p->y + (p->rows ? p->rows[row] : row) * p->y_row;

        for (size_t j = 0; j < r->width; j++) {
            float *to = y + (r->column + j) * p->y_column;
            const float v = sums[i * WIDTH + j] + p->bias[row];
            *to = clamp(p->beta ? v + *to : v, p->low, p->high);
        }
    }
}

static void run_strips(const run *r, const msw__stage *s)
{
    const size_t size = (size_t)r->w->strip_rows * WIDTH;
    const uint32_t *code = r->w->code + s->code;

    for (uint32_t i = 0; i < s->strips; i++) {
        const uint32_t head = code[0], row = code[1], counts = code[2];
        float *sums = r->sums + (head & MSW__STRIP_MASK) * size;

        code += MSW__WIDE_HEADER;
        if (head & MSW__STRIP_FIRST)
            memset(sums, 0, size * sizeof *sums);
        for (uint32_t n = 0; n < (counts & 0xfff); n++)
            code = table_record(r, code, (counts & 0xfff) == s->tables, n, sums);
        for (uint32_t n = counts >> 12 & 0xfff; n; n--)
            code = free_record(r, code, sums);
        if (head & MSW__STRIP_LAST)
            store(r, sums, row, counts >> 24);
    }
}

void msw__wide_c(const msw__packing *w, size_t chunk, const msw__product *p, size_t column,
                 char *slab)
{
    const msw__chunk *c = &w->chunks[chunk];
    const size_t left = p->n - column;
    const run r = {w, p, column, left < WIDTH ? left : WIDTH, (float *)(void *)slab,
                   (float *)(void *)(slab + w->table_bytes),
                   (float *)(void *)(slab + w->table_bytes + w->panel_bytes)};

    for (size_t i = 0; i < c->stage_count; i++) {
        const msw__stage *s = &w->stages[c->stage + i];

        load_panel(&r, s);
        build_tables(&r, s);
        run_strips(&r, s);
    }
}

void msw__gemm_table_init(msw__gemm_table *t, uint32_t cpu)
{
    *t = (msw__gemm_table){.kernel = {msw__wide_c, msw__narrow_c},
                           .traits = {&wide_traits, &narrow_traits}};
#if defined(__x86_64__)
    msw__gemm_table_init_x86(t, cpu);
#endif
    (void)cpu;
}
