/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernels of x86. */
#ifndef MSW_LIB_X86_GEMM_H
#define MSW_LIB_X86_GEMM_H

#include "../gemm.h"

msw__gemm_kernel msw__wide_avx2, msw__wide_avx512, msw__narrow_avx2, msw__narrow_avx512;

/* Enter them into a table, upwards from the lowest level. */
void msw__gemm_table_init_x86(msw__gemm_table *t, uint32_t cpu);

#endif /* MSW_LIB_X86_GEMM_H */
