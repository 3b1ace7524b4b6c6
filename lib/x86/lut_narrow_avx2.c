/* SPDX-License-Identifier: BSD-2-Clause */
#include "transpose.h"

#include <immintrin.h>
#include <stdint.h>

typedef struct vector { __m256 low, high; } vector;
typedef struct index_v { __m256i low, high; } index_v;

#define KERNEL msw__narrow_avx2
#define OP static inline __attribute__((always_inline))

OP vector both(__m256 low, __m256 high) { return (vector){low, high}; }
OP vector set1_v(float f) { return both(_mm256_set1_ps(f), _mm256_set1_ps(f)); }
OP vector zero_v(void) { return set1_v(0); }
OP vector load_v(const float *p) { return both(_mm256_load_ps(p), _mm256_load_ps(p + 8)); }
OP vector loadu_v(const float *p) { return both(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }

OP void store_v(float *p, vector a)
{
    _mm256_store_ps(p, a.low);
    _mm256_store_ps(p + 8, a.high);
}

OP vector add_v(vector a, vector b)
{
    return both(_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high));
}

OP vector mul_v(vector a, vector b)
{
    return both(_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high));
}

OP vector fma_v(vector a, vector b, vector c)
{
    return both(_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high));
}

OP vector min_v(vector a, vector b)
{
    return both(_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high));
}

OP vector max_v(vector a, vector b)
{
    return both(_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high));
}

OP index_v load_index(const void *p)
{
    const __m128i bytes = _mm_loadu_si128(p);

    return (index_v){_mm256_cvtepu8_epi32(bytes),
                     _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}

OP index_v second_index(index_v i)
{
    return (index_v){_mm256_srli_epi32(i.low, 4), _mm256_srli_epi32(i.high, 4)};
}

/* Bit 3 of the index chooses the half. */
OP __m256 lookup_8(const float *table, __m256i index)
{
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), index);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index);

    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

OP vector lookup(const float *table, index_v i)
{
    return both(lookup_8(table, i.low), lookup_8(table, i.high));
}

OP vector lookup_half(const float *table, index_v i)
{
    return both(lookup_8(table, i.low), lookup_8(table + 16, i.high));
}

OP __m256 repeat_8(uint32_t bands, const float *p)
{
    switch (bands) {
    case 1:
        return _mm256_set1_ps(*p);
    case 2:
        return _mm256_castpd_ps(_mm256_broadcastsd_pd(_mm_castsi128_pd(_mm_loadu_si64(p))));
    case 4:
        return _mm256_broadcast_ps((const __m128 *)(const void *)p);
    default:
        return _mm256_loadu_ps(p);
    }
}

OP vector repeat(uint32_t bands, const float *p)
{
    return both(repeat_8(bands, p), repeat_8(bands, bands == 16 ? p + 8 : p));
}

OP vector spread(const float *x, int i)
{
    return set1_v(x[i]);
}

OP vector spread_pair(const float *x, int i)
{
    return both(_mm256_set1_ps(x[i]), _mm256_set1_ps(x[4 + i]));
}

OP vector fold(vector upper, vector lower)
{
    const __m256 u = _mm256_add_ps(upper.low, upper.high);
    const __m256 l = _mm256_add_ps(lower.low, lower.high);
    const __m256 even = _mm256_unpacklo_ps(u, l), odd = _mm256_unpackhi_ps(u, l);

    return both(_mm256_permute2f128_ps(even, odd, 0x20),
                _mm256_permute2f128_ps(even, odd, 0x31));
}

OP vector in_row_order(vector a, const uint32_t *lane)
{
    float from[16] __attribute__((aligned(32))), to[16] __attribute__((aligned(32)));

    store_v(from, a);
    for (int i = 0; i < 16; i++)
        to[i] = from[lane[i]];
    return load_v(to);
}

OP vector load_rows(const float *p, uint32_t n)
{
    return both(_mm256_maskload_ps(p, first_lanes(n)),
                n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) : _mm256_setzero_ps());
}

OP void store_rows(float *p, uint32_t n, vector a)
{
    _mm256_maskstore_ps(p, first_lanes(n), a.low);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, first_lanes(n - 8), a.high);
}

#include "narrow.h"
