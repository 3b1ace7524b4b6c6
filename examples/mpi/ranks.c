/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MPI_Allreduce() may add in any order, and in another one the next time. Here each rank
 * gets its section of the array from all ranks, adds in the order of the ranks, and gives
 * the sums to all: as many bytes on the wire, and one possible result.
 */
#include "ranks.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

enum { SECTION = 1 << 14 }; /* elements that a rank adds up at a time */

static int rank, count;
static double *sent, *received, *sums; /* `count` sections, as many, and one */

bool ranks_open(void)
{
    size_t n;

    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    n = (size_t)count * SECTION;
    sent = malloc(n * sizeof *sent);
    received = malloc(n * sizeof *received);
    sums = malloc(SECTION * sizeof *sums);
    return sent && received && sums;
}

void ranks_close(void)
{
    free(sent);
    free(received);
    free(sums);
    sent = received = sums = NULL;
}

int ranks_rank(void)
{
    return rank;
}

int ranks_count(void)
{
    return count;
}

static void add_floats(int section)
{
    float *sum = (float *)sums;

    for (int i = 0; i < section; i++) {
        double all = 0;

        for (int k = 0; k < count; k++)
            all += (double)((const float *)received)[k * section + i];
        sum[i] = (float)all;
    }
}

static void add_doubles(int section)
{
    for (int i = 0; i < section; i++) {
        sums[i] = 0;
        for (int k = 0; k < count; k++)
            sums[i] += received[k * section + i];
    }
}

/* At most `count` sections. */
static void sum_part(char *data, size_t elements, size_t size, msw_real type)
{
    const int section = (int)((elements + (size_t)count - 1) / (size_t)count);
    const int bytes = section * (int)size;

    memset(sent, 0, (size_t)bytes * (size_t)count);
    memcpy(sent, data, elements * size);
    MPI_Alltoall(sent, bytes, MPI_BYTE, received, bytes, MPI_BYTE, MPI_COMM_WORLD);
    if (type == MSW_REAL_DOUBLE)
        add_doubles(section);
    else
        add_floats(section);
    MPI_Allgather(sums, bytes, MPI_BYTE, received, bytes, MPI_BYTE, MPI_COMM_WORLD);
    memcpy(data, received, elements * size);
}

int ranks_sum(void *data, size_t elements, msw_real type, void *user)
{
    const size_t size = type == MSW_REAL_DOUBLE ? sizeof(double) : sizeof(float);
    const size_t most = (size_t)count * SECTION;

    (void)user;
    for (size_t i = 0; i < elements; i += most)
        sum_part((char *)data + i * size, elements - i < most ? elements - i : most, size,
                 type);
    return 0;
}
