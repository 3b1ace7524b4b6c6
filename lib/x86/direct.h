/* SPDX-License-Identifier: BSD-2-Clause */
/* The direct and depthwise kernels of x86. */
#ifndef MSW_LIB_X86_DIRECT_H
#define MSW_LIB_X86_DIRECT_H

#include "../depthwise.h"
#include "../direct.h"

msw__direct_kernel msw__direct_avx2, msw__direct_avx512;
msw__depthwise_kernel msw__depthwise_avx2, msw__depthwise_avx512;

static inline void direct_choose_x86(msw__direct *d, uint32_t cpu)
{
#ifdef MSW_HAVE_AVX2
    if (cpu & MSW_CPU_AVX2) {
        d->kernel = msw__direct_avx2;
        d->lanes = 8;
    }
#endif
#ifdef MSW_HAVE_AVX512
    if (cpu & MSW_CPU_AVX512) {
        d->half = d->kernel;
        d->kernel = msw__direct_avx512;
        d->lanes = 16;
    }
#endif
    (void)d;
    (void)cpu;
}

static inline void depthwise_choose_x86(msw__depthwise *d, uint32_t cpu)
{
#ifdef MSW_HAVE_AVX2
    if (cpu & MSW_CPU_AVX2)
        d->kernel = msw__depthwise_avx2;
#endif
#ifdef MSW_HAVE_AVX512
    if (cpu & MSW_CPU_AVX512)
        d->kernel = msw__depthwise_avx512;
#endif
    (void)d;
    (void)cpu;
}

#endif /* MSW_LIB_X86_DIRECT_H */
