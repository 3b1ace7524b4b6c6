/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of msw-bench share. */
#ifndef MSW_BENCH_H
#define MSW_BENCH_H

#include "weights.h"

#include <stdio.h>

typedef struct cell {
    size_t m, k, n;
    unsigned block_rows, block_columns, pruned, unified; /* the last two: per cent */
} cell;

/* One product, as everyone sees it: y = w x, row-major. */
typedef struct problem {
    const cell *c;
    bool rows;          /* x is n x k and y n x m */
    const float *w, *x; /* w densely */
    float *y;           /* of the rivals */
} problem;

/* A library that multiplies. prepare() returns what run() and release() take, or NULL
 * when this product is not for it. */
typedef struct rival {
    const char *name;
    void *library; /* prepare()'s, too */
    void *(*prepare)(const struct rival *r, const problem *p);
    void (*run)(void *state, const problem *p);
    void (*release)(void *state);
} rival;

enum { MAX_RIVALS = 4, MAX_NAME = 64 };

/* rivals.c: dense libraries that are there, loaded at run time where possible. core:
 * another kind of processor that OpenBLAS is to believe in, or NULL. */
size_t find_rivals(rival out[MAX_RIVALS], const char *blas, const char *core);
const char *blas_core(const rival *r); /* OpenBLAS's kernels; NULL: not known */
/* xsmm.c, rsb.c; false where they are not built in. */
bool find_xsmm(rival *out);
bool find_rsb(rival *out);

typedef struct settings {
    const char *blas, *isa;
    const char *group;  /* of goals; NULL: all */
    double seconds;     /* per cell */
    uint32_t threads;
    bool rows, hot, json;
    bool warm;          /* before each sample a call that does not count: where all take
                           turns, the others' weights have driven ours out of the cache, and the
                           rivals share theirs */
    bool tune, fallback; /* time the candidates; let libmsw use the BLAS it is linked to */
} settings;

typedef struct result {
    double own, rival, model; /* seconds: medians, and what the cost model says */
    double error;
    double rivals[MAX_RIVALS];
    char kernel[MAX_NAME], rival_name[MAX_NAME];
} result;

/* measure.c: ours and the rivals in turn, or each on its own when hot. */
result measure_cell(msw_context *ctx, const settings *s, const cell *c, const rival *rivals,
                    size_t count);
msw_context *make_context(const settings *s, uint32_t threads);
void *checked(void *memory);
_Noreturn void fail(const char *what);
double now(bool wall); /* seconds; not wall: of this thread's processor time */
double median(double *t, size_t n);

void print_header(const settings *s, const rival *rivals, size_t count);
void print_result(const settings *s, const cell *c, const result *r);

/* goals.c, limits.c, grid.c */
void run_goals(const settings *s, const rival *rivals, size_t count);
void run_limits(const settings *s, const rival *rivals, size_t count);
void run_break_even(const settings *s, const cell *c, const rival *rivals, size_t count);
int run_grid(const settings *s, const rival *blas, const char *file);

#endif /* MSW_BENCH_H */
