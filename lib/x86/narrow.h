/* SPDX-License-Identifier: BSD-2-Clause */
/* The narrow kernel (../gemm.h): 16 rows in the lanes of a vector, tables of 16 floats per
 * group and column looked up in registers. The including file defines
 *
 *   vector (16 floats), zero_v, set1_v, load_v, loadu_v, store_v, add_v, mul_v,
 *   fma_v (a * b + c), min_v, max_v (the second where one is NaN)
 *   index_v, load_index(bytes), second_index(index)
 *   lookup(table, index)          table[index & 15] in each lane
 *   lookup_half(table, index)     in the upper 8 lanes of the next table
 *   repeat(bands, p)              lane l: p[l % bands]
 *   spread(x, i)                  x[i] in all lanes, x of 8 floats
 *   spread_pair(x, i)             x[i] in lanes 0 ... 7, x[4 + i] in the others
 *   fold(upper, lower)            rows of two bands from their sums over 8 rows x 2 groups
 *   in_row_order(v, lane)         lane[i] of v in lane i
 *   store_rows(y, rows, v), load_rows(y, rows)   the first rows of y
 *   KERNEL                        name of the function
 *
 * Panels are 4 columns wide, or 2 or 1 where fewer are left: C says which. Lanes beyond the
 * rows of a strip hold values that nobody reads. */
#include "gemm.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { UNIT_GROUPS = 2, MAX_COLUMNS = 4, INDEX_WORDS = MSW__LANES / 4 };
/* From here on sums may overflow, or x is NaN: 2^125. */
enum { HUGE_BITS = (125 + 127) << 23 };

typedef msw__narrow_run run;

/* Rows of x -> panel buffer */

/* 8 rows of 4 columns that lie together. */
static void transpose_unit(float *to, const float *x, size_t x_row)
{
    for (int half = 0; half < 2; half++, x += 4 * x_row, to += 4) {
        __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + x_row);
        __m128 c = _mm_loadu_ps(x + 2 * x_row), d = _mm_loadu_ps(x + 3 * x_row);

        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_store_ps(to, a);
        _mm_store_ps(to + MSW__UNIT, b);
        _mm_store_ps(to + 2 * MSW__UNIT, c);
        _mm_store_ps(to + 3 * MSW__UNIT, d);
    }
}

/* 8 rows of any kind. */
INLINE void gather_unit(const int C, const run *r, const uint32_t *column, float *to)
{
    const msw__product *p = r->p;
    const float *x = p->x + r->column * p->x_column;

    UNROLL for (int i = 0; i < MSW__UNIT; i++) {
        const bool none = column[i] == MSW__NO_COLUMN;
        const float *from = x + (none ? 0 : column[i] * p->x_row);

        UNROLL for (int c = 0; c < C; c++)
            to[c * MSW__UNIT + i] = none || (size_t)c >= r->width
                                        ? 0 : from[(size_t)c * p->x_column];
    }
}

INLINE void load_panel(const int C, const run *r, const msw__stage *s)
{
    const msw__product *p = r->p;
    const float *x = p->x + r->column * p->x_column;
    const uint32_t *column = r->w->column + s->column;
    float *to = r->panel;

    for (uint32_t u = 0; u < s->slices; u++, column += MSW__UNIT, to += MSW__UNIT * C) {
        const bool whole = r->w->in_order && column[7] == column[0] + 7;

        if (whole && p->x_row == 1 && r->width == (size_t)C)
            UNROLL for (int c = 0; c < C; c++)
                _mm256_store_ps(to + c * MSW__UNIT,
                                _mm256_loadu_ps(x + column[0] + (size_t)c * p->x_column));
        else if (C == 4 && whole && p->x_column == 1 && r->width == (size_t)C)
            transpose_unit(to, x + column[0] * p->x_row, p->x_row);
        else
            gather_unit(C, r, column, to);
    }
}

static bool is_huge(const run *r, const msw__stage *s)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    const __m256i limit = _mm256_set1_epi32(HUGE_BITS - 1);
    const float *x = r->panel;
    __m256i any = _mm256_setzero_si256();

    for (size_t i = (size_t)s->slices * r->columns; i; i--, x += MSW__UNIT) {
        const __m256i bits = _mm256_castps_si256(_mm256_load_ps(x));
        any = _mm256_or_si256(any, _mm256_cmpgt_epi32(_mm256_and_si256(bits, magnitude),
                                                      limit));
    }
    return !_mm256_testz_si256(any, any);
}

/* Tables */

static const float signs[MSW__GROUP][MSW__ENTRIES] __attribute__((aligned(64))) = {
    {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
    {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
    {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
    {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
};

/* For each table of a unit, both groups of each column: a unit of column c is at
 * 2 c + g tables from the first. */
INLINE void build_tables(const int C, const run *r, const msw__stage *s)
{
    const vector s0 = load_v(signs[0]), s1 = load_v(signs[1]);
    const vector s2 = load_v(signs[2]), s3 = load_v(signs[3]);
    float *t = r->tables;

    for (uint32_t i = 0; i < s->tables; i++) {
        const float *x = r->panel + (size_t)r->w->table[s->table + i] * MSW__UNIT * C;

        UNROLL for (int g = 0; g < UNIT_GROUPS * C; g++, x += MSW__GROUP) {
            const vector even = fma_v(s1, set1_v(x[1]), mul_v(s0, set1_v(x[0])));
            const vector odd = fma_v(s3, set1_v(x[3]), mul_v(s2, set1_v(x[2])));
            store_v(t, add_v(even, odd));
            t += MSW__ENTRIES;
        }
    }
}

/* Records. Each adds to the sums of C columns and returns what follows it. */

INLINE const float *floats(const void *p)
{
    return p;
}

INLINE const float *table_at(const int C, const run *r, uint32_t place)
{
    return floats((const char *)r->tables + (size_t)place * (size_t)C);
}

INLINE const float *panel_at(const int C, const run *r, uint32_t place)
{
    return floats((const char *)r->panel + (size_t)place * (size_t)C);
}

INLINE const uint32_t *look_up(const int C, const uint32_t BANDS, const bool PAIRED,
                               const run *r, const uint32_t *code, vector *sum)
{
    const float *t = table_at(C, r, code[0]), *magnitudes = floats(code + 1);
    const uint32_t *index = code + 1 + BANDS * (PAIRED ? 1 : UNIT_GROUPS);
    const vector m = repeat(BANDS, magnitudes);
    const index_v first = load_index(index), second = second_index(first);

    UNROLL for (int c = 0; c < C; c++, t += UNIT_GROUPS * MSW__ENTRIES) {
        const vector a = lookup(t, first), b = lookup(t + MSW__ENTRIES, second);

        if (PAIRED) {
            sum[c] = fma_v(m, add_v(a, b), sum[c]);
        } else {
            sum[c] = fma_v(m, a, sum[c]);
            sum[c] = fma_v(repeat(BANDS, magnitudes + BANDS), b, sum[c]);
        }
    }
    return index + INDEX_WORDS;
}

INLINE const uint32_t *look_up_half(const int C, const run *r, const uint32_t *code,
                                    vector *sum)
{
    const float *t = table_at(C, r, code[0]);
    const vector m = set1_v(*floats(code + 1));
    const index_v index = load_index(code + 2);

    UNROLL for (int c = 0; c < C; c++, t += UNIT_GROUPS * MSW__ENTRIES)
        sum[c] = fma_v(m, lookup_half(t, index), sum[c]);
    return code + 2 + INDEX_WORDS;
}

/* Sums of few columns wait for one addition per record only. */
INLINE const uint32_t *multiply(const int C, const run *r, const uint32_t *code, vector *sum)
{
    const float *x = panel_at(C, r, *code++);
    vector own[MAX_COLUMNS];

    UNROLL for (int c = 0; c < C; c++)
        own[c] = C < 4 ? zero_v() : sum[c];
    UNROLL for (int i = 0; i < MSW__UNIT; i++, code += MSW__LANES) {
        const vector w = loadu_v(floats(code));
        UNROLL for (int c = 0; c < C; c++)
            own[c] = fma_v(w, spread(x + c * MSW__UNIT, i), own[c]);
    }
    UNROLL for (int c = 0; c < C; c++)
        sum[c] = C < 4 ? add_v(sum[c], own[c]) : own[c];
    return code;
}

INLINE const uint32_t *multiply_half(const int C, const run *r, const uint32_t *code,
                                     vector *sum)
{
    const float *x = panel_at(C, r, *code++);
    vector own[MAX_COLUMNS];

    UNROLL for (int c = 0; c < C; c++)
        own[c] = C < 4 ? zero_v() : sum[c];
    UNROLL for (int i = 0; i < MSW__GROUP; i++, code += MSW__LANES) {
        const vector w = loadu_v(floats(code));
        UNROLL for (int c = 0; c < C; c++)
            own[c] = fma_v(w, spread_pair(x + c * MSW__UNIT, i), own[c]);
    }
    UNROLL for (int c = 0; c < C; c++)
        sum[c] = C < 4 ? add_v(sum[c], own[c]) : own[c];
    return code;
}

/* n records in two chains of additions, where one would be too slow. */
#define RUN_RECORDS(n, RECORD)                      \
    do {                                            \
        uint32_t left = (n);                        \
                                                    \
        for (; C < 4 && left > 1; left -= 2) {      \
            code = RECORD(sum);                     \
            code = RECORD(other);                   \
        }                                           \
        for (; left; left--)                        \
            code = RECORD(sum);                     \
    } while (0)
#define LOOK_UP(sum) look_up(C, BANDS, PAIRED, r, code, sum)
#define MULTIPLY(sum) multiply(C, r, code, sum)
#define LOOK_UP_HALF(sum) look_up_half(C, r, code, sum)
#define MULTIPLY_HALF(sum) multiply_half(C, r, code, sum)

/* The half records of one band. */
INLINE const uint32_t *run_half(const int C, const run *r, const uint32_t *code,
                                const uint32_t *counts, vector *sum)
{
    vector other[MAX_COLUMNS];

    UNROLL for (int c = 0; c < C; c++)
        sum[c] = other[c] = zero_v();
    RUN_RECORDS(counts[0], LOOK_UP_HALF);
    RUN_RECORDS(counts[1], MULTIPLY_HALF);
    UNROLL for (int c = 0; C < 4 && c < C; c++)
        sum[c] = add_v(sum[c], other[c]);
    return code;
}

/* Strips */

/* 4 columns that lie together, of rows that do not. */
INLINE void store_across(const run *r, uint32_t row, uint32_t rows, const vector *value)
{
    const msw__product *p = r->p;
    float *y = p->y + row * p->y_row + r->column;
    float v[MAX_COLUMNS][MSW__LANES] __attribute__((aligned(64)));

    UNROLL for (int c = 0; c < MAX_COLUMNS; c++)
        store_v(v[c], value[c]);
    for (uint32_t i = 0; i < rows; i += 4) {
        __m128 t[4] = {_mm_load_ps(v[0] + i), _mm_load_ps(v[1] + i), _mm_load_ps(v[2] + i),
                       _mm_load_ps(v[3] + i)};

        _MM_TRANSPOSE4_PS(t[0], t[1], t[2], t[3]);
        UNROLL for (uint32_t j = 0; j < 4; j++)
            if (i + j < rows)
                _mm_storeu_ps(y + (i + j) * p->y_row, t[j]);
    }
}

INLINE void store_strip(const int C, const uint32_t BANDS, const run *r, uint32_t row,
                        uint32_t rows, const vector *sum, float *sums)
{
    const msw__product *p = r->p;
    const vector low = set1_v(p->low), high = set1_v(p->high);
    const vector bias = loadu_v(p->bias + row);
    const bool along = p->y_row == 1 && !p->rows;
    const bool across = C == MAX_COLUMNS && p->y_column == 1 && !p->rows && !p->beta &&
                        r->width == (size_t)C;
    vector value[MAX_COLUMNS];

    if (!along && !across) {
        UNROLL for (int c = 0; c < C; c++)
            store_v(sums + c * MSW__LANES, sum[c]);
        msw__narrow_store(r, row, rows, sums);
        return;
    }
    UNROLL for (int c = 0; c < C; c++) {
        float *y = p->y + (r->column + (size_t)c) * p->y_column + row;

        value[c] = BANDS == 1 ? sum[c] : in_row_order(sum[c], r->w->lane);
        value[c] = add_v(value[c], bias);
        if (along && p->beta && (size_t)c < r->width)
            value[c] = add_v(value[c], load_rows(y, rows));
        value[c] = min_v(high, max_v(low, value[c]));
        if (along && (size_t)c < r->width)
            store_rows(y, rows, value[c]);
    }
    if (!along)
        store_across(r, row, rows, value);
}

INLINE void run_strips(const int C, const uint32_t BANDS, const bool PAIRED, const run *r,
                       const msw__stage *s)
{
    const uint32_t *code = r->w->code + s->code;

    for (uint32_t n = s->strips; n; n--) {
        const uint32_t *header = code, *counts = code + MSW__NARROW_COUNTS;
        float *sums = r->sums + (size_t)(header[0] & MSW__STRIP_MASK) * MSW__LANES * C;
        vector sum[MAX_COLUMNS], other[MAX_COLUMNS];

        code += MSW__NARROW_HEADER;
        UNROLL for (int c = 0; c < C; c++) {
            sum[c] = header[0] & MSW__STRIP_FIRST ? zero_v()
                                                  : load_v(sums + c * MSW__LANES);
            other[c] = zero_v();
        }
        RUN_RECORDS(counts[MSW__LOOKUP], LOOK_UP);
        RUN_RECORDS(counts[MSW__FREE], MULTIPLY);
        if (BANDS == 2 && PAIRED &&
            (counts[MSW__LOOKUP_UPPER] | counts[MSW__FREE_UPPER] |
             counts[MSW__LOOKUP_LOWER] | counts[MSW__FREE_LOWER])) {
            vector upper[MAX_COLUMNS], lower[MAX_COLUMNS];

            code = run_half(C, r, code, counts + MSW__LOOKUP_UPPER, upper);
            code = run_half(C, r, code, counts + MSW__LOOKUP_LOWER, lower);
            UNROLL for (int c = 0; c < C; c++)
                sum[c] = add_v(sum[c], fold(upper[c], lower[c]));
        }
        UNROLL for (int c = 0; C < 4 && c < C; c++)
            sum[c] = add_v(sum[c], other[c]);
        if (header[0] & MSW__STRIP_LAST)
            store_strip(C, BANDS, r, header[1], header[2], sum, sums);
        else
            UNROLL for (int c = 0; c < C; c++)
                store_v(sums + c * MSW__LANES, sum[c]);
    }
}

typedef void strips_function(const run *r, const msw__stage *s);

#define DEFINE_STRIPS(C, BANDS)                                                           \
    static void strips_##C##_##BANDS##_apart(const run *r, const msw__stage *s)           \
    {                                                                                     \
        run_strips(C, BANDS, false, r, s);                                                \
    }                                                                                     \
    static void strips_##C##_##BANDS##_paired(const run *r, const msw__stage *s)          \
    {                                                                                     \
        run_strips(C, BANDS, true, r, s);                                                 \
    }
#define DEFINE_ALL(C)   \
    DEFINE_STRIPS(C, 1) \
    DEFINE_STRIPS(C, 2) \
    DEFINE_STRIPS(C, 4) \
    DEFINE_STRIPS(C, 8) \
    DEFINE_STRIPS(C, 16)

DEFINE_ALL(1)
DEFINE_ALL(2)
DEFINE_ALL(4)

#define BOTH(C, BANDS) {strips_##C##_##BANDS##_apart, strips_##C##_##BANDS##_paired}
#define ALL(C) {BOTH(C, 1), BOTH(C, 2), BOTH(C, 4), BOTH(C, 8), BOTH(C, 16)}

/* By the logarithms of columns and bands. */
static strips_function *const strips[3][5][2] = {ALL(1), ALL(2), ALL(4)};

INLINE void run_chunk(const int C, const run *r, const msw__chunk *chunk)
{
    const msw__packing *w = r->w;
    strips_function *run_strips_of = strips[__builtin_ctz((unsigned)C)]
                                           [__builtin_ctz(w->bands)][w->paired];

    for (size_t i = 0; i < chunk->stage_count; i++) {
        const msw__stage *s = &w->stages[chunk->stage + i];

        load_panel(C, r, s);
        if (w->skips && is_huge(r, s)) {
            msw__narrow_stage_c(r, s);
            continue;
        }
        build_tables(C, r, s);
        run_strips_of(r, s);
    }
}

void KERNEL(const msw__packing *w, size_t chunk, const msw__product *p, size_t column,
            char *slab)
{
    const size_t left = p->n - column;
    const size_t columns = left < 2 ? 1 : left < 3 ? 2 : MAX_COLUMNS;
    const run r = msw__narrow_begin(w, p, column, columns, slab);

    if (columns == 1)
        run_chunk(1, &r, &w->chunks[chunk]);
    else if (columns == 2)
        run_chunk(2, &r, &w->chunks[chunk]);
    else
        run_chunk(4, &r, &w->chunks[chunk]);
}
