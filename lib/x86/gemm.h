/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernels of x86, entered into a table upwards from the lowest level. */
#ifndef MSW_LIB_X86_GEMM_H
#define MSW_LIB_X86_GEMM_H

#include "../gemm.h"

msw__gemm_kernel msw__wide_avx2, msw__wide_avx512, msw__narrow_avx2, msw__narrow_avx512;

static inline void gemm_table_init_x86(msw__gemm_table *t, uint32_t cpu)
{
#ifdef MSW_HAVE_AVX2
    static const msw__gemm_traits wide_avx2 = {
        .width = 16, .strip_rows = 6, .table_rows = 8, .stage_bytes = 24 << 10,
        .lookup = 0.35, .product = 0.35, .build = 12, .load = 1.5, .store = 3,
        .quarter = 0.6, .half = 0.6};
    static const msw__gemm_traits narrow_avx2 = {
        .width = 4, .table_rows = 24, .stage_bytes = 16 << 10,
        .lookup = 0.35, .product = 0.2, .build = 8, .load = 2, .store = 6,
        .quarter = 0.35, .half = 0.55};

    if (!(cpu & MSW_CPU_AVX2))
        return;
    t->kernel[MSW__GEMM_WIDE] = msw__wide_avx2;
    t->traits[MSW__GEMM_WIDE] = &wide_avx2;
    t->kernel[MSW__GEMM_NARROW] = msw__narrow_avx2;
    t->traits[MSW__GEMM_NARROW] = &narrow_avx2;
#endif
#ifdef MSW_HAVE_AVX512
    static const msw__gemm_traits wide_avx512 = {
        .width = 32, .strip_rows = 8, .table_rows = 8, .stage_bytes = 32 << 10,
        .lookup = 0.6, .product = 0.6, .build = 18, .load = 2, .store = 4,
        .quarter = 0.36, .half = 0.5};
    static const msw__gemm_traits narrow_avx512 = {
        .width = 4, .table_rows = 24, .stage_bytes = 16 << 10,
        .lookup = 0.2, .product = 0.2, .build = 8, .load = 2, .store = 6,
        .quarter = 0.35, .half = 0.55};

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

#endif /* MSW_LIB_X86_GEMM_H */
