/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kernel runs for how many columns: by a model of measured costs, or by timing. */
#include "gemm.h"
#include "blas.h"

#include <string.h>

enum { TUNE_ROUNDS = 5 };

/* Columns for which a handle without an expected number is made ready. */
static const size_t usual_n[] = {1, 8, 64, 512};

bool msw__gemm_has(const msw_gemm *g, msw__gemm_kind kind)
{
    return kind == MSW__GEMM_BLAS ? g->dense != NULL : g->packs[kind].chunk_count != 0;
}

uint64_t msw__gemm_packed_bytes(const msw_gemm *g)
{
    uint64_t bytes = 0;

    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        if (msw__gemm_has(g, (msw__gemm_kind)kind))
            bytes += msw__packing_bytes(&g->packs[kind]);
    return bytes;
}

const char *msw__gemm_kernel_name(const msw_gemm *g, msw__gemm_kind kind)
{
    enum { DENSE = MSW__GEMM_BLAS };
    static const char *const names[][3] = {
        [MSW__GEMM_WIDE] = {"lut_wide c", "lut_wide avx2", "lut_wide avx512"},
        [MSW__GEMM_NARROW] = {"", "lut_narrow avx2", "lut_narrow avx512"},
        [DENSE] = {"dense_blocks c", "dense_blocks avx2", "dense_blocks avx512"}};
    const uint32_t cpu = g->ctx->cpu;

    if (kind == MSW__GEMM_BLAS)
        return "blas";
    return names[g->packs[kind].table_count ? (int)kind : DENSE]
                [cpu & MSW_CPU_AVX512 ? 2 : cpu & MSW_CPU_AVX2 ? 1 : 0];
}

/* The model: seconds */

/* Nanoseconds to write and read an element of X. */
static const double copy_cost = 0.4;

static double predict_packed(const msw_gemm *g, msw__gemm_kind kind, size_t n)
{
    const msw__gemm_traits *t = g->table.traits[kind];
    const msw__packing *w = &g->packs[kind];
    const size_t rest = n % w->width;
    const double panel = (double)w->lookups * t->lookup + (double)w->products * t->product +
                         (double)w->table_count * w->groups * t->build +
                         (double)w->column_count * t->load + (double)g->rows * t->store;
    double panels = (double)(n / w->width);

    if (rest)
        panels += 4 * rest <= w->width ? t->quarter : 2 * rest <= w->width ? t->half : 1;
    return 1e-9 * panels * panel;
}

static double predict_blas(const msw_gemm *g, size_t n)
{
    const msw__gemm_table *t = &g->table;
    const double weights = (double)g->rows * (double)g->columns;

    return 1e-9 * (t->blas_call + weights * t->blas_weight + weights * (double)n * t->blas);
}

static double predict(const msw_gemm *g, msw__gemm_kind kind, size_t n)
{
    const double copied = g->gathers && kind != MSW__GEMM_WIDE
                              ? (double)g->columns * (double)n : 0;

    return 1e-9 * copied * copy_cost +
           (kind == MSW__GEMM_BLAS ? predict_blas(g, n) : predict_packed(g, kind, n));
}

/* Of those that there are; the one with a packing that the model likes best when only
 * packings count. */
static msw__gemm_kind best_predicted(const msw_gemm *g, size_t n, bool blas)
{
    msw__gemm_kind best = MSW__GEMM_WIDE;

    for (int kind = MSW__GEMM_NARROW; kind < (blas ? MSW__GEMM_KINDS : MSW__GEMM_BLAS); kind++)
        if (msw__gemm_has(g, (msw__gemm_kind)kind) &&
            (!msw__gemm_has(g, best) ||
             predict(g, (msw__gemm_kind)kind, n) < predict(g, best, n)))
            best = (msw__gemm_kind)kind;
    return best;
}

/* The dense copy */

static size_t dense_column(const msw_plan *p, size_t column)
{
    return p->column_permutation ? p->column_permutation[column] : column;
}

static void copy_block_row(float *dense, const msw_unified *u, size_t i)
{
    const msw_plan *p = u->plan;
    size_t magnitude = u->magnitude_start[i], sign = u->sign_start[i];
    size_t weight = u->free_start[i];

    for (size_t j = 0; j < p->block_column_count; j++) {
        const uint8_t class = u->classes[i * p->block_column_count + j];

        if (class == MSW_CLASS_PRUNED)
            continue;
        for (size_t r = 0; r < msw__plan_rows(p, i); r++) {
            const size_t v = msw__plan_row(p, i) + r;
            float *row = dense + (p->row_permutation ? p->row_permutation[v] : v) * p->columns;

            for (size_t c = 0; c < msw__plan_columns(p, j); c++) {
                float *to = row + dense_column(p, j * p->block_columns + c);
                if (class == MSW_CLASS_FREE)
                    *to = u->free_weights[weight++];
                else
                    *to = msw__sign_get(u->signs, sign++) ? -u->magnitudes[magnitude]
                                                          : u->magnitudes[magnitude];
            }
        }
        magnitude += class == MSW_CLASS_UNIFIED;
    }
}

static msw_status make_dense(msw_gemm *g, const msw_unified *u)
{
    size_t count;
    void *memory;
    msw_status status;

    if (!msw__size_mul(&count, g->rows, g->columns))
        return MSW_E_NOMEM;
    status = msw__calloc(&memory, g->ctx, count, sizeof *g->dense);
    if (status)
        return status;
    g->dense = memory;
    for (size_t i = 0; i < u->plan->block_row_count; i++)
        copy_block_row(g->dense, u, i);
    return MSW_OK;
}

static void drop_dense(msw_gemm *g)
{
    msw__free(g->ctx, g->dense, g->rows * g->columns, sizeof *g->dense);
    g->dense = NULL;
}

static bool copy_fits(const msw_gemm *g, uint64_t max_bytes)
{
    const double bytes = (double)g->rows * (double)g->columns * sizeof(float);

    return !max_bytes || bytes + (double)msw__gemm_packed_bytes(g) <= (double)max_bytes;
}

/* May there be a dense copy? */
static bool may_copy(const msw_gemm *g, const msw_gemm_options *o)
{
    if (o->fallback == MSW_FALLBACK_NEVER || !g->ctx->blas)
        return false;
    return o->fallback == MSW_FALLBACK_BLAS ||
           (!g->ctx->options.memory_limit && copy_fits(g, o->max_bytes));
}

static bool model_prefers_blas(const msw_gemm *g, size_t expected_n)
{
    const size_t *n = expected_n ? &expected_n : usual_n;
    const size_t count = expected_n ? 1 : sizeof usual_n / sizeof *usual_n;

    for (size_t i = 0; i < count; i++)
        if (predict_blas(g, n[i]) < predict(g, best_predicted(g, n[i], false), n[i]))
            return true;
    return false;
}

/* Tuning */

static double seconds(uint64_t begin, uint64_t end)
{
    return end > begin ? 1e-9 * (double)(end - begin) : 0;
}

/* The least of some rounds, the candidates in turn. */
static msw_status time_candidates(msw_gemm *g, msw__gemm_timing *t, msw_gemm_call *call)
{
    for (int round = 0; round < TUNE_ROUNDS; round++)
        for (int kind = 0; kind < MSW__GEMM_KINDS; kind++) {
            uint64_t begin;
            double took;
            msw_status status;

            if (!msw__gemm_has(g, (msw__gemm_kind)kind))
                continue;
            begin = msw__clock_now(g->ctx);
            status = msw__gemm_run_as(g, (msw__gemm_kind)kind, call);
            if (status)
                return status;
            took = seconds(begin, msw__clock_now(g->ctx));
            if (round == 0 || took < t->seconds[kind])
                t->seconds[kind] = took;
        }
    return MSW_OK;
}

static msw_status tune_for(msw_gemm *g, size_t n)
{
    msw__gemm_timing *t = &g->timings[g->timing_count];
    const size_t workspace = msw_gemm_workspace(g, n);
    msw_gemm_call call;
    void *x = NULL, *y = NULL, *w = NULL;
    size_t x_count, y_count;
    msw_status status;

    if (workspace == SIZE_MAX || !msw__size_mul(&x_count, g->columns, n) ||
        !msw__size_mul(&y_count, g->rows, n))
        return MSW_E_RANGE;
    status = msw__calloc(&x, g->ctx, x_count, sizeof(float));
    if (!status)
        status = msw__calloc(&y, g->ctx, y_count, sizeof(float));
    if (!status)
        status = msw__alloc(&w, g->ctx, workspace, 1);
    if (!status) {
        msw_gemm_call_init(&call);
        call.x = x;
        call.y = y;
        call.n = call.ldx = call.ldy = n;
        call.workspace = w;
        call.workspace_bytes = workspace;
        t->n = n;
        status = time_candidates(g, t, &call);
    }
    if (!status)
        g->timing_count++;
    msw__free(g->ctx, x, x_count, sizeof(float));
    msw__free(g->ctx, y, y_count, sizeof(float));
    msw__free(g->ctx, w, workspace, 1);
    return status;
}

static msw_status tune(msw_gemm *g, size_t expected_n)
{
    msw_status status = MSW_OK;

    if (expected_n)
        status = tune_for(g, expected_n);
    for (size_t i = 0; !expected_n && !status && i < sizeof usual_n / sizeof *usual_n; i++)
        status = tune_for(g, usual_n[i]);
    g->tuned = true;
    return status;
}

static msw__gemm_kind best_timed(const msw_gemm *g, const msw__gemm_timing *t)
{
    msw__gemm_kind best = MSW__GEMM_KINDS;

    for (int kind = 0; kind < MSW__GEMM_KINDS; kind++)
        if (msw__gemm_has(g, (msw__gemm_kind)kind) &&
            (best == MSW__GEMM_KINDS || t->seconds[kind] < t->seconds[best]))
            best = (msw__gemm_kind)kind;
    return best;
}

static bool blas_ever_faster(const msw_gemm *g)
{
    for (size_t i = 0; i < g->timing_count; i++)
        if (best_timed(g, &g->timings[i]) == MSW__GEMM_BLAS)
            return true;
    return false;
}

/* For one expected number of columns one packing is enough. */
static void drop_packings(msw_gemm *g, const msw_gemm_options *o)
{
    msw__gemm_kind best;

    if (!o->expected_n)
        return;
    best = best_predicted(g, o->expected_n, false);
    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        if (kind != (int)best && msw__gemm_has(g, (msw__gemm_kind)kind))
            msw__packing_free(&g->packs[kind], g->ctx);
}

msw_status msw__gemm_choose(msw_gemm *g, const msw_unified *u, const msw_gemm_options *o)
{
    msw_status status = MSW_OK;

    drop_packings(g, o);
    if (o->max_bytes && msw__gemm_packed_bytes(g) > o->max_bytes)
        return MSW_E_LIMIT;
    if (o->fallback == MSW_FALLBACK_BLAS && !copy_fits(g, o->max_bytes))
        return MSW_E_LIMIT;
    if (may_copy(g, o) && (o->tune || model_prefers_blas(g, o->expected_n)))
        status = make_dense(g, u);
    if (!status && o->tune)
        status = tune(g, o->expected_n);
    if (!status && o->tune && !blas_ever_faster(g))
        drop_dense(g);
    return status;
}

/* The timing for the closest number of columns, by ratio. */
static const msw__gemm_timing *closest(const msw_gemm *g, size_t n)
{
    const msw__gemm_timing *best = &g->timings[0];

    for (size_t i = 1; i < g->timing_count; i++)
        if ((double)n * (double)n > (double)best->n * (double)g->timings[i].n)
            best = &g->timings[i];
    return best;
}

static msw__gemm_choice_made timed_choice(const msw_gemm *g, size_t n)
{
    const msw__gemm_timing *t = closest(g, n);
    const double scale = (double)n / (double)t->n;
    msw__gemm_choice_made c = {.kind = best_timed(g, t)};

    c.predicted = predict(g, c.kind, n);
    c.measured = t->seconds[c.kind] * scale;
    c.dense = t->seconds[MSW__GEMM_BLAS] * scale;
    c.reason = "timed: the fastest candidate";
    return c;
}

msw__gemm_choice_made msw__gemm_choice(const msw_gemm *g, size_t n)
{
    msw__gemm_choice_made c = {.reason = "cost model"};

    if (n == 0)
        n = 1;
    if (g->tuned)
        return timed_choice(g, n);
    c.kind = best_predicted(g, n, true);
    c.predicted = predict(g, c.kind, n);
    if (c.kind == MSW__GEMM_BLAS)
        c.reason = "cost model: the BLAS is faster";
    else if (!g->dense)
        c.reason = "cost model; no dense copy for the BLAS";
    return c;
}
