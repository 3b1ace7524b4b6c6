/* SPDX-License-Identifier: BSD-2-Clause */
/* Timing the kernels that a handle has, or remembering what they took. */
#include "wisdom.h"

#include <stdlib.h>
#include <string.h>

enum { MIN_ROUNDS = 9, MAX_ROUNDS = 50, MAX_CALLS = 1000, BLIND_CALLS = 100 };
static const double sample_seconds = 20e-6; /* a clock's resolution is less than that */
static const double enough_seconds = 4e-3;

static double seconds(uint64_t begin, uint64_t end)
{
    return end > begin ? 1e-9 * (double)(end - begin) : 0;
}

typedef struct trial {
    const msw_gemm *g;
    msw_gemm_call call;
    size_t calls[MSW__GEMM_KINDS]; /* that make a sample */
    double samples[MSW__GEMM_KINDS][MAX_ROUNDS];
} trial;

static msw_status repeat(trial *t, msw__gemm_kind kind, size_t calls)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; !status && i < calls; i++)
        status = msw__gemm_run_as(t->g, kind, &t->call);
    return status;
}

/* Seconds per call. The candidates hold different weights, which one call brings back to
 * the cache. */
static msw_status sample(double *out, trial *t, msw__gemm_kind kind)
{
    const size_t calls = t->calls[kind];
    msw_status status = repeat(t, kind, 1);
    uint64_t begin;

    if (status)
        return status;
    begin = msw__clock_now(t->g->ctx);
    status = repeat(t, kind, calls);
    *out = seconds(begin, msw__clock_now(t->g->ctx)) / (double)calls;
    return status;
}

static size_t calls_for(double took)
{
    const double calls = took > 0 ? sample_seconds / took : BLIND_CALLS;

    return calls < 1 ? 1 : calls > MAX_CALLS ? MAX_CALLS : (size_t)calls;
}

/* One sample of each candidate; what it took is added to *spent. */
static msw_status time_round(trial *t, size_t round, double *spent)
{
    for (int kind = 0; kind < MSW__GEMM_KINDS; kind++) {
        double *took = &t->samples[kind][round];
        msw_status status;

        if (!msw__gemm_has(t->g, (msw__gemm_kind)kind))
            continue;
        status = sample(took, t, (msw__gemm_kind)kind);
        if (status)
            return status;
        *spent += *took * (double)t->calls[kind];
    }
    return MSW_OK;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *x, size_t count)
{
    qsort(x, count, sizeof *x, compare);
    return x[count / 2];
}

/* A clock that stands still gets one. */
static bool more_rounds(size_t rounds, double spent)
{
    return !rounds || (spent > 0 && rounds < MAX_ROUNDS &&
                       (rounds < MIN_ROUNDS || spent < enough_seconds));
}

/* The candidates take turns. A first round only says how many calls make a sample. */
static msw_status time_candidates(trial *t, double seconds[MSW__GEMM_KINDS])
{
    double spent = 0;
    size_t rounds = 0;
    msw_status status = time_round(t, 0, &spent);

    for (int kind = 0; kind < MSW__GEMM_KINDS; kind++)
        t->calls[kind] = calls_for(t->samples[kind][0]);
    spent = 0;
    while (!status && more_rounds(rounds, spent))
        status = time_round(t, rounds++, &spent);
    for (int kind = 0; !status && kind < MSW__GEMM_KINDS; kind++)
        if (msw__gemm_has(t->g, (msw__gemm_kind)kind))
            seconds[kind] = median(t->samples[kind], rounds);
    return status;
}

/* Not zeros as they were allocated: those pages may all be the same one. */
static void fill(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = 1;
}

msw_status msw__gemm_time(const msw_gemm *g, msw__gemm_timing *t, size_t n)
{
    const size_t workspace = msw_gemm_workspace(g, n);
    trial r = {.g = g, .calls = {1, 1, 1}};
    void *x = NULL, *y = NULL, *w = NULL;
    size_t x_count, y_count;
    msw_status status;

    if (workspace == SIZE_MAX || !msw__size_mul(&x_count, g->columns, n) ||
        !msw__size_mul(&y_count, g->rows, n))
        return MSW_E_RANGE;
    status = msw__alloc(&x, g->ctx, x_count, sizeof(float));
    if (!status)
        status = msw__calloc(&y, g->ctx, y_count, sizeof(float));
    if (!status)
        status = msw__alloc(&w, g->ctx, workspace, 1);
    if (!status) {
        fill(x, x_count);
        msw_gemm_call_init(&r.call);
        r.call.x = x;
        r.call.y = y;
        r.call.n = r.call.ldx = r.call.ldy = n;
        r.call.workspace = w;
        r.call.workspace_bytes = workspace;
        t->n = n;
        status = time_candidates(&r, t->seconds);
    }
    msw__free(g->ctx, x, x_count, sizeof(float));
    msw__free(g->ctx, y, y_count, sizeof(float));
    msw__free(g->ctx, w, workspace, 1);
    return status;
}

static msw__wisdom_key key_of(const msw__weights *w, size_t n)
{
    const msw_plan *p = w->plan;
    const uint8_t *classes = w->u ? w->u->classes : w->classes;
    msw__wisdom_key k = {.rows = p->rows, .columns = p->columns, .n = n,
                         .block_rows = p->block_rows, .block_columns = p->block_columns};

    for (size_t b = 0; b < p->block_count; b++) {
        k.pruned += classes[b] == MSW_CLASS_PRUNED;
        k.unified += classes[b] == MSW_CLASS_UNIFIED;
    }
    return k;
}

bool msw__gemm_recall(msw__gemm_timing *t, const msw_wisdom *wisdom, const msw__weights *w,
                      size_t n)
{
    const msw__wisdom_key key = key_of(w, n);
    const msw__wisdom_entry *e = msw__wisdom_find(wisdom, &key);

    if (!e)
        return false;
    t->n = n;
    memcpy(t->seconds, e->seconds, sizeof t->seconds);
    return true;
}

msw_status msw__gemm_remember(const msw__gemm_timing *t, msw_wisdom *wisdom,
                              const msw__weights *w)
{
    msw__wisdom_entry e = {.key = key_of(w, t->n)};

    for (int i = 0; i < MSW__GEMM_KINDS; i++) {
        if (t->seconds[i] > 0)
            e.seconds[i] = t->seconds[i];
    }
    return msw__wisdom_add(wisdom, &e);
}
