/* SPDX-License-Identifier: BSD-2-Clause */
#include "threads.h"

#if defined(__GNUC__) && defined(__ELF__)

/* OpenBLAS's own name for it; weak: a null pointer when another BLAS is linked. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));

void blas_use_one_thread(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

#else

void blas_use_one_thread(void)
{
}

#endif
