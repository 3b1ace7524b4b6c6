/* SPDX-License-Identifier: BSD-2-Clause */
/* Timing the kernels that a handle has, or remembering what they took. */
#include "wisdom.h"

#include <string.h>

enum { ROUNDS = 7, MAX_CALLS = 1000 };
static const double sample_seconds = 20e-6; /* a clock's resolution is less than that */

static double seconds(uint64_t begin, uint64_t end)
{
    return end > begin ? 1e-9 * (double)(end - begin) : 0;
}

/* Seconds per call. */
static msw_status sample(double *out, const msw_gemm *g, msw__gemm_kind kind,
                         const msw_gemm_call *call, size_t calls)
{
    const uint64_t begin = msw__clock_now(g->ctx);

    for (size_t i = 0; i < calls; i++) {
        const msw_status status = msw__gemm_run_as(g, kind, call);
        if (status)
            return status;
    }
    *out = seconds(begin, msw__clock_now(g->ctx)) / (double)calls;
    return MSW_OK;
}

static size_t calls_for(double took)
{
    const double calls = took > 0 ? sample_seconds / took : MAX_CALLS;

    return calls < 1 ? 1 : calls > MAX_CALLS ? MAX_CALLS : (size_t)calls;
}

/* The least of some rounds, the candidates in turn; the first only says how many calls
 * make a sample. */
static msw_status time_candidates(const msw_gemm *g, msw__gemm_timing *t,
                                  const msw_gemm_call *call)
{
    size_t calls[MSW__GEMM_KINDS] = {1, 1, 1};

    for (int round = 0; round < ROUNDS; round++)
        for (int kind = 0; kind < MSW__GEMM_KINDS; kind++) {
            double took = 0;
            msw_status status;

            if (!msw__gemm_has(g, (msw__gemm_kind)kind))
                continue;
            status = sample(&took, g, (msw__gemm_kind)kind, call, calls[kind]);
            if (status)
                return status;
            if (round == 0)
                calls[kind] = calls_for(took);
            if (round < 2 || took < t->seconds[kind])
                t->seconds[kind] = took;
        }
    return MSW_OK;
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
    msw_gemm_call call;
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
        msw_gemm_call_init(&call);
        call.x = x;
        call.y = y;
        call.n = call.ldx = call.ldy = n;
        call.workspace = w;
        call.workspace_bytes = workspace;
        t->n = n;
        status = time_candidates(g, t, &call);
    }
    msw__free(g->ctx, x, x_count, sizeof(float));
    msw__free(g->ctx, y, y_count, sizeof(float));
    msw__free(g->ctx, w, workspace, 1);
    return status;
}

static msw__wisdom_key key_of(const msw__weights *w, size_t n)
{
    const msw_plan *p = w->plan;
    msw__wisdom_key k = {.rows = p->rows, .columns = p->columns, .n = n,
                         .block_rows = p->block_rows, .block_columns = p->block_columns};

    if (!w->u) {
        k.pruned = w->pruned;
        k.unified = w->unified;
        return k;
    }
    for (size_t b = 0; b < p->block_count; b++) {
        k.pruned += w->u->classes[b] == MSW_CLASS_PRUNED;
        k.unified += w->u->classes[b] == MSW_CLASS_UNIFIED;
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
