/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef __m512 vector;
typedef __m512i index_v;

#define KERNEL msw__narrow_avx512

#define zero_v() _mm512_setzero_ps()
#define set1_v(f) _mm512_set1_ps(f)
#define load_v(p) _mm512_load_ps(p)
#define loadu_v(p) _mm512_loadu_ps(p)
#define store_v(p, a) _mm512_store_ps(p, a)
#define add_v(a, b) _mm512_add_ps(a, b)
#define mul_v(a, b) _mm512_mul_ps(a, b)
#define fma_v(a, b, c) _mm512_fmadd_ps(a, b, c)
#define min_v(a, b) _mm512_min_ps(a, b)
#define max_v(a, b) _mm512_max_ps(a, b)
#define load_index(p) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define second_index(i) _mm512_srli_epi32(i, 4)
#define lookup(t, i) _mm512_permutexvar_ps(i, _mm512_load_ps(t))
#define lookup_half(t, i) _mm512_permutex2var_ps(_mm512_load_ps(t), i, _mm512_load_ps((t) + 16))
#define spread(x, i) \
    _mm512_permutexvar_ps(_mm512_set1_epi32(i), _mm512_castps256_ps512(_mm256_load_ps(x)))
#define load_rows(p, n) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define store_rows(p, n, a) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), a)
#define in_row_order(a, lane) _mm512_permutexvar_ps(_mm512_loadu_si512(lane), a)

static inline __attribute__((always_inline)) vector repeat(uint32_t bands, const float *p)
{
    double pair;

    switch (bands) {
    case 1:
        return _mm512_set1_ps(*p);
    case 2:
        memcpy(&pair, p, sizeof pair);
        return _mm512_castpd_ps(_mm512_set1_pd(pair));
    case 4:
        return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
    case 8:
        return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
    default:
        return _mm512_loadu_ps(p);
    }
}

static inline __attribute__((always_inline)) vector spread_pair(const float *x, int i)
{
    const int high = i + 4;
    const __m512i lane = _mm512_setr_epi32(i, i, i, i, i, i, i, i, high, high, high, high,
                                           high, high, high, high);

    return _mm512_permutexvar_ps(lane, _mm512_castps256_ps512(_mm256_load_ps(x)));
}

static inline __m256 add_halves(__m512 a)
{
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

static inline vector fold(vector upper, vector lower)
{
    const __m512i lane = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7,
                                           15);
    const __m512 both = _mm512_insertf32x8(_mm512_castps256_ps512(add_halves(upper)),
                                           add_halves(lower), 1);

    return _mm512_permutexvar_ps(lane, both);
}

#include "narrow.h"
