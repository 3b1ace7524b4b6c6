/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

typedef __m512 vector;
typedef __mmask16 mask;

enum { LANES = 16, ROWS = 8 };
#define KERNEL msw__wide_avx512
#define HALF_KERNEL msw__wide_avx2 /* for panels of up to 8 columns */

#define zero_v() _mm512_setzero_ps()
#define set1_v(f) _mm512_set1_ps(f)
#define load_v(p) _mm512_load_ps(p)
#define store_v(p, a) _mm512_store_ps(p, a)
#define store_any(p, a) _mm512_storeu_ps(p, a)
#define load_any(p) _mm512_loadu_ps(p)
#define add_v(a, b) _mm512_add_ps(a, b)
#define sub_v(a, b) _mm512_sub_ps(a, b)
#define neg_v(a) _mm512_xor_ps(a, _mm512_set1_ps(-0.0f))
#define fma_v(a, b, c) _mm512_fmadd_ps(a, b, c)
#define min_v(a, b) _mm512_min_ps(a, b)
#define max_v(a, b) _mm512_max_ps(a, b)
#define load_mask(p, m) _mm512_maskz_loadu_ps(m, p)
#define load_more(a, p, m) _mm512_mask_loadu_ps(a, m, p)
#define store_first(p, n, a) _mm512_mask_storeu_ps(p, mask_of(n), a)
#define mask_of(n) ((mask)((n) < 16 ? (1u << (n)) - 1 : 0xffff))
#define mask_from(m, n) ((mask)(mask_of(n) & ~mask_of(m)))

#include "wide.h"
