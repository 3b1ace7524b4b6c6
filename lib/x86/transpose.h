/* SPDX-License-Identifier: BSD-2-Clause */
/* 8 x 8 transposes, for the rows layout. */
#ifndef MSW_LIB_X86_TRANSPOSE_H
#define MSW_LIB_X86_TRANSPOSE_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* All ones in the first n of 8 lanes. */
static inline __m256i first_lanes(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8), lane);
}

static inline void transpose_8x8(__m256 r[8])
{
    __m256 t[8], u[8];

    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* The first n lanes, at most all: in parts, because masked stores take long on many
 * processors. */
static inline void store_first_8(float *to, size_t n, __m256 v)
{
    __m128 part = _mm256_castps256_ps128(v);

    if (n >= 8) {
        _mm256_storeu_ps(to, v);
        return;
    }
    if (n & 4) {
        _mm_storeu_ps(to, part);
        part = _mm256_extractf128_ps(v, 1);
        to += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)to, part);
        part = _mm_movehl_ps(part, part);
        to += 2;
    }
    if (n & 1)
        _mm_store_ss(to, part);
}

/* to[j * ld_to + i] = from[i * ld_from + j] for i, j < 8, and 0 for i >= lines. */
static inline void transpose_in(float *to, size_t ld_to, const float *from, size_t ld_from,
                                size_t lines)
{
    __m256 r[8];

    for (size_t i = 0; i < 8; i++)
        r[i] = i < lines ? _mm256_loadu_ps(from + i * ld_from) : _mm256_setzero_ps();
    transpose_8x8(r);
    for (size_t i = 0; i < 8; i++)
        _mm256_storeu_ps(to + i * ld_to, r[i]);
}

#endif /* MSW_LIB_X86_TRANSPOSE_H */
