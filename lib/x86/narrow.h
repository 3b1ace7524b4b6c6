/* SPDX-License-Identifier: BSD-2-Clause */
/* The narrow kernel (../gemm.h): 8 rows in the lanes of a vector, tables of 16 floats per
 * group and column looked up in registers. The including file defines
 *
 *   lookup(table, index)          table[index & 15] in each lane
 *   load_rows(y, rows), store_rows(y, rows, v)   the first rows of y
 *   LANES_OF_ONE                  of the sums of one column: 8, or 16 where the file
 *   defines VECTORS_OF_16 and
 *   run_quads_of_one(bands, paired, quads, x, sums)    for one column of X; the halves of
 *                                 the sums of a strip are to be added
 *   run_quads_of_more(C, bands, paired, quads, units, source, sums, next)
 *   KERNEL                        name of the function
 *
 * Panels are 4 columns wide, or 2 or 1 where fewer are left: C says which. Lanes beyond the
 * rows of a strip hold values that nobody reads. */

typedef msw__narrow_run run;

/* From here on sums may overflow, or x is NaN: 2^125. */
enum { HUGE_BITS = (125 + 127) << 23 };
enum { MAX_COLUMNS = 4 };

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

INLINE bool is_whole(const uint32_t *column)
{
    return column[MSW__UNIT - 1] == column[0] + MSW__UNIT - 1;
}

/* The rows of X of a stage: 8 for each unit and column. Without a copy, where they lie so
 * anyhow. */
INLINE const float *load_panel(const int C, const run *r, const msw__stage *s)
{
    const msw__product *p = r->p;
    const float *x = p->x + r->column * p->x_column;
    const uint32_t *column = r->w->column + s->column;
    const bool along = p->x_row == 1 && r->width == (size_t)C;
    bool direct = C == 1 && along && r->w->in_order && s->slices == MSW__UNITS;
    float *to = r->panel;

    for (uint32_t u = 0; direct && u < MSW__UNITS; u++)
        direct = column[u * MSW__UNIT] == column[0] + u * MSW__UNIT &&
                 is_whole(column + u * MSW__UNIT);
    if (direct)
        return x + column[0];
    for (uint32_t u = 0; u < s->slices; u++, column += MSW__UNIT, to += MSW__UNIT * C) {
        const bool whole = r->w->in_order && is_whole(column);

        if (whole && along)
            UNROLL for (int c = 0; c < C; c++)
                _mm256_store_ps(to + c * MSW__UNIT,
                                _mm256_loadu_ps(x + column[0] + (size_t)c * p->x_column));
        else if (C == 4 && whole && p->x_column == 1 && r->width == (size_t)C)
            transpose_unit(to, x + column[0] * p->x_row, p->x_row);
        else
            gather_unit(C, r, column, to);
    }
    memset(to, 0, (MSW__UNITS - s->slices) * MSW__UNIT * (size_t)C * sizeof *to);
    return r->panel;
}

/* x: of n units, for one column. */
static bool is_huge(const float *x, size_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    const __m256i limit = _mm256_set1_epi32(HUGE_BITS - 1);
    __m256i any = _mm256_setzero_si256();

    for (; n; n--, x += MSW__UNIT) {
        const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(x));
        any = _mm256_or_si256(any, _mm256_cmpgt_epi32(_mm256_and_si256(bits, magnitude),
                                                      limit));
    }
    return !_mm256_testz_si256(any, any);
}

/* Records: of all strips, for one unit. Each function returns what follows them. */

INLINE const float *floats(const void *p)
{
    return p;
}

/* Of a strip in the sums. */
INLINE size_t lanes(const int C)
{
    return C == 1 ? LANES_OF_ONE : MSW__NARROW_LANES;
}

INLINE const uint32_t *aligned(const run *r, const uint32_t *code)
{
    return r->w->code + msw__narrow_align((size_t)(code - r->w->code));
}

typedef struct unit_tables { /* of each column, of both groups */
    table of[MAX_COLUMNS][MSW__UNIT_GROUPS];
} unit_tables;

INLINE unit_tables build_unit(const int C, const float *x)
{
    unit_tables t;

    UNROLL for (int c = 0; c < C; c++, x += MSW__UNIT) {
        t.of[c][0] = build_table(x);
        t.of[c][1] = build_table(x + MSW__GROUP);
    }
    return t;
}

/* next: to the sums of the next column. */
INLINE void add_lookups(const int C, const uint32_t BANDS, const bool PAIRED,
                        const unit_tables *t, const float *magnitudes, __m256i first,
                        __m256i second, float *sums, size_t next)
{
    const __m256 m = repeat(BANDS, magnitudes);

    UNROLL for (int c = 0; c < C; c++, sums += next) {
        const __m256 a = lookup(t->of[c][0], first), b = lookup(t->of[c][1], second);
        __m256 sum = _mm256_load_ps(sums);

        if (PAIRED) {
            sum = _mm256_fmadd_ps(m, _mm256_add_ps(a, b), sum);
        } else {
            sum = _mm256_fmadd_ps(m, a, sum);
            sum = _mm256_fmadd_ps(repeat(BANDS, magnitudes + BANDS), b, sum);
        }
        _mm256_store_ps(sums, sum);
    }
}

#ifndef VECTORS_OF_16
/* Unit u of all quads. Bits of an index that do not belong to it do not matter. */
INLINE void run_unit_of_quads(const int C, const uint32_t BANDS, const bool PAIRED,
                              const run *r, const quads *q, uint32_t u, const float *x)
{
    const size_t words = magnitude_words(BANDS, PAIRED);
    const unit_tables t = build_unit(C, x);
    float *const sums = r->sums;

    for (uint32_t i = 0; i < q->count; i++) {
        const char *index = (const char *)(q->index + (size_t)i * MSW__QUAD_INDEX) + u;

        add_lookups(C, BANDS, PAIRED, &t, q->magnitudes + (i * MSW__UNITS + u) * words,
                    _mm256_loadu_si256((const void *)index),
                    _mm256_loadu_si256((const void *)(index + sizeof(__m256i))),
                    sums + q->strips[i] * lanes(C), r->next);
    }
}
#endif

INLINE const uint32_t *run_quads(const int C, const uint32_t BANDS, const bool PAIRED,
                                 const run *r, const uint32_t *code, uint32_t n,
                                 uint32_t units, const source *from)
{
    const uint32_t *index = aligned(r, code + n);
    const uint32_t *magnitudes = index + (size_t)n * MSW__QUAD_INDEX;
    const quads q = {n, code, index, floats(magnitudes)};

#ifdef VECTORS_OF_16
    if (C == 1)
        run_quads_of_one(BANDS, PAIRED, &q, from->x, r->sums);
    else
        run_quads_of_more(C, BANDS, PAIRED, &q, units, *from, r->sums, r->next);
#else
    for (uint32_t u = 0; u < units; u++)
        run_unit_of_quads(C, BANDS, PAIRED, r, &q, u, from->x + u * from->unit);
#endif
    return magnitudes + n * MSW__UNITS * magnitude_words(BANDS, PAIRED);
}

INLINE const uint32_t *run_lookups(const int C, const uint32_t BANDS, const bool PAIRED,
                                   const run *r, const uint32_t *code, uint32_t n,
                                   const float *x)
{
    const size_t words = magnitude_words(BANDS, PAIRED);
    const uint32_t *index = code + n + n * words;
    const float *magnitudes = floats(code + n);
    const unit_tables t = build_unit(C, x);
    float *const sums = r->sums;
    const size_t next = r->next;

    for (uint32_t i = 0; i < n; i++) {
        const __m256i first = _mm256_cvtepu8_epi32(
            _mm_loadu_si64(index + (size_t)i * MSW__LOOKUP_INDEX));

        add_lookups(C, BANDS, PAIRED, &t, magnitudes + i * words, first,
                    _mm256_srli_epi32(first, 4), sums + code[i] * lanes(C), next);
    }
    return index + (size_t)n * MSW__LOOKUP_INDEX;
}

/* P of the C columns, which fit the registers. */
INLINE const uint32_t *run_products(const int C, const int P, const run *r,
                                    const uint32_t *code, uint32_t n, const float *x,
                                    int column)
{
    const float *w = floats(aligned(r, code + n));
    float *const all_sums = r->sums + (unsigned)column * r->next;
    const size_t next = r->next;
    __m256 spread[2][MSW__UNIT];

    UNROLL for (int c = 0; c < P; c++)
        UNROLL for (int i = 0; i < MSW__UNIT; i++)
            spread[c][i] = _mm256_set1_ps(x[(column + c) * MSW__UNIT + i]);
    for (uint32_t s = 0; s < n; s++, w += MSW__FREE_WEIGHTS) {
        float *sums = all_sums + code[s] * lanes(C);
        __m256 even[2], odd[2];

        UNROLL for (int c = 0; c < P; c++) {
            even[c] = _mm256_load_ps(sums + (size_t)c * next);
            odd[c] = _mm256_setzero_ps();
        }
        UNROLL for (int i = 0; i < MSW__UNIT; i += 2)
            UNROLL for (int c = 0; c < P; c++) {
                even[c] = _mm256_fmadd_ps(_mm256_load_ps(w + i * MSW__NARROW_LANES),
                                          spread[c][i], even[c]);
                odd[c] = _mm256_fmadd_ps(_mm256_load_ps(w + (i + 1) * MSW__NARROW_LANES),
                                         spread[c][i + 1], odd[c]);
            }
        UNROLL for (int c = 0; c < P; c++)
            _mm256_store_ps(sums + (size_t)c * next, _mm256_add_ps(even[c], odd[c]));
    }
    return (const uint32_t *)(const void *)w;
}

/* Strips */

/* The first n of 4 floats. */
INLINE void store_some(float *y, size_t n, __m128 v)
{
    switch (n) {
    case 4:
        _mm_storeu_ps(y, v);
        break;
    case 3:
        _mm_store_ss(y + 2, _mm_movehl_ps(v, v)); /* fall through */
    case 2:
        _mm_storel_pi((__m64 *)(void *)y, v);
        break;
    default:
        _mm_store_ss(y, v);
    }
}

/* 8 rows of 4 columns that lie together. */
INLINE void store_square(float *y, size_t y_row, const __m256 *value)
{
    const __m256 a = _mm256_unpacklo_ps(value[0], value[1]);
    const __m256 b = _mm256_unpackhi_ps(value[0], value[1]);
    const __m256 c = _mm256_unpacklo_ps(value[2], value[3]);
    const __m256 d = _mm256_unpackhi_ps(value[2], value[3]);
    const __m256 row[4] = {/* and 4 further on in the upper half */
        _mm256_shuffle_ps(a, c, 0x44), _mm256_shuffle_ps(a, c, 0xee),
        _mm256_shuffle_ps(b, d, 0x44), _mm256_shuffle_ps(b, d, 0xee)};

    UNROLL for (size_t i = 0; i < 4; i++) {
        _mm_storeu_ps(y + i * y_row, _mm256_castps256_ps128(row[i]));
        _mm_storeu_ps(y + (i + 4) * y_row, _mm256_extractf128_ps(row[i], 1));
    }
}

/* Columns that lie together, of rows that do not. */
INLINE void store_across(const int C, const run *r, uint32_t row, uint32_t rows,
                         const __m256 *value)
{
    const msw__product *p = r->p;
    float *y = p->y + row * p->y_row + r->column;
    float v[MAX_COLUMNS][MSW__NARROW_LANES] __attribute__((aligned(32)));

    if (C == MAX_COLUMNS && rows == MSW__NARROW_LANES && r->width == (size_t)C) {
        store_square(y, p->y_row, value);
        return;
    }
    UNROLL for (int c = 0; c < MAX_COLUMNS; c++)
        _mm256_store_ps(v[c], value[c < C ? c : 0]);
    for (uint32_t i = 0; i < rows; i += 4) {
        __m128 t[4] = {_mm_load_ps(v[0] + i), _mm_load_ps(v[1] + i), _mm_load_ps(v[2] + i),
                       _mm_load_ps(v[3] + i)};

        _MM_TRANSPOSE4_PS(t[0], t[1], t[2], t[3]);
        UNROLL for (uint32_t j = 0; j < 4; j++)
            if (i + j < rows)
                store_some(y + (i + j) * p->y_row, r->width, t[j]);
    }
}

/* Of one column: the halves of its sums, where there are two, together. */
INLINE __m256 sums_of_one(const float *sums)
{
    const __m256 sum = _mm256_load_ps(sums);

    return LANES_OF_ONE == MSW__NARROW_LANES
               ? sum : _mm256_add_ps(sum, _mm256_load_ps(sums + MSW__NARROW_LANES));
}

/* One column, all strips of 8 rows at once: what is the same for all is not asked for each.
 * How many they are. */
INLINE uint32_t store_whole_strips(const uint32_t BANDS, const run *r)
{
    const msw__product *p = r->p;
    const size_t first = r->chunk->first_row;
    const __m256 low = _mm256_set1_ps(p->low), high = _mm256_set1_ps(p->high);
    const __m256i lane = _mm256_loadu_si256((const void *)r->w->lane);
    const float *bias = p->bias + first, *sums = r->sums;
    float *y = p->y + r->column * p->y_column + first;
    const uint32_t count = (uint32_t)r->chunk->row_count / MSW__NARROW_LANES;

    if (p->y_row != 1 || p->rows || p->beta || r->w->strip_rows != MSW__NARROW_LANES ||
        r->w->span % MSW__NARROW_LANES)
        return 0;
    for (uint32_t i = 0; i < count; i++, sums += lanes(1)) {
        __m256 value = sums_of_one(sums);

        if (BANDS > 1)
            value = _mm256_permutevar8x32_ps(value, lane);
        value = _mm256_add_ps(value, _mm256_loadu_ps(bias + i * MSW__NARROW_LANES));
        _mm256_storeu_ps(y + i * MSW__NARROW_LANES,
                         _mm256_min_ps(high, _mm256_max_ps(low, value)));
    }
    return count;
}

INLINE void store_strip(const int C, const uint32_t BANDS, const run *r, uint32_t row,
                        uint32_t rows, float *sums)
{
    const msw__product *p = r->p;
    const __m256 low = _mm256_set1_ps(p->low), high = _mm256_set1_ps(p->high);
    const __m256 bias = _mm256_loadu_ps(p->bias + row);
    const __m256i lane = _mm256_loadu_si256((const void *)r->w->lane);
    const bool along = p->y_row == 1 && !p->rows;
    const bool across = p->y_column == 1 && !p->rows && !p->beta;
    __m256 value[MAX_COLUMNS];

    if (C == 1)
        _mm256_store_ps(sums, sums_of_one(sums));
    if (!along && !across) {
        msw__narrow_store(r, row, rows, sums);
        return;
    }
    UNROLL for (int c = 0; c < C; c++) {
        float *y = p->y + (r->column + (size_t)c) * p->y_column + row;

        value[c] = _mm256_load_ps(sums + (size_t)c * r->next);
        if (BANDS > 1)
            value[c] = _mm256_permutevar8x32_ps(value[c], lane);
        value[c] = _mm256_add_ps(value[c], bias);
        if (along && p->beta && (size_t)c < r->width)
            value[c] = _mm256_add_ps(value[c], load_rows(y, rows));
        value[c] = _mm256_min_ps(high, _mm256_max_ps(low, value[c]));
        if (along && (size_t)c < r->width) {
            if (rows == MSW__NARROW_LANES)
                _mm256_storeu_ps(y, value[c]);
            else
                store_rows(y, rows, value[c]);
        }
    }
    if (!along)
        store_across(C, r, row, rows, value);
}

#ifdef VECTORS_OF_16
/* Do only quads use the stage's rows of X, and can these be read where they are? */
INLINE bool only_quads(const int C, const run *r, const msw__stage *s)
{
    const uint32_t *header = r->w->code + s->code;
    const uint32_t *column = r->w->column + s->column;
    bool only = C == MAX_COLUMNS && s->slices == MSW__UNITS && !r->w->skips &&
                r->w->in_order && r->width == (size_t)C && header[MSW__QUADS];

    for (uint32_t u = 0; only && u < MSW__UNITS; u++)
        only = !header[MSW__LOOKUPS_OF + u] && !header[MSW__FREE_OF + u] &&
               column[u * MSW__UNIT] == column[0] + u * MSW__UNIT &&
               is_whole(column + u * MSW__UNIT);
    return only;
}
#endif

INLINE void run_stage(const int C, const uint32_t BANDS, const bool PAIRED, const run *r,
                      const msw__stage *s)
{
    const uint32_t *header = r->w->code + s->code, *code = header + MSW__NARROW_HEADER;
    const float *x;

#ifdef VECTORS_OF_16
    if (C == MAX_COLUMNS && only_quads(C, r, s)) {
        const msw__product *p = r->p;
        const source there = {
            p->x + r->column * p->x_column + r->w->column[s->column] * p->x_row,
            MSW__UNIT * p->x_row, p->x_column, p->x_row};

        run_quads(C, BANDS, PAIRED, r, code, header[MSW__QUADS], s->slices, &there);
        return;
    }
#endif
    x = load_panel(C, r, s);
    if (r->w->skips && is_huge(x, (size_t)s->slices * (size_t)C)) {
        if (x != r->panel)
            memcpy(r->panel, x, MSW__UNITS * MSW__UNIT * sizeof *x);
        msw__narrow_stage_c(r, s);
        return;
    }
    if (header[MSW__QUADS]) {
        const source panel = {x, MSW__UNIT * (unsigned)C, MSW__UNIT, 1};

        code = run_quads(C, BANDS, PAIRED, r, code, header[MSW__QUADS], s->slices, &panel);
    }
    for (uint32_t u = 0; u < s->slices; u++) {
        const float *unit = x + u * MSW__UNIT * (uint32_t)C;
        const uint32_t lookups = header[MSW__LOOKUPS_OF + u], n = header[MSW__FREE_OF + u];

        if (lookups)
            code = run_lookups(C, BANDS, PAIRED, r, code, lookups, unit);
        if (n && C == MAX_COLUMNS)
            run_products(C, 2, r, code, n, unit, 2);
        if (n)
            code = run_products(C, C == 1 ? 1 : 2, r, code, n, unit, 0);
    }
}

INLINE void run_chunk(const int C, const uint32_t BANDS, const bool PAIRED, const run *r)
{
    const msw__chunk *chunk = r->chunk;
    uint32_t row = (uint32_t)chunk->first_row, stored = 0;

    for (size_t i = 0; i < chunk->stage_count; i++)
        run_stage(C, BANDS, PAIRED, r, &r->w->stages[chunk->stage + i]);
    if (C == 1)
        stored = store_whole_strips(BANDS, r);
    row += stored * MSW__NARROW_LANES;
    for (uint32_t i = stored; i < chunk->strip_count; i++) {
        const uint32_t rows = msw__narrow_rows(r->w, chunk, row);

        store_strip(C, BANDS, r, row, rows, r->sums + i * lanes(C));
        row += rows;
    }
}

typedef void chunk_function(const run *r);

#define DEFINE_CHUNK(C, BANDS)                                  \
    static void chunk_##C##_##BANDS##_apart(const run *r)       \
    {                                                           \
        run_chunk(C, BANDS, false, r);                          \
    }                                                           \
    static void chunk_##C##_##BANDS##_paired(const run *r)      \
    {                                                           \
        run_chunk(C, BANDS, true, r);                           \
    }
#define DEFINE_ALL(C)  \
    DEFINE_CHUNK(C, 1) \
    DEFINE_CHUNK(C, 2) \
    DEFINE_CHUNK(C, 4) \
    DEFINE_CHUNK(C, 8)

DEFINE_ALL(1)
DEFINE_ALL(2)
DEFINE_ALL(4)

#define BOTH(C, BANDS) {chunk_##C##_##BANDS##_apart, chunk_##C##_##BANDS##_paired}
#define ALL(C) {BOTH(C, 1), BOTH(C, 2), BOTH(C, 4), BOTH(C, 8)}

/* By the logarithms of columns and bands. */
static chunk_function *const chunks[3][4][2] = {ALL(1), ALL(2), ALL(4)};

void KERNEL(const msw__packing *w, size_t chunk, const msw__product *p, size_t column,
            char *slab)
{
    const size_t left = p->n - column;
    const size_t columns = left < 2 ? 1 : left < 3 ? 2 : MAX_COLUMNS;
    const run r = msw__narrow_begin(w, chunk, p, column, columns,
                                    columns == 1 ? LANES_OF_ONE : MSW__NARROW_LANES, slab);

    chunks[__builtin_ctz((unsigned)columns)][__builtin_ctz(w->bands)][w->paired](&r);
}
