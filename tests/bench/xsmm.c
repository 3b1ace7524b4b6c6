/* SPDX-License-Identifier: BSD-2-Clause */
/* LIBXSMM's generated kernels as a rival, for few columns. Debian's is static only. */
#include "bench.h"

#ifdef HAVE_XSMM

#include <libxsmm.h>
#include <stdlib.h>

enum { MAX_COLUMNS = 64, ROWS = 32 };

typedef struct kernels {
    libxsmm_smmfunction rows, rest; /* of ROWS rows of w; of what is left */
} kernels;

/* Column-major it is y' = x' w', which a kernel does for some rows of w. */
static libxsmm_smmfunction dispatch(const cell *c, size_t rows)
{
    const libxsmm_blasint n = (libxsmm_blasint)c->n, k = (libxsmm_blasint)c->k;
    const float one = 1, zero = 0;

    return rows ? libxsmm_smmdispatch(n, (libxsmm_blasint)rows, k, &n, &k, &n, &one, &zero,
                                      NULL, NULL)
                : NULL;
}

static void *prepare(const rival *r, const problem *p)
{
    kernels *x;

    (void)r;
    if (p->rows || p->c->n < 2 || p->c->n > MAX_COLUMNS)
        return NULL;
    x = checked(malloc(sizeof *x));
    x->rows = dispatch(p->c, ROWS);
    x->rest = dispatch(p->c, p->c->m % ROWS);
    if (x->rows && (x->rest || p->c->m % ROWS == 0))
        return x;
    free(x);
    return NULL;
}

static void run(void *state, const problem *p)
{
    const kernels *x = state;
    size_t m = 0;

    for (; m + ROWS <= p->c->m; m += ROWS)
        x->rows(p->x, p->w + m * p->c->k, p->y + m * p->c->n);
    if (m < p->c->m)
        x->rest(p->x, p->w + m * p->c->k, p->y + m * p->c->n);
}

bool find_xsmm(rival *out)
{
    libxsmm_init();
    *out = (rival){"libxsmm", NULL, prepare, run, free};
    return true;
}

#else

bool find_xsmm(rival *out)
{
    (void)out;
    return false;
}

#endif
