/* SPDX-License-Identifier: BSD-2-Clause */
/* The wide kernel (../gemm.h), for the vectors that the including file has defined:
 *
 *   vector, LANES               and zero_v, set1_v, load_v, store_v, add_v, sub_v, neg_v,
 *                               fma_v (a * b + c), min_v, max_v (the second where one is
 *                               NaN)
 *   mask, mask_of(n)            of the first n lanes, and load_mask, store_mask
 *   mask_from(m, n)             of lanes m to n - 1, and load_more (those and no others)
 *   KERNEL                      name of the function
 *
 * A panel is 2 vectors wide, or 1 where fewer columns are left: NV says which. */
#include "gemm.h"
#include "transpose.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 64")

/* Some lanes of a vector of columns of X that lie together. */
typedef struct piece {
    size_t place; /* of lane 0, from column 0 of a row */
    mask use;
} piece;

typedef struct run {
    const msw__packing *w;
    const msw__product *p;
    size_t column;  /* of the panel, */
    size_t width;   /* how many are in use */
    const piece *pieces[2]; /* of each vector, where X is gathered, */
    size_t piece_count[2];  /* and how many */
    int shift;      /* places in bytes -> those of panels of this width */
    float *tables, *panel, *sums;
    mask use[2];
    const float *next_x;    /* what to prefetch: column `next_x` of the rows of x */
    const uint32_t *next;   /* that the next stage uses */
    size_t next_count;
    size_t next_row, end_row; /* rows of y to prefetch */
} run;

/* Rows of x -> panel buffer */

INLINE void load_columns(const int NV, const run *r, const uint32_t *column, size_t count)
{
    const float *x = r->p->x + r->column;
    float *to = r->panel;

    for (size_t i = 0; i < count; i++, to += NV * LANES)
        UNROLL for (int v = 0; v < NV; v++) {
            vector value = zero_v();
            if (column[i] != MSW__NO_COLUMN)
                value = load_mask(x + column[i] * r->p->x_row + v * LANES, r->use[v]);
            store_v(to + v * LANES, value);
        }
}

/* @p pieces: room for all lanes of the panel. */
static void plan_pieces(run *r, piece *pieces)
{
    const msw__gather *g = r->p->gather;

    for (size_t v = 0; v < 2; v++, pieces += LANES) {
        const size_t first = v * LANES, end = r->width < first ? first : r->width;
        const size_t lanes = end - first < LANES ? end - first : LANES;
        size_t count = 0, next;

        for (size_t lane = 0; lane < lanes; lane = next) {
            const size_t n = r->column + first + lane, left = g->run - n % g->run;

            next = left < lanes - lane ? lane + left : lanes;
            pieces[count].place = msw__gather_column(g, n) - lane;
            pieces[count++].use = mask_from(lane, next);
        }
        r->pieces[v] = pieces;
        r->piece_count[v] = count;
    }
}

/* @p place may be before x, where lanes are not in use. */
INLINE const float *at(const float *x, size_t place)
{
    return (const float *)((uintptr_t)x + place * sizeof *x);
}

/* Vectors of P pieces each, or of any number where P is 0. */
INLINE void load_pieces(const int NV, const size_t P, const run *r, const uint32_t *column,
                        size_t count)
{
    const msw__gather *g = r->p->gather;
    float *to = r->panel;

    for (size_t i = 0; i < count; i++, to += NV * LANES) {
        const bool none = column[i] == MSW__NO_COLUMN;
        const size_t row = none ? 0 : g->row[column[i]];

        UNROLL for (int v = 0; v < NV; v++) {
            const size_t pieces = none ? 0 : P ? P : r->piece_count[v];
            vector value = zero_v();

            for (size_t k = 0; k < pieces; k++)
                value = load_more(value, at(g->x, row + r->pieces[v][k].place),
                                  r->pieces[v][k].use);
            store_v(to + v * LANES, value);
        }
    }
}

INLINE void load_gathered(const int NV, const run *r, const uint32_t *column, size_t count)
{
    const size_t a = r->piece_count[0], b = NV > 1 ? r->piece_count[1] : a;

    if (a == 1 && b == 1)
        load_pieces(NV, 1, r, column, count);
    else if (a == 2 && b == 2)
        load_pieces(NV, 2, r, column, count);
    else
        load_pieces(NV, 0, r, column, count);
}

static bool run_of_8(const uint32_t *column)
{
    for (uint32_t i = 1; i < 8; i++)
        if (column[i] != column[0] + i)
            return false;
    return column[7] != MSW__NO_COLUMN;
}

static void load_rows(const run *r, size_t width, const uint32_t *column, size_t count)
{
    const float *x = r->p->x + r->column * r->p->x_column;
    size_t i = 0;

    while (i < count) {
        float *to = r->panel + i * width;

        if (i + 8 <= count && run_of_8(column + i)) {
            for (size_t n = 0; n < width; n += 8)
                transpose_in(to + n, width, x + n * r->p->x_column + column[i],
                             r->p->x_column, r->width > n ? r->width - n : 0);
            i += 8;
            continue;
        }
        for (size_t n = 0; n < width; n++)
            to[n] = column[i] != MSW__NO_COLUMN && n < r->width
                        ? x[n * r->p->x_column + column[i]] : 0;
        i++;
    }
}

/* Tables */

INLINE void build_table(const int NV, float *t, const float *x, uint32_t rows)
{
    UNROLL for (int v = 0; v < NV; v++, t += LANES, x += LANES) {
        const vector x0 = load_v(x);
        const vector x1 = rows > 1 ? load_v(x + NV * LANES) : zero_v();
        const vector x2 = rows > 2 ? load_v(x + 2 * NV * LANES) : zero_v();
        const vector x3 = rows > 3 ? load_v(x + 3 * NV * LANES) : zero_v();
        const vector a = add_v(x0, x1), b = sub_v(x0, x1);
        const vector c = add_v(x2, x3), d = sub_v(x2, x3);
        /* entry e + 8 negates x3, entry 15 - e is minus entry e */
        const vector half[8] = {add_v(a, c), sub_v(c, b), add_v(b, c), sub_v(c, a),
                                add_v(a, neg_v(d)), neg_v(add_v(b, d)), sub_v(b, d),
                                neg_v(add_v(a, d))};

        UNROLL for (int e = 0; e < 8; e++) {
            store_v(t + e * NV * LANES, half[e]);
            store_v(t + (15 - e) * NV * LANES, neg_v(half[e]));
        }
    }
}

INLINE void build_tables(const int NV, const run *r, const msw__stage *s)
{
    const msw__packing *w = r->w;
    float *t = r->tables;

    for (uint32_t i = 0; i < s->tables; i++) {
        const float *x = r->panel + (size_t)w->table[s->table + i] * w->columns * NV * LANES;

        for (uint32_t g = 0; g < w->groups; g++) {
            const uint32_t left = w->columns - g * MSW__GROUP;

            build_table(NV, t, x, left);
            t += MSW__ENTRIES * NV * LANES;
            x += MSW__GROUP * NV * LANES;
        }
    }
}

/* Strips. H rows of NV vectors of sums. */

INLINE float bits_to_float(const uint32_t *code)
{
    float f;

    memcpy(&f, code, sizeof f);
    return f;
}

/* Byte offset of the entry that bits 4r to 4r + 3 name. */
INLINE size_t entry(const int NV, uint32_t word, int r)
{
    const int shift = __builtin_ctz((unsigned)(NV * LANES * (int)sizeof(float)));
    const uint32_t bits = 15u << shift;

    return 4 * r >= shift ? word >> ((4 * r - shift) & 31) & bits
                          : word << ((shift - 4 * r) & 31) & bits;
}

INLINE const uint32_t *table_record(const int H, const int NV, const run *r,
                                    const uint32_t *code, uint32_t groups, vector *sum)
{
    const vector m = set1_v(bits_to_float(code));
    const char *t = (const char *)r->tables + (code[1] >> r->shift);

    code += 2;
    for (uint32_t g = groups; g; g--) {
        const uint32_t word = *code++;

        UNROLL for (int i = 0; i < H; i++) {
            const float *e = (const float *)(const void *)(t + entry(NV, word, i));
            UNROLL for (int v = 0; v < NV; v++)
                sum[i * NV + v] = fma_v(m, load_v(e + v * LANES), sum[i * NV + v]);
        }
        t += MSW__ENTRIES * NV * LANES * sizeof(float);
    }
    return code;
}

INLINE const uint32_t *free_record(const int H, const int NV, const run *r,
                                   const uint32_t *code, uint32_t columns, vector *sum)
{
    const float *x = (const float *)(const void *)((const char *)r->panel +
                                                   (*code++ >> r->shift));

    for (uint32_t c = columns; c; c--) {
        vector xv[2];

        UNROLL for (int v = 0; v < NV; v++)
            xv[v] = load_v(x + v * LANES);
        UNROLL for (int i = 0; i < H; i++) {
            const vector f = set1_v(bits_to_float(code + i));
            UNROLL for (int v = 0; v < NV; v++)
                sum[i * NV + v] = fma_v(f, xv[v], sum[i * NV + v]);
        }
        code += H;
        x += NV * LANES;
    }
    return code;
}

INLINE void store_strip(const int H, const int NV, const run *r, uint32_t row,
                        uint32_t rows, const vector *sum)
{
    const msw__product *p = r->p;
    const vector low = set1_v(p->low), high = set1_v(p->high);

    UNROLL for (int i = 0; i < H; i++)
        if ((uint32_t)i < rows) {
            const size_t out = p->rows ? p->rows[row + i] : row + (uint32_t)i;
            const vector bias = set1_v(p->bias[row + (uint32_t)i]);
            float *y = p->y + out * p->y_row + r->column;

            UNROLL for (int v = 0; v < NV; v++) {
                vector value = add_v(sum[i * NV + v], bias);
                if (p->beta)
                    value = add_v(value, load_mask(y + v * LANES, r->use[v]));
                store_mask(y + v * LANES, r->use[v], min_v(high, max_v(low, value)));
            }
        }
}

/* One column of a strip whose rows are not together in y. */
static void scatter(const msw__product *p, float *y, uint32_t row, uint32_t rows,
                    __m256 value)
{
    float v[8];

    _mm256_storeu_ps(v, value);
    for (uint32_t i = 0; i < rows; i++) {
        float *to = y + p->rows[row + i];
        const float sum = p->beta ? v[i] + *to : v[i];
        const float least = sum < p->low ? p->low : sum;
        *to = least > p->high ? p->high : least;
    }
}

/* The rows layout: 8 columns at a time. */
static void store_strip_rows(const run *r, size_t width, uint32_t row, uint32_t rows,
                             const float *sums)
{
    const msw__product *p = r->p;
    const uint32_t height = r->w->strip_rows;
    const __m256 low = _mm256_set1_ps(p->low), high = _mm256_set1_ps(p->high);
    const __m256 bias = _mm256_loadu_ps(p->bias + row);
    const __m256i use = first_lanes(rows);

    for (size_t n = 0; n < r->width; n += 8) {
        __m256 t[8];

        for (uint32_t i = 0; i < 8; i++)
            t[i] = i < height ? _mm256_loadu_ps(sums + i * width + n) : _mm256_setzero_ps();
        transpose_8x8(t);
        for (size_t j = 0; j < 8 && n + j < r->width; j++) {
            float *y = p->y + (r->column + n + j) * p->y_column;
            __m256 value = _mm256_add_ps(t[j], bias);

            if (p->rows) {
                scatter(p, y, row, rows, value);
                continue;
            }
            if (p->beta)
                value = _mm256_add_ps(value, _mm256_maskload_ps(y + row, use));
            value = _mm256_min_ps(high, _mm256_max_ps(low, value));
            _mm256_maskstore_ps(y + row, use, value);
        }
    }
}

INLINE void prefetch_next(const int NV, run *r, size_t count)
{
    for (; count && r->next_count; count--, r->next_count--, r->next++)
        if (*r->next != MSW__NO_COLUMN) {
            const float *x = r->next_x + (r->p->gather ? r->p->gather->row[*r->next]
                                                       : *r->next * r->p->x_row);
            UNROLL for (int v = 0; v < NV; v++)
                __builtin_prefetch(x + v * LANES);
        }
}

INLINE void prefetch_y(const int NV, run *r, size_t count)
{
    for (; count && r->next_row < r->end_row; count--, r->next_row++) {
        const size_t row = r->p->rows ? r->p->rows[r->next_row] : r->next_row;
        const float *y = r->p->y + row * r->p->y_row + r->column;

        UNROLL for (int v = 0; v < NV; v++)
            __builtin_prefetch(y + v * LANES, 1);
    }
}

/* What each of n steps has to do for all to be done. */
INLINE size_t pace(size_t all, size_t n)
{
    return n ? (all + n - 1) / n : 0;
}

INLINE void run_strips(const int H, const int NV, run *r, const msw__stage *s)
{
    const uint32_t groups = r->w->groups, columns = r->w->columns;
    const uint32_t *code = r->w->code + s->code;
    const size_t x_pace = pace(r->next_count, s->strips);
    const size_t y_pace = pace(r->end_row - r->next_row, s->strips);

    for (uint32_t n = s->strips; n; n--) {
        const uint32_t head = code[0], row = code[1], counts = code[2];
        float *sums = r->sums + (size_t)(head & MSW__STRIP_MASK) * H * NV * LANES;
        vector sum[MSW__WIDE_STRIP * 2];

        code += MSW__WIDE_HEADER;
        prefetch_next(NV, r, x_pace);
        prefetch_y(NV, r, y_pace);
        if (head & MSW__STRIP_FIRST)
            UNROLL for (int i = 0; i < H * NV; i++)
                sum[i] = zero_v();
        else
            UNROLL for (int i = 0; i < H * NV; i++)
                sum[i] = load_v(sums + i * LANES);
        for (uint32_t k = counts & 0xfff; k; k--)
            code = table_record(H, NV, r, code, groups, sum);
        for (uint32_t k = counts >> 12 & 0xfff; k; k--)
            code = free_record(H, NV, r, code, columns, sum);
        if (head & MSW__STRIP_LAST && !r->p->across) {
            store_strip(H, NV, r, row, counts >> 24, sum);
            continue;
        }
        UNROLL for (int i = 0; i < H * NV; i++)
            store_v(sums + i * LANES, sum[i]);
        if (head & MSW__STRIP_LAST)
            store_strip_rows(r, NV * LANES, row, counts >> 24, sums);
    }
}

typedef void strips_function(run *r, const msw__stage *s);

#define DEFINE_STRIPS(H)                                      \
    static void strips_##H##_1(run *r, const msw__stage *s)   \
    {                                                         \
        run_strips(H, 1, r, s);                               \
    }                                                         \
    static void strips_##H##_2(run *r, const msw__stage *s)   \
    {                                                         \
        run_strips(H, 2, r, s);                               \
    }

DEFINE_STRIPS(1)
DEFINE_STRIPS(2)
DEFINE_STRIPS(3)
DEFINE_STRIPS(4)
DEFINE_STRIPS(5)
DEFINE_STRIPS(6)
DEFINE_STRIPS(7)
DEFINE_STRIPS(8)

static strips_function *const strips[][2] = {
    {strips_1_1, strips_1_2}, {strips_2_1, strips_2_2}, {strips_3_1, strips_3_2},
    {strips_4_1, strips_4_2}, {strips_5_1, strips_5_2}, {strips_6_1, strips_6_2},
    {strips_7_1, strips_7_2}, {strips_8_1, strips_8_2},
};

/* The rows of x of the stage after stage i, or of the next panel's first; and during the
 * last stage but one those of y. */
static void plan_prefetch(run *r, const msw__chunk *c, size_t i)
{
    const bool last = i + 1 == c->stage_count;
    const msw__stage *s = &r->w->stages[c->stage + (last ? 0 : i + 1)];
    const size_t column = r->column + (last ? r->w->width : 0);

    r->next_row = r->end_row = r->next_count = 0;
    if (r->p->across)
        return;
    if (i + 2 == c->stage_count || c->stage_count == 1) {
        r->next_row = c->first_row;
        r->end_row = c->first_row + c->row_count;
    }
    if (column >= r->p->n)
        return;
    r->next_x = r->p->gather ? r->p->gather->x + msw__gather_column(r->p->gather, column)
                             : r->p->x + column;
    r->next = r->w->column + s->column;
    r->next_count = (size_t)s->slices * r->w->columns;
}

INLINE void prepare_stage(const int NV, const run *r, const msw__stage *s)
{
    const uint32_t *column = r->w->column + s->column;
    const size_t count = (size_t)s->slices * r->w->columns;

    if (r->p->across)
        load_rows(r, (size_t)NV * LANES, column, count);
    else if (r->p->gather)
        load_gathered(NV, r, column, count);
    else
        load_columns(NV, r, column, count);
    build_tables(NV, r, s);
}

static void run_chunk(const int NV, run *r, const msw__chunk *c)
{
    const msw__packing *w = r->w;

    for (size_t i = 0; i < c->stage_count; i++) {
        const msw__stage *s = &w->stages[c->stage + i];

        if (NV == 1)
            prepare_stage(1, r, s);
        else
            prepare_stage(2, r, s);
        plan_prefetch(r, c, i);
        strips[w->strip_rows - 1][NV - 1](r, s);
    }
}

void KERNEL(const msw__packing *w, size_t chunk, const msw__product *p, size_t column,
            char *slab)
{
    const size_t left = p->n - column;
#ifdef HALF_KERNEL
    if (left <= LANES / 2) {
        HALF_KERNEL(w, chunk, p, column, slab);
        return;
    }
#endif
    run r = {.w = w, .p = p, .column = column, .width = left < w->width ? left : w->width,
             .tables = (float *)(void *)slab,
             .panel = (float *)(void *)(slab + w->table_bytes),
             .sums = (float *)(void *)(slab + w->table_bytes + w->panel_bytes)};
    const int nv = r.width > LANES ? 2 : 1;
    piece pieces[2 * LANES];

    r.shift = __builtin_ctz(w->width / ((unsigned)nv * LANES));
    r.use[0] = mask_of(r.width);
    r.use[1] = mask_of(r.width > LANES ? r.width - LANES : 0);
    if (p->gather)
        plan_pieces(&r, pieces);
    run_chunk(nv, &r, &w->chunks[chunk]);
}
