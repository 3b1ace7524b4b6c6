/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

typedef __m256 vector;
typedef __m256i mask;

enum { LANES = 8, ROWS = 6 };
#define KERNEL msw__wide_avx2

#define zero_v() _mm256_setzero_ps()
#define set1_v(f) _mm256_set1_ps(f)
#define load_v(p) _mm256_load_ps(p)
#define store_v(p, a) _mm256_store_ps(p, a)
#define store_any(p, a) _mm256_storeu_ps(p, a)
#define load_any(p) _mm256_loadu_ps(p)
#define add_v(a, b) _mm256_add_ps(a, b)
#define sub_v(a, b) _mm256_sub_ps(a, b)
#define neg_v(a) _mm256_xor_ps(a, _mm256_set1_ps(-0.0f))
#define fma_v(a, b, c) _mm256_fmadd_ps(a, b, c)
#define min_v(a, b) _mm256_min_ps(a, b)
#define max_v(a, b) _mm256_max_ps(a, b)
#define load_mask(p, m) _mm256_maskload_ps(p, m)
#define load_more(a, p, m) _mm256_or_ps(a, _mm256_maskload_ps(p, m))
#define store_first(p, n, a) store_first_8(p, n, a)
#define mask_of(n) first_lanes(n)
#define mask_from(m, n) _mm256_andnot_si256(first_lanes(m), first_lanes(n))

#include "wide.h"
