/* SPDX-License-Identifier: BSD-2-Clause */
#include "transpose.h"

typedef __m256 vector;
typedef __m256i mask;

enum { LANES = 8 };
#define VECTORS_4 3
#define KERNEL msw__direct_avx2
#define DEPTHWISE_KERNEL msw__depthwise_avx2

#define zero_v() _mm256_setzero_ps()
#define set1_v(f) _mm256_set1_ps(f)
#define load_v(p) _mm256_loadu_ps(p)
#define store_v(p, a) _mm256_storeu_ps(p, a)
#define add_v(a, b) _mm256_add_ps(a, b)
#define fma_v(a, b, c) _mm256_fmadd_ps(a, b, c)
#define min_v(a, b) _mm256_min_ps(a, b)
#define max_v(a, b) _mm256_max_ps(a, b)
#define mask_of(n) first_lanes(n)
#define load_mask(p, m) _mm256_maskload_ps(p, m)

/* Masked stores are slow on some processors. */
static inline void store_lanes(float *p, __m256 a, size_t n)
{
    if (n == LANES)
        _mm256_storeu_ps(p, a);
    else
        _mm256_maskstore_ps(p, first_lanes(n), a);
}

#include "taps.h"

#include "channels.h"
