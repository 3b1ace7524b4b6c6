/* SPDX-License-Identifier: BSD-2-Clause */
/* The narrow kernel: the same code as the wide one's (../gemm.h), but with the 8 rows of
 * a strip in the lanes of a vector. A table is 16 floats per group and column, looked up
 * in registers. The including file defines
 *
 *   lookup(const float *table, __m256i index)  table[index & 15] in each lane
 *   KERNEL                                     name of the function
 *
 * Panels are 4 columns wide, or 2 or 1 where fewer are left: C says which. Lanes beyond
 * the rows of a strip hold values that nobody reads. */
#include "gemm.h"
#include "transpose.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 64")

enum { LANES = 8, MAX_COLUMNS = 4, MAX_GROUPS = MSW__MAX_SLICE / MSW__GROUP };

/* Places in the code are bytes for panels of full width. */
#define PLACE(C, place) ((place) / (MAX_COLUMNS / (C)))

typedef struct run {
    const msw__wide *w;
    const msw__product *p;
    size_t column;  /* of the panel, */
    size_t width;   /* how many are in use */
    float *tables, *panel, *sums;
} run;

/* Rows of x -> panel buffer */

INLINE void load_panel(const int C, const run *r, const uint32_t *column, size_t count)
{
    const msw__product *p = r->p;
    const float *x = p->x + r->column * p->x_column;
    float *to = r->panel;

    for (size_t i = 0; i < count; i++, to += C) {
        const bool none = column[i] == MSW__NO_COLUMN;
        const float *from = none ? x : x + column[i] * p->x_row;

        UNROLL for (int c = 0; c < C; c++)
            to[c] = none || (size_t)c >= r->width ? 0 : from[(size_t)c * p->x_column];
    }
}

/* Tables: 16 sums of 4 rows, entry e with minus where bit i of e is set. */

INLINE __m256 signs(int bit) /* of bit `bit` in 0 ... 7, as +-1 */
{
    const __m256i e = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i at_sign = _mm256_slli_epi32(e, 31 - bit);
    const __m256 sign = _mm256_and_ps(_mm256_castsi256_ps(at_sign), _mm256_set1_ps(-0.0f));

    return _mm256_or_ps(sign, _mm256_set1_ps(1));
}

INLINE void build_table(const int C, float *t, const float *x, uint32_t rows)
{
    UNROLL for (int c = 0; c < C; c++, x++, t += MSW__ENTRIES) {
        __m256 sum = _mm256_mul_ps(signs(0), _mm256_set1_ps(x[0]));
        const __m256 x3 = rows > 3 ? _mm256_set1_ps(x[3 * C]) : _mm256_setzero_ps();

        if (rows > 1)
            sum = _mm256_fmadd_ps(signs(1), _mm256_set1_ps(x[C]), sum);
        if (rows > 2)
            sum = _mm256_fmadd_ps(signs(2), _mm256_set1_ps(x[2 * C]), sum);
        _mm256_store_ps(t, _mm256_add_ps(sum, x3));
        _mm256_store_ps(t + 8, _mm256_sub_ps(sum, x3));
    }
}

INLINE void build_tables(const int C, const run *r, const msw__stage *s)
{
    const msw__wide *w = r->w;
    float *t = r->tables;

    for (uint32_t i = 0; i < s->tables; i++) {
        const float *x = r->panel + (size_t)w->table[s->table + i] * w->columns * C;

        for (uint32_t g = 0; g < w->groups; g++) {
            build_table(C, t, x, w->columns - g * MSW__GROUP);
            t += MSW__ENTRIES * C;
            x += MSW__GROUP * C;
        }
    }
}

/* Strips */

INLINE const uint32_t *table_record(const int C, const run *r, const uint32_t *code,
                                    uint32_t groups, __m256 *sum)
{
    const __m256i nibbles = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256 m = _mm256_broadcast_ss((const float *)(const void *)code);
    const float *t = (const float *)(const void *)((const char *)r->tables +
                                                   PLACE(C, code[1]));
    __m256i index = _mm256_srlv_epi32(_mm256_set1_epi32((int)code[2]), nibbles);
    __m256 found[MAX_COLUMNS];

    UNROLL for (int c = 0; c < C; c++)
        found[c] = lookup(t + c * MSW__ENTRIES, index);
    code += 3;
    UNROLL for (uint32_t g = 1; g < MAX_GROUPS; g++)
        if (g < groups) {
            t += MSW__ENTRIES * C;
            index = _mm256_srlv_epi32(_mm256_set1_epi32((int)*code++), nibbles);
            UNROLL for (int c = 0; c < C; c++)
                found[c] = _mm256_add_ps(found[c], lookup(t + c * MSW__ENTRIES, index));
        }
    UNROLL for (int c = 0; c < C; c++)
        sum[c] = _mm256_fmadd_ps(m, found[c], sum[c]);
    return code;
}

/* One column of weights. */
INLINE void add_products(const int C, const uint32_t *code, const float *x, __m256 *sum)
{
    const __m256 f = _mm256_loadu_ps((const float *)(const void *)code);

    UNROLL for (int c = 0; c < C; c++)
        sum[c] = _mm256_fmadd_ps(f, _mm256_set1_ps(x[c]), sum[c]);
}

INLINE const uint32_t *free_record(const int C, const run *r, const uint32_t *code,
                                   uint32_t columns, uint32_t height, __m256 *even,
                                   __m256 *odd)
{
    const float *x = (const float *)(const void *)((const char *)r->panel +
                                                   PLACE(C, *code));

    code++;
    for (; columns > 1; columns -= 2, code += 2 * height, x += 2 * C) {
        add_products(C, code, x, even);
        add_products(C, code + height, x + C, odd);
    }
    if (columns) {
        add_products(C, code, x, even);
        code += height;
    }
    return code;
}

/* One column of a finished strip; rows of y anywhere. */
static void store_apart(const msw__product *p, float *y, uint32_t row, uint32_t rows,
                        __m256 value)
{
    float v[LANES];

    _mm256_storeu_ps(v, value);
    for (uint32_t i = 0; i < rows; i++) {
        float *to = y + (p->rows ? p->rows[row + i] : row + i) * p->y_row;
        const float sum = p->beta ? v[i] + *to : v[i];
        const float least = sum < p->low ? p->low : sum;
        *to = least > p->high ? p->high : least;
    }
}

INLINE void store_strip(const int C, const run *r, uint32_t row, uint32_t rows,
                        const __m256 *sum)
{
    const msw__product *p = r->p;
    const __m256 low = _mm256_set1_ps(p->low), high = _mm256_set1_ps(p->high);
    const __m256 bias = _mm256_loadu_ps(p->bias + row);
    const __m256i use = first_lanes(rows);

    UNROLL for (int c = 0; c < C; c++) {
        float *y = p->y + (r->column + (size_t)c) * p->y_column;
        __m256 value = _mm256_add_ps(sum[c], bias);

        if ((size_t)c >= r->width)
            return;
        if (p->y_row != 1 || p->rows) {
            store_apart(p, y, row, rows, value);
            continue;
        }
        if (p->beta)
            value = _mm256_add_ps(value, _mm256_maskload_ps(y + row, use));
        value = _mm256_min_ps(high, _mm256_max_ps(low, value));
        _mm256_maskstore_ps(y + row, use, value);
    }
}

/* G groups in a slice; 0: any number. */
INLINE void run_strips(const int C, const uint32_t G, const run *r, const msw__stage *s)
{
    const uint32_t groups = G ? G : r->w->groups, columns = r->w->columns;
    const uint32_t height = r->w->strip_rows;
    const uint32_t *code = r->w->code + s->code;

    for (uint32_t n = s->strips; n; n--) {
        const uint32_t head = code[0], row = code[1], counts = code[2];
        float *sums = r->sums + (size_t)(head & MSW__STRIP_MASK) * LANES * C;
        uint32_t k = counts & 0xfff;
        __m256 sum[MAX_COLUMNS], odd[MAX_COLUMNS]; /* two chains of additions */

        code += MSW__HEADER_WORDS;
        UNROLL for (int c = 0; c < C; c++) {
            sum[c] = head & MSW__STRIP_FIRST ? _mm256_setzero_ps()
                                             : _mm256_load_ps(sums + c * LANES);
            odd[c] = _mm256_setzero_ps();
        }
        for (; k > 1; k -= 2) {
            code = table_record(C, r, code, groups, sum);
            code = table_record(C, r, code, groups, odd);
        }
        if (k)
            code = table_record(C, r, code, groups, sum);
        for (k = counts >> 12 & 0xfff; k; k--)
            code = free_record(C, r, code, columns, height, sum, odd);
        UNROLL for (int c = 0; c < C; c++)
            sum[c] = _mm256_add_ps(sum[c], odd[c]);
        if (head & MSW__STRIP_LAST)
            store_strip(C, r, row, counts >> 24, sum);
        else
            UNROLL for (int c = 0; c < C; c++)
                _mm256_store_ps(sums + c * LANES, sum[c]);
    }
}

INLINE void run_chunk(const int C, const run *r, const msw__chunk *chunk)
{
    for (size_t i = 0; i < chunk->stage_count; i++) {
        const msw__stage *s = &r->w->stages[chunk->stage + i];

        load_panel(C, r, r->w->column + s->column, (size_t)s->slices * r->w->columns);
        build_tables(C, r, s);
        if (r->w->groups == 1)
            run_strips(C, 1, r, s);
        else if (r->w->groups == 2)
            run_strips(C, 2, r, s);
        else
            run_strips(C, 0, r, s);
    }
}

void KERNEL(const msw__wide *w, size_t chunk, const msw__product *p, size_t column,
            char *slab)
{
    const size_t left = p->n - column;
    const run r = {
        .w = w, .p = p, .column = column,
        .width = left < MAX_COLUMNS ? left : MAX_COLUMNS,
        .tables = (float *)(void *)slab,
        .panel = (float *)(void *)(slab + w->table_bytes),
        .sums = (float *)(void *)(slab + w->table_bytes + w->panel_bytes)};

    if (r.width == 1)
        run_chunk(1, &r, &w->chunks[chunk]);
    else if (r.width == 2)
        run_chunk(2, &r, &w->chunks[chunk]);
    else
        run_chunk(4, &r, &w->chunks[chunk]);
}
