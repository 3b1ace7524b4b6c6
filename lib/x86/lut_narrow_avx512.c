/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#define KERNEL msw__narrow_avx512
#define LANES_OF_ONE 16

INLINE __m256 lookup(table t, __m256i index)
{
    return _mm256_permutex2var_ps(t.low, index, t.high);
}

INLINE __mmask8 first_lanes(uint32_t n)
{
    return (__mmask8)((1u << n) - 1);
}

INLINE __m256 load_rows(const float *p, uint32_t n)
{
    return _mm256_maskz_loadu_ps(first_lanes(n), p);
}

INLINE void store_rows(float *p, uint32_t n, __m256 a)
{
    _mm256_mask_storeu_ps(p, first_lanes(n), a);
}

/* Quads: two vectors' worth at once. What a look-up of 4 weights needs is in a register. */

#define VECTORS_OF_16
enum { BYTE = 8 };

INLINE __m512 both_halves(__m256 low, __m256 high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

INLINE __m512 whole_table(const float *x, size_t step)
{
    const table t = build_table_of(x, step);

    return both_halves(t.low, t.high);
}

/* Not again for each use. */

INLINE __m512i in_register(__m512i a)
{
    __asm__("" : "+v"(a));
    return a;
}

INLINE __m256i load_once(const __m256i *p)
{
    __m256i a = _mm256_load_si256(p);

    __asm__("" : "+v"(a));
    return a;
}

/* One for all lanes, or lane l: m[2 (l / 8) + l % 2]. */
INLINE __m512 spread_magnitudes(const bool ONE, const float *m)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3);

    return ONE ? _mm512_set1_ps(*m)
               : _mm512_permutexvar_ps(lane, _mm512_castps128_ps512(_mm_loadu_ps(m)));
}

/* Both groups of a unit at once, the second in the upper half, with tables of 32 entries. */
INLINE void run_quads_of_halves(const bool ONE, const quads *q, const float *x, float *sums)
{
    const float *m = q->magnitudes;
    __m512 first[MSW__UNITS], second[MSW__UNITS];

    UNROLL for (int u = 0; u < MSW__UNITS; u++, x += MSW__UNIT) {
        first[u] = whole_table(x, 1);
        second[u] = whole_table(x + MSW__GROUP, 1);
    }
    for (uint32_t i = 0; i < q->count; i++) {
        float *to = sums + (size_t)q->strips[i] * LANES_OF_ONE;
        const __m512i index =
            in_register(_mm512_load_si512(q->index + (size_t)i * MSW__QUAD_INDEX));
        __m512 sum = _mm512_load_ps(to);

        UNROLL for (int u = 0; u < MSW__UNITS; u++, m += ONE ? 1 : 4) {
            const __m512i of_unit = _mm512_srli_epi32(index, (unsigned)(BYTE * u));

            sum = _mm512_fmadd_ps(spread_magnitudes(ONE, m),
                                  _mm512_permutex2var_ps(first[u], of_unit, second[u]), sum);
        }
        _mm512_store_ps(to, sum);
    }
}

INLINE void run_quads_of_one(const uint32_t BANDS, const bool PAIRED, const quads *q,
                             const float *x, float *sums)
{
    const float *m = q->magnitudes;
    table t[MSW__UNITS][MSW__UNIT_GROUPS];

    if ((BANDS == 1 && PAIRED) || (BANDS == 2 && !PAIRED)) {
        run_quads_of_halves(PAIRED, q, x, sums);
        return; /* elsewhere magnitudes spread at no cost over 8 lanes only */
    }
    UNROLL for (int u = 0; u < MSW__UNITS; u++, x += MSW__UNIT) {
        t[u][0] = build_table(x);
        t[u][1] = build_table(x + MSW__GROUP);
    }
    for (uint32_t i = 0; i < q->count; i++) {
        float *to = sums + (size_t)q->strips[i] * LANES_OF_ONE;
        const __m256i *index = (const void *)(q->index + (size_t)i * MSW__QUAD_INDEX);
        const __m256i a = load_once(index), b = load_once(index + 1);
        __m256 sum = _mm256_load_ps(to);

        UNROLL for (int u = 0; u < MSW__UNITS; u++, m += magnitude_words(BANDS, PAIRED)) {
            const __m256 v = lookup(t[u][0], _mm256_srli_epi32(a, BYTE * u));
            const __m256 w = lookup(t[u][1], _mm256_srli_epi32(b, BYTE * u));

            if (PAIRED) {
                sum = _mm256_fmadd_ps(repeat(BANDS, m), _mm256_add_ps(v, w), sum);
            } else {
                sum = _mm256_fmadd_ps(repeat(BANDS, m), v, sum);
                sum = _mm256_fmadd_ps(repeat(BANDS, m + BANDS), w, sum);
            }
        }
        _mm256_store_ps(to, sum);
    }
}

/* Two strips at once. */

INLINE __m512i index_of_two(const uint32_t *a, const uint32_t *b, int byte)
{
    const __m256i low = _mm256_loadu_si256((const void *)((const char *)a + byte));

    return _mm512_inserti32x8(_mm512_castsi256_si512(low),
                              _mm256_loadu_si256((const void *)((const char *)b + byte)), 1);
}

INLINE __m512 magnitudes_of_two(const uint32_t BANDS, const float *a, const float *b)
{
    return both_halves(repeat(BANDS, a), repeat(BANDS, b));
}

/* N units from unit u on of quads i and j. lanes: of which strips, in the sums of two,
 * there is one. */
INLINE void add_two(const int C, const int N, const uint32_t BANDS, const bool PAIRED,
                    __m512 tables[][2 * MSW__UNITS], const quads *q, size_t i, size_t j,
                    __mmask16 lanes, int u, float *sums, size_t next)
{
    const size_t words = magnitude_words(BANDS, PAIRED);
    const uint32_t *a = q->index + i * MSW__QUAD_INDEX, *b = q->index + j * MSW__QUAD_INDEX;
    const float *m_a = q->magnitudes + (i * MSW__UNITS + (size_t)u) * words;
    const float *m_b = q->magnitudes + (j * MSW__UNITS + (size_t)u) * words;
    __m512i index[2 * MSW__UNITS];
    __m512 m[2 * MSW__UNITS];

    index[0] = index_of_two(a, b, u);
    index[1] = index_of_two(a + MSW__NARROW_LANES, b + MSW__NARROW_LANES, u);
    UNROLL for (int k = 0; k < 2 * N; k++) {
        const size_t at = (size_t)(k / 2) * words + (size_t)(k % 2) * BANDS;

        index[k] = _mm512_srli_epi32(index[k % 2], (unsigned)(BYTE * (k / 2)));
        m[k] = PAIRED && k % 2 ? m[k - 1] : magnitudes_of_two(BANDS, m_a + at, m_b + at);
    }
    UNROLL for (int c = 0; c < C; c++, sums += next) {
        __m512 sum = _mm512_load_ps(sums);

        UNROLL for (int k = 0; k < 2 * N; k += 2) {
            const __m512 first = _mm512_permutexvar_ps(index[k], tables[c][k]);
            const __m512 second = _mm512_permutexvar_ps(index[k + 1], tables[c][k + 1]);

            if (PAIRED) {
                sum = _mm512_fmadd_ps(m[k], _mm512_add_ps(first, second), sum);
            } else {
                sum = _mm512_fmadd_ps(m[k], first, sum);
                sum = _mm512_fmadd_ps(m[k + 1], second, sum);
            }
        }
        if (lanes == 0xffff)
            _mm512_store_ps(sums, sum);
        else
            _mm512_mask_store_ps(sums, lanes, sum);
    }
}

INLINE void run_quads_of_more(const int C, const uint32_t BANDS, const bool PAIRED,
                              const quads *q, uint32_t units, source from, float *sums,
                              size_t next)
{
    enum { HALF_LANES = 0xff };
    const int N = C > 2 ? MSW__UNITS / 2 : MSW__UNITS; /* as many as registers hold */

    for (int u = 0; u < (int)units; u += N) {
        __m512 tables[4][2 * MSW__UNITS];

        UNROLL for (int i = 0; i < N; i++, from.x += from.unit)
            UNROLL for (int c = 0; c < C; c++) {
                const float *x = from.x + (unsigned)c * from.column;

                tables[c][2 * i] = whole_table(x, from.row);
                tables[c][2 * i + 1] = whole_table(x + MSW__GROUP * from.row, from.row);
            }
        for (uint32_t i = 0; i < q->count; i++) {
            const uint32_t strip = q->strips[i], odd = strip % 2;
            float *to = sums + (size_t)(strip - odd) * MSW__NARROW_LANES;

            if (!odd && i + 1 < q->count && q->strips[i + 1] == strip + 1) {
                add_two(C, N, BANDS, PAIRED, tables, q, i, i + 1, 0xffff, u, to, next);
                i++;
            } else {
                add_two(C, N, BANDS, PAIRED, tables, q, i, i,
                        (__mmask16)(HALF_LANES << odd * MSW__NARROW_LANES), u, to, next);
            }
        }
    }
}

#include "narrow.h"
