/* SPDX-License-Identifier: BSD-2-Clause */
/* Sums over the ranks of MPI_COMM_WORLD whose bits do not depend on timing. */
#ifndef MPI_EXAMPLE_RANKS_H
#define MPI_EXAMPLE_RANKS_H

#include <msw/msw.h>

#include <stdbool.h>

/* After MPI_Init(). False: not enough memory. */
bool ranks_open(void);
void ranks_close(void);
int ranks_rank(void);
int ranks_count(void);

/* As msw_host.allreduce; @p user is not looked at. An error of MPI ends all ranks, as it
 * does by default, so that none is left waiting: returns 0. */
int ranks_sum(void *data, size_t count, msw_real type, void *user);

#endif
