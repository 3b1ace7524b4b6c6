/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernels of x86, entered into a table upwards from the lowest level. */
#ifndef MSW_LIB_X86_GEMM_H
#define MSW_LIB_X86_GEMM_H

#include "../gemm.h"

msw__wide_kernel msw__wide_avx2, msw__wide_avx512;

static inline void gemm_table_init_x86(msw__gemm_table *t, uint32_t cpu)
{
#ifdef MSW_HAVE_AVX2
    static const msw__wide_traits wide_avx2 = {
        .width = 16, .strip_rows = 6, .table_rows = 8, .stage_bytes = 24 << 10,
        .lookup = 0.35, .product = 0.35, .build = 12, .load = 1.5, .store = 3,
        .blas_call = 300, .blas_weight = 0.05, .blas = 0.0095};

    if (!(cpu & MSW_CPU_AVX2))
        return;
    t->wide = msw__wide_avx2;
    t->wide_traits = &wide_avx2;
#endif
#ifdef MSW_HAVE_AVX512
    static const msw__wide_traits wide_avx512 = {
        .width = 32, .strip_rows = 8, .table_rows = 8, .stage_bytes = 32 << 10,
        .lookup = 0.6, .product = 0.6, .build = 18, .load = 2, .store = 4,
        .blas_call = 300, .blas_weight = 0.05, .blas = 0.0095};

    if (!(cpu & MSW_CPU_AVX512))
        return;
    t->wide = msw__wide_avx512;
    t->wide_traits = &wide_avx512;
#endif
    (void)t;
    (void)cpu;
}

#endif /* MSW_LIB_X86_GEMM_H */
