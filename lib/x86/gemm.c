/* SPDX-License-Identifier: BSD-2-Clause */
#include "gemm.h"

/* The cost models were fitted to 200 to 400 products on a 3.7 GHz processor (Zen 4), that
 * of narrow_avx512 to 672 by tests/bench/cost_fit.py. */

#ifdef MSW_HAVE_AVX2
static const msw__gemm_traits wide_avx2 = {
    .width = 16, .strip_rows = 6, .table_rows = 16, .stage_bytes = 24 << 10,
    .cost = {{.lookup = 0.28, .product = 0.28, .record = 0.57, .visit = 8.5, .build = 8.5,
              .load = 2.7, .store = 1.7},
             {.lookup = 0.16, .product = 0.22, .record = 0.56, .visit = 7.5, .build = 5.6,
              .load = 0.63, .store = 0.65},
             {.lookup = 0.16, .product = 0.22, .record = 0.56, .visit = 7.5, .build = 5.6,
              .load = 0.63, .store = 0.65}}};
static const msw__gemm_traits narrow_avx2 = {
    .width = 4, .table_rows = 8,
    .cost = {{.lookup = 3.5, .product = 6.9, .record = 0.58, .build = 1.5, .load = 1.5,
              .store = 0.75},
             {.lookup = 1.9, .product = 3.6, .record = 0.34, .build = 0.75, .load = 1.35,
              .store = 0.8},
             {.lookup = 1.15, .product = 2.6, .record = 0.1, .build = 0.8, .load = 0.35}}};
#endif
#ifdef MSW_HAVE_AVX512
static const msw__gemm_traits wide_avx512 = {
    .width = 32, .strip_rows = 8, .table_rows = 16, .stage_bytes = 32 << 10,
    .cost = {{.lookup = 0.66, .product = 0.56, .record = 0.45, .visit = 7.4, .build = 19.6,
              .load = 3.2, .store = 2.1},
             {.lookup = 0.30, .product = 0.27, .record = 0.40, .visit = 5.5, .build = 11,
              .load = 0.9, .store = 0.9},
             {.lookup = 0.155, .product = 0.18, .record = 0.65, .visit = 6.6, .build = 4.1,
              .load = 0.86, .store = 1.1}}};
static const msw__gemm_traits narrow_avx512 = {
    .width = 4, .table_rows = 8,
    .cost = {{.lookup = 1.89, .unpaired = 0.373, .product = 6.48, .record = 0.443,
              .build = 0.361, .load = 1.07, .store = 0.565, .panel = 61},
             {.lookup = 1.23, .unpaired = 0.279, .product = 3.55, .build = 0.433,
              .load = 1.23, .store = 1.17, .panel = 25},
             {.lookup = 0.501, .unpaired = 0.159, .product = 2.66, .record = 0.213,
              .visit = 7, .build = 1.04, .store = 0.113, .panel = 3.7}}};
#endif

void msw__gemm_table_init_x86(msw__gemm_table *t, uint32_t cpu)
{
#ifdef MSW_HAVE_AVX2
    if (!(cpu & MSW_CPU_AVX2))
        return;
    t->kernel[MSW__GEMM_WIDE] = msw__wide_avx2;
    t->traits[MSW__GEMM_WIDE] = &wide_avx2;
    t->kernel[MSW__GEMM_NARROW] = msw__narrow_avx2;
    t->traits[MSW__GEMM_NARROW] = &narrow_avx2;
#endif
#ifdef MSW_HAVE_AVX512
    if (!(cpu & MSW_CPU_AVX512))
        return;
    t->kernel[MSW__GEMM_WIDE] = msw__wide_avx512;
    t->traits[MSW__GEMM_WIDE] = &wide_avx512;
    t->kernel[MSW__GEMM_NARROW] = msw__narrow_avx512;
    t->traits[MSW__GEMM_NARROW] = &narrow_avx512;
#endif
    (void)t;
    (void)cpu;
}
