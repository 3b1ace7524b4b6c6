/* SPDX-License-Identifier: BSD-2-Clause */
#include "gemm.h"

/* The cost models were fitted to about 400 products on a 3.7 GHz processor (Zen 4). */

#ifdef MSW_HAVE_AVX2
static const msw__gemm_traits wide_avx2 = {
    .width = 16, .strip_rows = 6, .table_rows = 16, .stage_bytes = 24 << 10,
    .cost = {{.lookup = 0.41, .product = 0.28, .record = 0.64, .visit = 3.3, .build = 13.5,
              .load = 1.4, .store = 6.8, .panel = 26},
             {.lookup = 0.23, .product = 0.20, .record = 0.59, .visit = 2.9, .build = 8,
              .load = 0.8, .store = 3.4, .panel = 32},
             {.lookup = 0.23, .product = 0.20, .record = 0.59, .visit = 2.9, .build = 8,
              .load = 0.8, .store = 3.4, .panel = 32}}};
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
    .cost = {{.lookup = 0.80, .product = 0.57, .record = 0.44, .visit = 2.5, .build = 23,
              .load = 1.9, .store = 2.1, .panel = 13},
             {.lookup = 0.35, .product = 0.25, .record = 0.64, .visit = 3.4, .build = 13,
              .load = 0.8, .store = 0.9, .panel = 24},
             {.lookup = 0.24, .product = 0.17, .record = 0.62, .visit = 2.4, .build = 7.8,
              .load = 0.9, .store = 3.8, .panel = 31}}};
static const msw__gemm_traits narrow_avx512 = {
    .width = 4, .table_rows = 8,
    .cost = {{.lookup = 2.1, .product = 6.3, .record = 0.23, .build = 0.64, .load = 1.35,
              .store = 0.7},
             {.lookup = 1.25, .product = 3.4, .record = 0.08, .build = 0.75, .load = 1.3,
              .store = 0.65},
             {.lookup = 0.54, .product = 2.4, .record = 0.3, .build = 0.5, .load = 0.3,
              .store = 0.1}}};
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
