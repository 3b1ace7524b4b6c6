/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kernel runs for how many columns: by a model of measured costs, or by timing. */
#include "gemm.h"

#include <string.h>

/* Columns for which a handle without an expected number is made ready. */
static const size_t usual_n[MSW__TIMINGS] = {1, 8, 64, 512};

bool msw__gemm_has(const msw_gemm *g, msw__gemm_kind kind)
{
    return kind == MSW__GEMM_BLAS ? g->dense != NULL : g->packs[kind].chunk_count != 0;
}

static uint64_t sum_bytes(const msw_gemm *g, bool borrowed)
{
    uint64_t bytes = 0;

    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        if (msw__gemm_has(g, (msw__gemm_kind)kind) && g->packs[kind].borrowed == borrowed)
            bytes += msw__packing_bytes(&g->packs[kind]);
    return bytes;
}

/* A copy of packed bytes is held whole. */
static uint64_t copied_bytes(const msw_gemm *g)
{
    return g->buffer && g->buffer->owned ? g->buffer->size : 0;
}

uint64_t msw__gemm_packed_bytes(const msw_gemm *g)
{
    return copied_bytes(g) + sum_bytes(g, false);
}

uint64_t msw__gemm_borrowed_bytes(const msw_gemm *g)
{
    return copied_bytes(g) ? 0 : sum_bytes(g, true);
}

const char *msw__gemm_kernel_name(const msw_gemm *g, msw__gemm_kind kind)
{
    enum { DENSE = MSW__GEMM_BLAS };
    static const char *const names[][3] = {
        [MSW__GEMM_WIDE] = {"lut_wide c", "lut_wide avx2", "lut_wide avx512"},
        [MSW__GEMM_NARROW] = {"lut_narrow c", "lut_narrow avx2", "lut_narrow avx512"},
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

static double panel_cost(const msw_gemm *g, const msw__packing *w, const msw__gemm_cost *c)
{
    const double lookup = c->lookup + (w->paired ? 0 : c->unpaired);

    return c->panel + (double)w->lookups * lookup + (double)w->products * c->product +
           (double)w->records * c->record + (double)w->visits * c->visit +
           (double)w->table_count * w->groups * c->build +
           (double)w->column_count * c->load + (double)g->rows * c->store;
}

static double predict_packed(const msw_gemm *g, msw__gemm_kind kind, size_t n)
{
    const msw__gemm_cost *cost = g->table.traits[kind]->cost;
    const msw__packing *w = &g->packs[kind];
    const size_t rest = n % w->width;
    const int share = 4 * rest <= w->width ? 2 : 2 * rest <= w->width ? 1 : 0;
    const double whole = (double)(n / w->width) * panel_cost(g, w, &cost[0]);

    return 1e-9 * (g->table.call + whole + (rest ? panel_cost(g, w, &cost[share]) : 0));
}

/* Of a good BLAS on a fast processor: where the model errs, a dense product is slower. */
static double predict_blas(const msw_gemm *g, size_t n)
{
    const double rows = (double)g->rows, columns = (double)g->columns;

    if (n == 1)
        return 1e-9 * (40 + 1.4 * rows + 0.044 * rows * columns);
    return 1e-9 * (60 + 1.3 * rows + 0.1 * columns + 0.0185 * rows * columns * (double)n);
}

static double predict(const msw_gemm *g, msw__gemm_kind kind, size_t n)
{
    const double copied = g->gathers && kind != MSW__GEMM_WIDE
                              ? (double)g->columns * (double)n : 0;

    return 1e-9 * copied * copy_cost +
           (kind == MSW__GEMM_BLAS ? predict_blas(g, n) : predict_packed(g, kind, n));
}

double msw__gemm_predict(const msw_gemm *g, msw__gemm_kind kind, size_t n)
{
    return predict(g, kind, n);
}

/* Of those that there are; the one with a packing that the model likes best when only
 * packings count. */
static msw__gemm_kind best_predicted(const msw_gemm *g, size_t n, bool blas)
{
    msw__gemm_kind best = MSW__GEMM_WIDE;

    const int end = blas ? MSW__GEMM_KINDS : MSW__GEMM_BLAS;

    for (int kind = MSW__GEMM_NARROW; kind < end; kind++)
        if (msw__gemm_has(g, (msw__gemm_kind)kind) &&
            (!msw__gemm_has(g, best) ||
             predict(g, (msw__gemm_kind)kind, n) < predict(g, best, n)))
            best = (msw__gemm_kind)kind;
    return best;
}

/* Memory */

/* Of the packings that will be kept, at most. */
static uint64_t kept_bytes(const msw_gemm *g, bool all)
{
    uint64_t most = 0;

    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        if (!g->packs[kind].borrowed && most < msw__packing_bytes(&g->packs[kind]))
            most = msw__packing_bytes(&g->packs[kind]);
    return all ? msw__gemm_packed_bytes(g) : most;
}

static bool copy_fits(const msw_gemm *g, const msw_gemm_options *o)
{
    const double dense = (double)g->rows * (double)g->columns * sizeof(float);

    return !o->max_bytes || dense + (double)kept_bytes(g, !o->expected_n) <=
                                (double)o->max_bytes;
}

/* May there be a dense copy? */
static bool may_copy(const msw_gemm *g, const msw__weights *w, const msw_gemm_options *o)
{
    if (!w->u || o->fallback == MSW_FALLBACK_NEVER || !g->ctx->blas)
        return false;
    return o->fallback == MSW_FALLBACK_BLAS ||
           (!g->ctx->options.memory_limit && copy_fits(g, o));
}

/* Choosing */

/* By the timing, brought to n columns by the model. */
static double timed_seconds(const msw_gemm *g, const msw__gemm_timing *t,
                            msw__gemm_kind kind, size_t n)
{
    return t->n == n ? t->seconds[kind]
                     : t->seconds[kind] * predict(g, kind, n) / predict(g, kind, t->n);
}

static msw__gemm_kind best_timed(const msw_gemm *g, const msw__gemm_timing *t, size_t n)
{
    msw__gemm_kind best = MSW__GEMM_KINDS;

    for (int i = 0; i < MSW__GEMM_KINDS; i++) {
        const msw__gemm_kind kind = (msw__gemm_kind)i;

        if (msw__gemm_has(g, kind) &&
            (best == MSW__GEMM_KINDS ||
             timed_seconds(g, t, kind, n) < timed_seconds(g, t, best, n)))
            best = kind;
    }
    return best;
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

/* The kernels that a call of one of the expected numbers of columns would use. */
static void keep_best(msw_gemm *g, const size_t *n, size_t count)
{
    bool used[MSW__GEMM_KINDS] = {false};

    for (size_t i = 0; i < count; i++)
        used[msw__gemm_choice(g, n[i]).kind] = true;
    if (!used[MSW__GEMM_BLAS])
        msw__gemm_drop_dense(g);
    if (count > 1)
        return; /* any number of columns may come */
    if (used[MSW__GEMM_BLAS])
        used[best_predicted(g, n[0], false)] = true;
    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        if (!used[kind] && msw__gemm_has(g, (msw__gemm_kind)kind))
            msw__packing_free(&g->packs[kind], g->ctx);
}

static bool knows_all(const msw_gemm *g, const msw__gemm_timing *t, bool blas)
{
    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        if (msw__gemm_has(g, (msw__gemm_kind)kind) && !(t->seconds[kind] > 0))
            return false;
    return !blas || t->seconds[MSW__GEMM_BLAS] > 0;
}

static bool recall_all(msw_gemm *g, const msw__weights *w, const msw_gemm_options *o,
                       const size_t *n, size_t count, bool blas)
{
    for (size_t i = 0; i < count; i++)
        if (!o->wisdom || !msw__gemm_recall(&g->timings[i], o->wisdom, w, n[i]) ||
            !knows_all(g, &g->timings[i], blas))
            return false;
    g->timing_count = count;
    return true;
}

static msw_status time_all(msw_gemm *g, const msw__weights *w, const msw_gemm_options *o,
                           const size_t *n, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        msw__gemm_timing *t = &g->timings[i];
        msw_status status;

        memset(t, 0, sizeof *t);
        status = msw__gemm_time(g, t, n[i]);
        if (!status && o->wisdom && knows_all(g, t, false))
            status = msw__gemm_remember(t, o->wisdom, w);
        if (status)
            return status;
    }
    g->timing_count = count;
    return MSW_OK;
}

static bool model_prefers_blas(const msw_gemm *g, const size_t *n, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (predict(g, MSW__GEMM_BLAS, n[i]) <
            predict(g, best_predicted(g, n[i], false), n[i]))
            return true;
    return false;
}

static bool within(const msw_gemm *g, uint64_t max_bytes)
{
    return !max_bytes || msw__gemm_packed_bytes(g) <= max_bytes;
}

msw_status msw__gemm_choose(msw_gemm *g, const msw__weights *w, const msw_gemm_options *o)
{
    const size_t *n = o->expected_n ? &o->expected_n : usual_n;
    const size_t count = o->expected_n ? 1 : sizeof usual_n / sizeof *usual_n;
    const bool blas = may_copy(g, w, o);
    msw_status status = MSW_OK;

    if (o->fallback == MSW_FALLBACK_BLAS && !copy_fits(g, o))
        return MSW_E_LIMIT;
    g->tuned = recall_all(g, w, o, n, count, blas);
    if (blas && (g->tuned || o->tune || model_prefers_blas(g, n, count)))
        status = msw__gemm_make_dense(g, w->u);
    if (!status && o->tune && !g->tuned) {
        status = time_all(g, w, o, n, count);
        g->tuned = !status;
    }
    if (status)
        return status;
    keep_best(g, n, count);
    g->expected = msw__gemm_choice(g, n[0]).kind;
    g->expected_n = o->expected_n;
    return within(g, o->max_bytes) ? MSW_OK : MSW_E_LIMIT;
}

static msw__gemm_choice_made timed_choice(const msw_gemm *g, size_t n)
{
    const msw__gemm_timing *t = closest(g, n);
    msw__gemm_choice_made c = {.kind = best_timed(g, t, n)};

    c.predicted = predict(g, c.kind, n);
    c.measured = timed_seconds(g, t, c.kind, n);
    c.dense = timed_seconds(g, t, MSW__GEMM_BLAS, n);
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

msw__gemm_kind msw__gemm_kind_for(const msw_gemm *g, size_t n)
{
    return n == g->expected_n ? g->expected : msw__gemm_choice(g, n).kind;
}
