/* SPDX-License-Identifier: BSD-2-Clause */
#include "threads.h"

#include <stdio.h>

#if defined(__GNUC__) && defined(__ELF__)

/* OpenBLAS's own functions; weak: null pointers when another BLAS is linked. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

void blas_use_one_thread(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

const char *blas_description(void)
{
    static char text[64] = "a BLAS that does not tell its name";

    if (openblas_get_corename)
        snprintf(text, sizeof text, "OpenBLAS %s", openblas_get_corename());
    return text;
}

#else

void blas_use_one_thread(void)
{
}

const char *blas_description(void)
{
    return "a BLAS that does not tell its name";
}

#endif
