/* SPDX-License-Identifier: BSD-2-Clause */
#define LANE_KERNELS msw__lanes_c
#include "lanes_body.h"

#include <msw/base.h>

const msw__lane_kernels *msw__lanes(uint32_t cpu)
{
#ifdef MSW_HAVE_AVX512
    if (cpu & MSW_CPU_AVX512)
        return &msw__lanes_avx512;
#endif
#ifdef MSW_HAVE_AVX2
    if (cpu & MSW_CPU_AVX2)
        return &msw__lanes_avx2;
#endif
    (void)cpu;
    return &msw__lanes_c;
}
