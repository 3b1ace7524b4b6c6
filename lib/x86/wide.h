/* SPDX-License-Identifier: BSD-2-Clause */
/* The wide kernel (../gemm.h), for the vectors that the including file has defined:
 *
 *   vector, LANES               and zero_v, set1_v, load_v, store_v, add_v, sub_v, neg_v,
 *                               fma_v (a * b + c), min_v, max_v (the second where one is
 *                               NaN)
 *   mask, mask_of(n)            of the first n lanes, and load_mask
 *   load_any, store_any         where nothing is aligned
 *   store_first(p, n, a)        stores n lanes, at most all
 *   mask_from(m, n)             of lanes m to n - 1, and load_more (those and no others)
 *   ROWS                        of which there are registers for the sums
 *   KERNEL                      name of the function
 *
 * A panel is 2 vectors wide, or 1 where fewer columns are left: NV says which. */
#include "gemm.h"
#include "transpose.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 64")

enum { STRIPS_AHEAD = 8 }; /* of which y is prefetched */
enum { FEW_ROWS = 4 };     /* a strip of fewer does not keep the processor busy */

/* Of a row of X by free records of 8 rows, by others in proportion: copying it takes longer
 * than what it saves. */
enum { FEW_USES = 20 };
/* Rows that are a multiple of a large power of 2 apart share few places of the caches; then
 * a copy is better, if this many rows times that power are exceeded. */
enum { MOST_ROWS_TIMES_POWER = 1 << 19 };

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
    int row_shift;  /* ... -> number of a row */
    float *tables, *panel, *sums;
    bool whole, clamp;   /* how y is stored: all columns and beta 0; an activation */
    const float **rows;  /* of x, of the first column of each slice, in place of the panel
                            buffer; NULL: that has them */
    mask use[2];
    const float *next_x;    /* what to prefetch: column `next_x` of the rows of x */
    const uint32_t *next;   /* that the next stage uses */
    size_t next_count;
} run;

#include "wide_tables.h"

/* Strips. H rows of NV vectors of sums; GROUPS of a slice, or 0 for any number. */

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

INLINE void look_up(const int H, const int NV, const char *t, vector m, uint32_t word,
                    vector *sum)
{
    UNROLL for (int i = 0; i < H; i++) {
        const float *e = (const float *)(const void *)(t + entry(NV, word, i));
        UNROLL for (int v = 0; v < NV; v++)
            sum[i * NV + v] = fma_v(m, load_v(e + v * LANES), sum[i * NV + v]);
    }
}

/* @p code: from the indices on; @p t: the first table. */
INLINE const uint32_t *look_up_all(const int H, const int NV, const uint32_t GROUPS,
                                   const char *t, vector m, const uint32_t *code,
                                   uint32_t groups, vector *sum)
{
    const size_t table = MSW__ENTRIES * (size_t)NV * LANES * sizeof(float);

    if (GROUPS) {
        UNROLL for (uint32_t g = 0; g < GROUPS; g++)
            look_up(H, NV, t + g * table, m, code[g], sum);
    } else {
        for (uint32_t g = 0; g < groups; g++)
            look_up(H, NV, t + g * table, m, code[g], sum);
    }
    return code + groups;
}

/* @p full: there is one for each table, without its place. */
INLINE const uint32_t *table_records(const int H, const int NV, const uint32_t GROUPS,
                                     const run *r, const uint32_t *code, uint32_t count,
                                     bool full, vector *sum)
{
    const uint32_t groups = GROUPS ? GROUPS : r->w->groups;
    const size_t tables = groups * (size_t)MSW__ENTRIES * NV * LANES * sizeof(float);
    const char *t = (const char *)r->tables;

    for (uint32_t k = count; full && k; k--, t += tables)
        code = look_up_all(H, NV, GROUPS, t, set1_v(bits_to_float(code)), code + 1, groups,
                           sum);
    for (uint32_t k = count; !full && k; k--)
        code = look_up_all(H, NV, GROUPS, t + (code[1] >> r->shift),
                           set1_v(bits_to_float(code)), code + 2, groups, sum);
    return code;
}

/* @p code: the weights of a column of W for the strip's rows. */
INLINE void multiply(const int H, const int NV, const uint32_t *code, const vector *x,
                     vector *sum)
{
    UNROLL for (int i = 0; i < H; i++) {
        const vector f = set1_v(bits_to_float(code + i));
        UNROLL for (int v = 0; v < NV; v++)
            sum[i * NV + v] = fma_v(f, x[v], sum[i * NV + v]);
    }
}

/* A free record, of rows of X that are @p step apart; COLUMNS: or 0 for any number. */
INLINE void free_record(const int H, const int NV, const uint32_t COLUMNS,
                        const uint32_t *code, uint32_t columns, const float *x, size_t step,
                        vector *sum)
{
    if (COLUMNS) {
        UNROLL for (uint32_t c = 0; c < COLUMNS; c++) {
            vector xv[2];

            UNROLL for (int v = 0; v < NV; v++)
                xv[v] = load_any(x + c * step + v * LANES);
            multiply(H, NV, code + c * H, xv, sum);
        }
        return;
    }
    for (; columns; columns--, code += H, x += step) {
        vector xv[2];

        UNROLL for (int v = 0; v < NV; v++)
            xv[v] = load_any(x + v * LANES);
        multiply(H, NV, code, xv, sum);
    }
}

/* Free records that take X from the panel buffer, */
INLINE const uint32_t *panel_records(const int H, const int NV, const uint32_t COLUMNS,
                                     const run *r, const uint32_t *code, uint32_t count,
                                     vector *sum)
{
    const uint32_t columns = COLUMNS ? COLUMNS : r->w->columns;
    const char *const panel = (const char *)r->panel;
    const int shift = r->shift;

    for (; count; count--, code += 1 + (size_t)columns * H) {
        const float *x = (const float *)(const void *)(panel + (*code >> shift));

        free_record(H, NV, COLUMNS, code + 1, columns, x, NV * LANES, sum);
    }
    return code;
}

/* ... and from where it is: there a loop over the columns is faster. */
INLINE const uint32_t *x_records(const int H, const int NV, const run *r,
                                 const uint32_t *code, uint32_t count, vector *sum)
{
    const uint32_t columns = r->w->columns;
    const float *const *const rows = r->rows;
    const size_t step = r->p->x_row;
    const int shift = r->row_shift;

    for (; count; count--, code += 1 + (size_t)columns * H)
        free_record(H, NV, 0, code + 1, columns, rows[*code >> shift], step, sum);
    return code;
}

INLINE size_t y_place(const run *r, size_t row)
{
    return (r->p->rows ? r->p->rows[row] : row) * r->p->y_row;
}

INLINE void store_strip(const int H, const int NV, const run *r, uint32_t row,
                        uint32_t rows, const vector *sum)
{
    const msw__product *p = r->p;
    const vector low = set1_v(p->low), high = set1_v(p->high);

    UNROLL for (int i = 0; i < H; i++)
        if ((uint32_t)i < rows) {
            const vector bias = set1_v(p->bias[row + (uint32_t)i]);
            float *y = p->y + y_place(r, row + (uint32_t)i) + r->column;

            UNROLL for (int v = 0; v < NV; v++) {
                vector value = add_v(sum[i * NV + v], bias);
                if (p->beta)
                    value = add_v(value, load_mask(y + v * LANES, r->use[v]));
                value = min_v(high, max_v(low, value));
                store_first(y + v * LANES, r->width - (size_t)v * LANES, value);
            }
        }
}

/* The usual case: a full panel and all rows, beta 0. Masked stores take longer. */
INLINE void store_whole(const int H, const int NV, const bool CLAMP, const run *r,
                        uint32_t row, const vector *sum)
{
    const msw__product *p = r->p;
    const vector low = set1_v(p->low), high = set1_v(p->high);

    UNROLL for (int i = 0; i < H; i++) {
        const vector bias = set1_v(p->bias[row + (uint32_t)i]);
        float *y = p->y + y_place(r, row + (uint32_t)i) + r->column;

        UNROLL for (int v = 0; v < NV; v++) {
            const vector value = add_v(sum[i * NV + v], bias);
            store_any(y + v * LANES, CLAMP ? min_v(high, max_v(low, value)) : value);
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
            store_first_8(y + row, rows, value);
        }
    }
}

/* Into the second-level cache: the first one is full of tables. */
INLINE void prefetch_far(const int NV, const float *p)
{
    UNROLL for (int v = 0; v < NV; v++)
        __builtin_prefetch(p + v * LANES, 0, 2);
}

INLINE void prefetch_x(const int NV, run *r, size_t count)
{
    for (; count && r->next_count; count--, r->next_count--, r->next++)
        if (*r->next != MSW__NO_COLUMN)
            prefetch_far(NV, r->next_x + (r->p->gather ? r->p->gather->row[*r->next]
                                                       : *r->next * r->p->x_row));
}

/* The strip that begins at @p code: where its successor begins. */
INLINE const uint32_t *next_strip(const int H, const uint32_t GROUPS, const run *r,
                                  const uint32_t *code, uint32_t tables)
{
    const uint32_t groups = GROUPS ? GROUPS : r->w->groups;
    const uint32_t lookups = code[2] & 0xfff, products = code[2] >> 12 & 0xfff;

    return code + MSW__WIDE_HEADER + lookups * ((lookups == tables ? 1 : 2) + groups) +
           products * (1 + r->w->columns * (uint32_t)H);
}

/* The rows of y that the strip at @p code is going to finish. */
INLINE void prefetch_y(const int H, const int NV, const run *r, const uint32_t *code)
{
    const uint32_t row = code[1], rows = code[2] >> 24;

    if (code[0] & MSW__STRIP_LAST)
        UNROLL for (int i = 0; i < H; i++)
            if ((uint32_t)i < rows)
                prefetch_far(NV, r->p->y + y_place(r, row + (uint32_t)i) + r->column);
}

/* What each of n steps has to do for all to be done. */
INLINE size_t pace(size_t all, size_t n)
{
    return n ? (all + n - 1) / n : 0;
}

/* The sums of the strip at @p code, as they were left, */
INLINE void begin_strip(const int H, const int NV, const run *r, const uint32_t *code,
                        vector *sum)
{
    const float *sums = r->sums + (size_t)(code[0] & MSW__STRIP_MASK) * H * NV * LANES;

    if (code[0] & MSW__STRIP_FIRST)
        UNROLL for (int i = 0; i < H * NV; i++)
            sum[i] = zero_v();
    else
        UNROLL for (int i = 0; i < H * NV; i++)
            sum[i] = load_v(sums + i * LANES);
}

/* ... and to where they are to be next. */
INLINE void end_strip(const int H, const int NV, const run *r, const uint32_t *code,
                      const vector *sum)
{
    float *sums = r->sums + (size_t)(code[0] & MSW__STRIP_MASK) * H * NV * LANES;
    const bool last = code[0] & MSW__STRIP_LAST;
    const uint32_t row = code[1], rows = code[2] >> 24;

    if (last && !r->p->across) {
        if (!r->whole || rows < (uint32_t)H)
            store_strip(H, NV, r, row, rows, sum);
        else if (r->clamp)
            store_whole(H, NV, true, r, row, sum);
        else
            store_whole(H, NV, false, r, row, sum);
        return;
    }
    UNROLL for (int i = 0; i < H * NV; i++)
        store_v(sums + i * LANES, sum[i]);
    if (last)
        store_strip_rows(r, NV * LANES, row, rows, sums);
}

/* Strips of few rows, of which each has a free record for every slice, and nothing else,
 * are run together: what they read of X is the same. */

/* Words of such a strip. */
INLINE size_t free_strip_words(const int H, const run *r, const msw__stage *s)
{
    return MSW__WIDE_HEADER + (size_t)s->slices * (1 + r->w->columns * (uint32_t)H);
}

/* Records of a strip are in the order of the slices, so that no more need be compared. */
INLINE bool all_free(const int H, const int COUNT, const run *r, const msw__stage *s,
                     const uint32_t *code)
{
    const size_t words = free_strip_words(H, r, s);

    for (int j = 0; j < COUNT; j++)
        if ((code[(size_t)j * words + 2] & 0xffffff) != s->slices << 12)
            return false;
    return true;
}

INLINE void run_together(const int H, const int NV, const int COUNT, const run *r,
                         const msw__stage *s, const uint32_t *code)
{
    const size_t words = free_strip_words(H, r, s);
    const uint32_t *next = code + MSW__WIDE_HEADER;
    vector sum[ROWS * 2];

    UNROLL for (int j = 0; j < COUNT; j++)
        begin_strip(H, NV, r, code + (size_t)j * words, sum + j * H * NV);
    for (uint32_t k = 0; k < s->slices; k++) {
        const float *x = (const float *)(const void *)((const char *)r->panel +
                                                       (*next++ >> r->shift));

        for (uint32_t c = r->w->columns; c; c--, next += H, x += NV * LANES) {
            vector xv[2];

            UNROLL for (int v = 0; v < NV; v++)
                xv[v] = load_v(x + v * LANES);
            UNROLL for (int i = 0; i < COUNT * H; i++) {
                const uint32_t *code_of = next + (size_t)(i / H) * words + i % H;
                const vector f = set1_v(bits_to_float(code_of));

                UNROLL for (int v = 0; v < NV; v++)
                    sum[i * NV + v] = fma_v(f, xv[v], sum[i * NV + v]);
            }
        }
    }
    UNROLL for (int j = 0; j < COUNT; j++)
        end_strip(H, NV, r, code + (size_t)j * words, sum + j * H * NV);
}

/* DIRECT: free records read X where it is. Returns where the next strip begins. */
INLINE const uint32_t *run_strip(const int H, const int NV, const uint32_t GROUPS,
                                 const bool DIRECT, const run *r, const uint32_t *code,
                                 uint32_t tables)
{
    const uint32_t COLUMNS = GROUPS * MSW__GROUP;
    const uint32_t *const head = code, counts = code[2];
    vector sum[MSW__WIDE_STRIP * 2];

    code += MSW__WIDE_HEADER;
    begin_strip(H, NV, r, head, sum);
    code = table_records(H, NV, GROUPS, r, code, counts & 0xfff, (counts & 0xfff) == tables,
                         sum);
    if (DIRECT)
        code = x_records(H, NV, r, code, counts >> 12 & 0xfff, sum);
    else
        code = panel_records(H, NV, COLUMNS, r, code, counts >> 12 & 0xfff, sum);
    end_strip(H, NV, r, head, sum);
    return code;
}

typedef const uint32_t *strip_function(const run *r, const uint32_t *code, uint32_t tables);

INLINE void run_strips(const int H, const int NV, const uint32_t GROUPS, run *r,
                       const msw__stage *s, strip_function *strip)
{
    const int COUNT = H < FEW_ROWS ? ROWS / H : 1;
    const uint32_t *code = r->w->code + s->code;
    uint32_t together = 0; /* strips that have been run with those before */
    const size_t x_pace = pace(r->next_count, s->strips);
    const uint32_t *ahead = code; /* of strip number `known` */
    uint32_t known = s->finished && !r->p->across ? 0 : s->strips;

    for (uint32_t n = 0; n < s->strips; n++) {
        prefetch_x(NV, r, x_pace);
        for (int k = 0; k < 2 && known < s->strips && known < n + STRIPS_AHEAD; k++) {
            prefetch_y(H, NV, r, ahead);
            ahead = next_strip(H, GROUPS, r, ahead, s->tables);
            known++;
        }
        if (COUNT > 1 && together) {
            together--;
            continue;
        }
        if (COUNT > 1 && n + COUNT <= s->strips && all_free(H, COUNT, r, s, code)) {
            run_together(H, NV, COUNT, r, s, code);
            code += COUNT * free_strip_words(H, r, s);
            together = COUNT - 1;
            continue;
        }
        code = strip ? strip(r, code, s->tables)
                     : run_strip(H, NV, GROUPS, false, r, code, s->tables);
    }
}

typedef void strips_function(run *r, const msw__stage *s);

/* A strip of many rows, or one that reads X where it is, has a function of its own, so that
 * registers are not kept for the loop around it: those for addresses would run out. Others
 * have too little work for a call. */
#define DEFINE_STRIPS_OF(H, NV, GROUPS, NAME, DIRECT)                                  \
    static __attribute__((noinline)) const uint32_t *strip_##NAME(                     \
        const run *r, const uint32_t *code, uint32_t tables)                           \
    {                                                                                  \
        return run_strip(H, NV, GROUPS, DIRECT, r, code, tables);                      \
    }                                                                                  \
    static void strips_##NAME(run *r, const msw__stage *s)                             \
    {                                                                                  \
        run_strips(H, NV, GROUPS, r, s,                                                \
                   DIRECT || H == MSW__WIDE_STRIP ? strip_##NAME : NULL);              \
    }
#define DEFINE_STRIPS(H, GROUPS)                                \
    DEFINE_STRIPS_OF(H, 1, GROUPS, H##_1_##GROUPS, false)       \
    DEFINE_STRIPS_OF(H, 2, GROUPS, H##_2_##GROUPS, false)
#define DEFINE_DIRECT_STRIPS(H)                                 \
    DEFINE_STRIPS_OF(H, 1, 0, H##_1_direct, true)               \
    DEFINE_STRIPS_OF(H, 2, 0, H##_2_direct, true)

DEFINE_STRIPS(1, 0)
DEFINE_STRIPS(2, 0)
DEFINE_STRIPS(3, 0)
DEFINE_STRIPS(4, 0)
DEFINE_STRIPS(5, 0)
DEFINE_STRIPS(6, 0)
DEFINE_STRIPS(7, 0)
DEFINE_STRIPS(8, 0)
DEFINE_STRIPS(4, 1)
DEFINE_STRIPS(4, 2)
DEFINE_STRIPS(8, 1)
DEFINE_STRIPS(8, 2)
DEFINE_STRIPS(8, 4)
DEFINE_DIRECT_STRIPS(4)
DEFINE_DIRECT_STRIPS(5)
DEFINE_DIRECT_STRIPS(6)
DEFINE_DIRECT_STRIPS(7)
DEFINE_DIRECT_STRIPS(8)

static strips_function *const any_strips[][2] = {
    {strips_1_1_0, strips_1_2_0}, {strips_2_1_0, strips_2_2_0},
    {strips_3_1_0, strips_3_2_0}, {strips_4_1_0, strips_4_2_0},
    {strips_5_1_0, strips_5_2_0}, {strips_6_1_0, strips_6_2_0},
    {strips_7_1_0, strips_7_2_0}, {strips_8_1_0, strips_8_2_0},
};

static strips_function *const direct_strips[][2] = { /* from FEW_ROWS on */
    {strips_4_1_direct, strips_4_2_direct}, {strips_5_1_direct, strips_5_2_direct},
    {strips_6_1_direct, strips_6_2_direct}, {strips_7_1_direct, strips_7_2_direct},
    {strips_8_1_direct, strips_8_2_direct},
};

static strips_function *choose_strips(const msw__packing *w, int nv, bool direct)
{
    /* of usual blocks, by groups */
    static strips_function *const of_4[][2] = {
        [1] = {strips_4_1_1, strips_4_2_1}, [2] = {strips_4_1_2, strips_4_2_2}};
    static strips_function *const of_8[][2] = {
        [1] = {strips_8_1_1, strips_8_2_1}, [2] = {strips_8_1_2, strips_8_2_2},
        [4] = {strips_8_1_4, strips_8_2_4}};

    if (direct)
        return direct_strips[w->strip_rows - FEW_ROWS][nv - 1];
    if (w->columns % MSW__GROUP)
        return any_strips[w->strip_rows - 1][nv - 1];
    if (w->strip_rows == 4 && w->groups <= 2)
        return of_4[w->groups][nv - 1];
    if (w->strip_rows == 8 && w->groups <= 4 && w->groups != 3)
        return of_8[w->groups][nv - 1];
    return any_strips[w->strip_rows - 1][nv - 1];
}

/* The rows of x of the stage after stage i, or of the next panel's first. */
static void plan_prefetch(run *r, const msw__chunk *c, size_t i)
{
    const bool last = i + 1 == c->stage_count;
    const msw__stage *s = &r->w->stages[c->stage + (last ? 0 : i + 1)];
    const size_t column = r->column + (last ? r->w->width : 0);

    r->next_count = 0;
    if (r->p->across || column >= r->p->n)
        return;
    r->next_x = r->p->gather ? r->p->gather->x + msw__gather_column(r->p->gather, column)
                             : r->p->x + column;
    r->next = r->w->column + s->column;
    r->next_count = (size_t)s->slices * r->w->columns;
}

/* Are the free records to take X from where it is? */
static bool reads_x(const int NV, const run *r)
{
    const msw__packing *w = r->w;
    const uint64_t area = (uint64_t)w->strip_rows * w->strip_rows;
    const size_t step = r->p->x_row, power = step & (0 - step);

    return !r->p->across && !r->p->gather && r->width == (size_t)NV * LANES &&
           w->in_order && !w->table_count && w->strip_rows >= FEW_ROWS &&
           MSW__WIDE_STRIP * w->products < FEW_USES * w->column_count * area &&
           power * w->column_count <= MOST_ROWS_TIMES_POWER * w->chunk_count;
}

static const float **find_rows(const run *r, const msw__stage *s)
{
    const uint32_t columns = r->w->columns, *row = r->w->column + s->column;
    const float **rows = (const float **)(void *)r->panel;

    for (size_t i = 0; i < (size_t)s->slices * columns; i += columns)
        rows[i] = r->p->x + row[i] * r->p->x_row + r->column;
    return rows;
}

static void run_chunk(const int NV, run *r, const msw__chunk *c)
{
    const msw__packing *w = r->w;
    const bool direct = reads_x(NV, r);
    strips_function *const run_stage = choose_strips(w, NV, direct);

    for (size_t i = 0; i < c->stage_count; i++) {
        const msw__stage *s = &w->stages[c->stage + i];

        r->rows = direct ? find_rows(r, s) : NULL;
        if (NV == 1)
            prepare_stage(1, r, s);
        else
            prepare_stage(2, r, s);
        plan_prefetch(r, c, i);
        run_stage(r, s);
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
    r.row_shift = __builtin_ctz(w->width * (unsigned)sizeof(float));
    r.whole = !p->beta && r.width == (size_t)nv * LANES;
    r.clamp = p->low > -__builtin_inff() || p->high < __builtin_inff();
    r.use[0] = mask_of(r.width);
    r.use[1] = mask_of(r.width > LANES ? r.width - LANES : 0);
    if (p->gather)
        plan_pieces(&r, pieces);
    run_chunk(nv, &r, &w->chunks[chunk]);
}
