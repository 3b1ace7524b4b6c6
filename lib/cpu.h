/* SPDX-License-Identifier: BSD-2-Clause */
/* Which instruction set levels the machine has. */
#ifndef MSW_LIB_CPU_H
#define MSW_LIB_CPU_H

#include <stdint.h>

/* MSW_CPU_* levels of this build that the processor and the operating system offer. */
uint32_t msw__cpu_detect(void);
/* The same allowed by a mask (0: all), without gaps: a level counts only with those
 * below it. */
uint32_t msw__cpu_levels(uint32_t mask);
/* Those that this build has kernels for, whatever the machine. */
uint32_t msw__cpu_built(void);
/* "c", "avx2", "avx512": the highest level in a set. */
const char *msw__cpu_name(uint32_t levels);

/* The processor's name, or "" where it is not known. */
enum { MSW__CPU_MODEL_SIZE = 49 };
void msw__cpu_model(char out[MSW__CPU_MODEL_SIZE]);

#if defined(__x86_64__)
void msw__cpu_model_x86(char out[MSW__CPU_MODEL_SIZE]);
uint32_t msw__cpu_detect_x86(void); /* x86/cpu.c */
#endif

#endif /* MSW_LIB_CPU_H */
