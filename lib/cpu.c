/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpu.h"

#include <msw/base.h>

uint32_t msw__cpu_detect(void)
{
#if defined(__x86_64__)
    return MSW_CPU_C | msw__cpu_detect_x86();
#else
    return MSW_CPU_C;
#endif
}

uint32_t msw__cpu_built(void)
{
    uint32_t levels = MSW_CPU_C;

#ifdef MSW_HAVE_AVX2
    levels |= MSW_CPU_AVX2;
#endif
#ifdef MSW_HAVE_AVX512
    levels |= MSW_CPU_AVX512;
#endif
    return levels;
}

uint32_t msw__cpu_levels(uint32_t mask)
{
    uint32_t levels = msw__cpu_detect();

    if (mask)
        levels &= mask | MSW_CPU_C;
    if (!(levels & MSW_CPU_AVX2))
        levels &= ~MSW_CPU_AVX512;
    return levels;
}

void msw__cpu_model(char out[MSW__CPU_MODEL_SIZE])
{
#if defined(__x86_64__)
    msw__cpu_model_x86(out);
#else
    out[0] = 0;
#endif
}

const char *msw__cpu_name(uint32_t levels)
{
    return levels & MSW_CPU_AVX512 ? "avx512" : levels & MSW_CPU_AVX2 ? "avx2" : "c";
}
