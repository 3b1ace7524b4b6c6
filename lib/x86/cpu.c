/* SPDX-License-Identifier: BSD-2-Clause */
#include "../cpu.h"

#include <cpuid.h>
#include <msw/base.h>
#include <stdbool.h>
#include <string.h>

/* Register state that the operating system saves: bits of XCR0. */
enum { STATE_AVX = 0x06, STATE_AVX512 = 0xe6 };

static uint32_t xcr0(void)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has(uint32_t value, uint32_t bits)
{
    return (value & bits) == bits;
}

uint32_t msw__cpu_detect_x86(void)
{
    const uint32_t fma_osxsave_avx = 1u << 12 | 1u << 27 | 1u << 28; /* leaf 1 ecx */
    const uint32_t avx2_bmi2 = 1u << 5 | 1u << 8;                    /* leaf 7 ebx */
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    uint32_t a, b, c, d, state, levels = 0;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, fma_osxsave_avx))
        return 0;
    state = xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(state, STATE_AVX))
        return 0;
#ifdef MSW_HAVE_AVX2
    if (has(b, avx2_bmi2))
        levels |= MSW_CPU_AVX2;
#endif
#ifdef MSW_HAVE_AVX512
    if (has(b, avx2_bmi2 | f_dq_bw_vl) && has(state, STATE_AVX512))
        levels |= MSW_CPU_AVX512;
#endif
    (void)avx2_bmi2;
    (void)f_dq_bw_vl;
    return levels;
}

void msw__cpu_model_x86(char out[MSW__CPU_MODEL_SIZE])
{
    const uint32_t first = 0x80000002u, leaves = 3; /* 16 characters each */

    memset(out, 0, MSW__CPU_MODEL_SIZE);
    for (uint32_t i = 0; i < leaves; i++) {
        uint32_t r[4];

        if (!__get_cpuid(first + i, &r[0], &r[1], &r[2], &r[3]))
            return;
        memcpy(out + i * sizeof r, r, sizeof r);
    }
}
