/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FASHION_THREADS_H
#define FASHION_THREADS_H

/*
 * Call first in main(). The training code runs its own threads, each of which calls
 * BLAS; a BLAS that starts threads of its own then makes everything ten times slower,
 * and the result depend on the number of processors. OpenBLAS is told here; for others
 * set their environment variable (MKL_NUM_THREADS, BLIS_NUM_THREADS, ...) to 1.
 */
void blas_use_one_thread(void);

/* Name and processor type of the BLAS, as far as it tells. */
const char *blas_description(void);

#endif
