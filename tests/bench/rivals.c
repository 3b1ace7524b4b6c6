/* SPDX-License-Identifier: BSD-2-Clause */
/* Dense libraries, loaded at run time: a CBLAS, oneDNN. */
#define _GNU_SOURCE
#include "bench.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef void sgemm_function(int, int, int, int, int, int, float, const float *, int,
                            const float *, int, float, float *, int);
typedef void sgemv_function(int, int, int, int, float, const float *, int, const float *,
                            int, float, float *, int);
typedef int dnnl_sgemm_function(char, char, int64_t, int64_t, int64_t, float, const float *,
                                int64_t, const float *, int64_t, float, float *, int64_t);

typedef struct cblas {
    sgemm_function *sgemm;
    sgemv_function *sgemv;
} cblas;

/* dlsym() gives a pointer to an object; ISO C knows no cast to a function. */
static void find(void *function, void *library, const char *name)
{
    void *found = dlsym(library, name);

    memcpy(function, &found, sizeof found);
}

static void *prepare_cblas(const rival *r, const problem *p)
{
    cblas *b = checked(calloc(1, sizeof *b));

    (void)p;
    find(&b->sgemm, r->library, "cblas_sgemm");
    find(&b->sgemv, r->library, "cblas_sgemv");
    if (!b->sgemm || !b->sgemv)
        fail("no cblas_sgemm in the BLAS");
    return b;
}

static void run_cblas(void *state, const problem *p)
{
    const cblas *b = state;
    const int m = (int)p->c->m, k = (int)p->c->k, n = (int)p->c->n;

    if (n == 1)
        b->sgemv(ROW_MAJOR, NO_TRANS, m, k, 1, p->w, k, p->x, 1, 0, p->y, 1);
    else if (p->rows)
        b->sgemm(ROW_MAJOR, NO_TRANS, TRANS, n, m, k, 1, p->x, k, p->w, k, 0, p->y, m);
    else
        b->sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, m, n, k, 1, p->w, k, p->x, n, 0, p->y, n);
}

static void *prepare_dnnl(const rival *r, const problem *p)
{
    dnnl_sgemm_function **f = checked(calloc(1, sizeof *f));

    (void)p;
    find(f, r->library, "dnnl_sgemm");
    return f;
}

static void run_dnnl(void *state, const problem *p)
{
    dnnl_sgemm_function *f = *(dnnl_sgemm_function **)state;
    const int64_t m = (int64_t)p->c->m, k = (int64_t)p->c->k, n = (int64_t)p->c->n;

    if (p->rows)
        f('N', 'T', n, m, k, 1, p->x, k, p->w, k, 0, p->y, m);
    else
        f('N', 'N', m, n, k, 1, p->w, k, p->x, n, 0, p->y, n);
}

static void one_thread(void *library)
{
    void (*set_threads)(int);

    find(&set_threads, library, "openblas_set_num_threads");
    if (set_threads)
        set_threads(1);
    find(&set_threads, RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads)
        set_threads(1);
}

/* A second OpenBLAS beside the first needs names of its own. */
static void *load_blas(const char *file, const char *core)
{
    void *library;

    if (!core)
        return dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (setenv("OPENBLAS_CORETYPE", core, 1) || setenv("OPENBLAS_NUM_THREADS", "1", 1))
        fail("setenv");
    library = dlmopen(LM_ID_NEWLM, file, RTLD_NOW | RTLD_LOCAL);
    if (unsetenv("OPENBLAS_CORETYPE"))
        fail("unsetenv");
    return library;
}

size_t find_rivals(rival out[MAX_RIVALS], const char *blas, const char *core)
{
    size_t n = 0;
    void *library = load_blas(blas, core);

    if (!library)
        fail(dlerror());
    one_thread(library);
    one_thread(RTLD_DEFAULT); /* the one that libmsw is linked to */
    out[n++] = (rival){"blas", library, prepare_cblas, run_cblas, free};
    if (core)
        return n;
    library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library && dlsym(library, "dnnl_sgemm")) {
        one_thread(library);
        out[n++] = (rival){"onednn", library, prepare_dnnl, run_dnnl, free};
    }
    if (find_xsmm(&out[n]))
        n++;
    return n;
}

const char *blas_core(const rival *r)
{
    const char *(*core)(void);

    find(&core, r->library, "openblas_get_corename");
    return core ? core() : NULL;
}
