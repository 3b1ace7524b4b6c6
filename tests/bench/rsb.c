/* SPDX-License-Identifier: BSD-2-Clause */
/* librsb, a library of sparse products, as a rival. */
#include "bench.h"

#ifdef HAVE_RSB

#include <rsb.h>
#include <stdlib.h>

static void *prepare(const rival *r, const problem *p)
{
    const size_t size = p->c->m * p->c->k;
    float *value = checked(malloc((size + 1) * sizeof *value));
    rsb_coo_idx_t *row = checked(malloc((size + 1) * sizeof *row));
    rsb_coo_idx_t *column = checked(malloc((size + 1) * sizeof *column));
    rsb_err_t error = RSB_ERR_NO_ERROR;
    rsb_nnz_idx_t count = 0;
    struct rsb_mtx_t *matrix;

    (void)r;
    for (size_t i = 0; i < size; i++)
        if (p->w[i] != 0) {
            value[count] = p->w[i];
            row[count] = (rsb_coo_idx_t)(i / p->c->k);
            column[count++] = (rsb_coo_idx_t)(i % p->c->k);
        }
    matrix = rsb_mtx_alloc_from_coo_const(
        value, row, column, count, RSB_NUMERICAL_TYPE_FLOAT, (rsb_coo_idx_t)p->c->m,
        (rsb_coo_idx_t)p->c->k, RSB_DEFAULT_ROW_BLOCKING, RSB_DEFAULT_COL_BLOCKING,
        RSB_FLAG_NOFLAGS, &error);
    free(value);
    free(row);
    free(column);
    return error == RSB_ERR_NO_ERROR ? matrix : NULL;
}

static void run(void *state, const problem *p)
{
    const float one = 1, zero = 0;
    const rsb_coo_idx_t n = (rsb_coo_idx_t)p->c->n;

    if (rsb_spmm(RSB_TRANSPOSITION_N, &one, state, n, RSB_FLAG_WANT_ROW_MAJOR_ORDER, p->x, n,
                 &zero, p->y, n) != RSB_ERR_NO_ERROR)
        fail("rsb_spmm");
}

static void release(void *state)
{
    rsb_mtx_free(state);
}

bool find_rsb(rival *out)
{
    rsb_int_t threads = 1;

    if (rsb_lib_init(RSB_NULL_INIT_OPTIONS) != RSB_ERR_NO_ERROR ||
        rsb_lib_set_opt(RSB_IO_WANT_EXECUTING_THREADS, &threads) != RSB_ERR_NO_ERROR)
        return false;
    *out = (rival){"librsb", NULL, prepare, run, release};
    return true;
}

#else

bool find_rsb(rival *out)
{
    (void)out;
    return false;
}

#endif
