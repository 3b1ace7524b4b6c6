/* SPDX-License-Identifier: BSD-2-Clause */
/* The handle, and one product. Which kernel runs is decided in gemm_choice.c. */
#include "gemm.h"

#include <math.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

enum {
    OLDEST_OPTIONS = sizeof(msw_gemm_options),
    OLDEST_CALL = sizeof(msw_gemm_call),
    OLDEST_INFO = offsetof(msw_gemm_info, bytes_mapped),
    HOOK_TASKS = 16,   /* the host's pool does not say how many threads it has */
    TURNS_PER_TASK = 8,
    MOST_SHARES = 64   /* of the work; more tasks than these have some in common */
};

/* Making */

msw_status msw__gemm_take_options(msw_gemm_options *o, const msw_gemm_options *options,
                                  size_t rows)
{
    msw_status status;

    msw_gemm_options_init(o);
    if (options) {
        status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
        if (status)
            return status;
    }
    if (o->reserved)
        return MSW_E_VERSION;
    if (o->activation > MSW_ACTIVATION_RELU6 || o->fallback > MSW_FALLBACK_BLAS ||
        o->tune > 1 || (o->bias && o->bias_count != rows))
        return MSW_E_INVAL;
    return MSW_OK;
}

static msw_status copy_rows(msw_gemm *g, const msw_plan *plan)
{
    void *memory;
    msw_status status;

    if (!plan->row_permutation)
        return MSW_OK;
    status = msw__alloc(&memory, g->ctx, g->rows, sizeof *g->row);
    if (!status) {
        g->row = memory;
        memcpy(g->row, plan->row_permutation, g->rows * sizeof *g->row);
    }
    return status;
}

/* In view order, zeros when there is none: the kernels always add it. */
static msw_status copy_bias(msw_gemm *g, const float *bias)
{
    void *memory;
    const msw_status status =
        msw__calloc(&memory, g->ctx, g->rows + MSW__MAX_STRIP, sizeof *g->bias);

    if (status)
        return status;
    g->bias = memory;
    g->biased = bias != NULL;
    for (size_t i = 0; bias && i < g->rows; i++)
        g->bias[i] = bias[g->row ? g->row[i] : i];
    return MSW_OK;
}

static void set_activation(msw_gemm *g, uint32_t activation)
{
    g->low = activation == MSW_ACTIVATION_NONE ? -INFINITY : 0;
    g->high = activation == MSW_ACTIVATION_RELU6 ? 6 : INFINITY;
}

msw__weights msw__weights_of(const msw_unified *u)
{
    return (msw__weights){.plan = u->plan, .u = u, .placement = MSW_PLACEMENT_PACKED,
                          .placement_reason = "packed from weights"};
}

static msw_status pack(msw_gemm *g, const msw_unified *u)
{
    const msw__gemm_traits *const *traits = g->table.traits;
    const msw_status status = msw__wide_pack(&g->packs[MSW__GEMM_WIDE], g->ctx, u,
                                             traits[MSW__GEMM_WIDE]);

    return status ? status : msw__narrow_pack(&g->packs[MSW__GEMM_NARROW], g->ctx, u,
                                              traits[MSW__GEMM_NARROW]);
}

static void borrow(msw_gemm *g, const msw__weights *w)
{
    memcpy(g->packs, w->packs, sizeof g->packs);
    g->buffer = msw__buffer_ref(w->buffer);
}

static msw_status make(msw_gemm *g, const msw__weights *w, const msw_gemm_options *o,
                       uint32_t cpu)
{
    msw_status status = copy_rows(g, w->plan);

    if (!status)
        status = copy_bias(g, o->bias);
    if (status)
        return status;
    set_activation(g, o->activation);
    msw__gemm_table_init(&g->table, cpu);
    if (w->packs)
        borrow(g, w);
    else
        status = pack(g, w->u);
    return status ? status : msw__gemm_choose(g, w, o);
}

msw_status msw__gemm_new(msw_gemm **out, msw_context *ctx, const msw__weights *w,
                         const msw_gemm_options *options, bool gathers, uint32_t cpu)
{
    msw_gemm_options o;
    msw_status status;
    msw_gemm *g;
    void *memory;

    *out = NULL;
    status = msw__gemm_take_options(&o, options, w->plan->rows);
    if (!status && w->plan->groups > 1)
        status = MSW_E_UNSUPPORTED;
    if (!status)
        status = msw__calloc(&memory, ctx, 1, sizeof *g);
    if (status)
        return status;
    g = memory;
    atomic_init(&g->refs, 1);
    g->ctx = msw_context_ref(ctx);
    g->rows = w->plan->rows;
    g->columns = w->plan->columns;
    g->gathers = gathers;
    g->placement = w->placement;
    g->placement_reason = w->placement_reason;
    status = make(g, w, &o, cpu);
    if (status)
        msw_gemm_free(g);
    else
        *out = g;
    return status;
}

msw_status msw_gemm_new(msw_gemm **out, msw_context *ctx, const msw_unified *u,
                        const msw_gemm_options *options)
{
    msw__weights w;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx || !u)
        return MSW_E_INVAL;
    w = msw__weights_of(u);
    return msw__gemm_new(out, ctx, &w, options, false, ctx->cpu);
}

msw_gemm *msw_gemm_ref(msw_gemm *gemm)
{
    msw__refs_take(&gemm->refs);
    return gemm;
}

void msw_gemm_free(msw_gemm *gemm)
{
    msw_context *ctx;

    if (!gemm || !msw__refs_drop(&gemm->refs))
        return;
    ctx = gemm->ctx;
    for (int kind = 0; kind < MSW__GEMM_BLAS; kind++)
        msw__packing_free(&gemm->packs[kind], ctx);
    msw__buffer_free(gemm->buffer);
    msw__gemm_drop_dense(gemm);
    msw__free(ctx, gemm->bias, gemm->rows + MSW__MAX_STRIP, sizeof *gemm->bias);
    msw__free(ctx, gemm->row, gemm->rows, sizeof *gemm->row);
    msw__free(ctx, gemm, 1, sizeof *gemm);
    msw_context_free(ctx);
}

/* Running: a product falls into units, which are chunks of rows times panels of columns.
 * Each is computed the same way whichever task does it, and they take turns. */

static size_t units(const msw__packing *w, size_t n)
{
    return (n <= w->width ? 1 : (n - 1) / w->width + 1) * w->chunk_count;
}

/* A call is often so short that a division counts. */
static size_t tasks(const msw_gemm *g, const msw__packing *w, size_t n)
{
    const msw_context *ctx = g->ctx;
    const size_t most = ctx->options.parallel_for ? HOOK_TASKS
                        : ctx->threads > 1        ? ctx->threads
                                                  : 1;
    const size_t have = most > 1 ? units(w, n) : 1;

    return have < most ? have : most;
}

size_t msw_gemm_workspace(const msw_gemm *gemm, size_t n)
{
    size_t most = 0;

    for (int kind = 0; n && kind < MSW__GEMM_BLAS; kind++) {
        const msw__packing *w = &gemm->packs[kind];
        size_t bytes;

        if (!msw__gemm_has(gemm, (msw__gemm_kind)kind))
            continue;
        if (n > SIZE_MAX / w->chunk_count ||
            !msw__size_mul(&bytes, tasks(gemm, w, n), msw__packing_slab(w)))
            return SIZE_MAX;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Neighbours, of which each unit prefetches for the next. A task goes through its own
 * share, and then helps with the others: a thread may start late or be held up. */
typedef struct share {
    alignas(MSW__ALIGN) atomic_size_t next; /* that nobody has begun */
    size_t end;
} share;

typedef struct job {
    msw__gemm_kernel *kernel;
    const msw__packing *pack;
    const msw__product *product;
    char *workspace;
    size_t turn; /* units at once */
    size_t share_count;
    share shares[MOST_SHARES];
} job;

/* No division that can be spared: small products are that fast. */
static void run_units(const job *j, size_t begin, size_t count, char *slab)
{
    const msw__packing *w = j->pack;
    size_t chunk = begin ? begin % w->chunk_count : 0;
    size_t column = begin ? begin / w->chunk_count * w->width : 0;

    for (; count; count--) {
        j->kernel(w, chunk, j->product, column, slab);
        if (++chunk == w->chunk_count) {
            chunk = 0;
            column += w->width;
        }
    }
}

static void task(size_t index, void *arg)
{
    job *j = arg;
    char *slab = j->workspace + index * msw__packing_slab(j->pack);
    size_t number = index % j->share_count;

    for (size_t k = 0; k < j->share_count; k++) {
        share *s = &j->shares[number];
        size_t begin;

        while ((begin = atomic_fetch_add(&s->next, j->turn)) < s->end) {
            const size_t left = s->end - begin;

            run_units(j, begin, left < j->turn ? left : j->turn, slab);
        }
        number = number + 1 < j->share_count ? number + 1 : 0;
    }
}

static msw_status run_tasks(const msw_gemm *g, job *j, size_t all, size_t count)
{
    const size_t turns = count * TURNS_PER_TASK;

    j->turn = all > turns ? all / turns : 1;
    j->share_count = count < MOST_SHARES ? count : MOST_SHARES;
    for (size_t i = 0, begin = 0; i < j->share_count; i++) {
        share *s = &j->shares[i];

        atomic_init(&s->next, begin);
        s->end = begin + (all - begin) / (j->share_count - i);
        begin = s->end;
    }
    return msw__parallel(g->ctx, count, task, j);
}

static msw_status run_packed(const msw_gemm *g, msw__gemm_kind kind, const msw__product *p,
                             char *workspace)
{
    const msw__packing *w = &g->packs[kind];
    const size_t count = tasks(g, w, p->n), all = units(w, p->n);
    job j; /* most of it not for a single task, and not cleared */

    j.kernel = g->table.kernel[kind];
    j.pack = w;
    j.product = p;
    j.workspace = workspace;
    if (count > 1)
        return run_tasks(g, &j, all, count);
    run_units(&j, 0, all, workspace);
    return MSW_OK;
}

static msw__product product(const msw_gemm *g, const msw_gemm_call *c)
{
    msw__product p = {.x = c->x, .x_row = c->ldx, .x_column = 1,
                      .y = c->y, .y_row = c->ldy, .y_column = 1,
                      .n = c->n, .bias = g->bias, .rows = g->row,
                      .low = g->low, .high = g->high, .beta = c->beta == 1};

    if (c->layout == MSW_LAYOUT_ROWS) {
        p.x_row = p.y_row = 1;
        /* of a single column both may be said to lie together */
        p.across = c->n > 1;
        p.x_column = p.across ? c->ldx : 1;
        p.y_column = p.across ? c->ldy : 1;
    }
    return p;
}

/* lines of length elements each, ld apart, are an array that can exist. */
static bool fits(size_t lines, size_t length, size_t ld)
{
    size_t end;

    return ld >= length && msw__size_mul(&end, lines - 1, ld) &&
           msw__size_add(&end, end, length) && end <= SIZE_MAX / sizeof(float);
}

static bool aligned(const void *p, size_t to)
{
    return p && (uintptr_t)p % to == 0;
}

static msw_status check_call(const msw_gemm *g, const msw_gemm_call *c)
{
    const bool columns = c->layout == MSW_LAYOUT_COLUMNS;
    size_t workspace;

    if (!aligned(c->x, sizeof(float)) || !aligned(c->y, sizeof(float)))
        return MSW_E_INVAL;
    if (!fits(columns ? g->columns : c->n, columns ? c->n : g->columns, c->ldx) ||
        !fits(columns ? g->rows : c->n, columns ? c->n : g->rows, c->ldy))
        return MSW_E_RANGE;
    workspace = msw_gemm_workspace(g, c->n);
    if (workspace == SIZE_MAX)
        return MSW_E_RANGE;
    if (c->workspace && !aligned(c->workspace, MSW__ALIGN))
        return MSW_E_INVAL;
    return c->workspace && c->workspace_bytes < workspace ? MSW_E_RANGE : MSW_OK;
}

msw_status msw__gemm_run_as(const msw_gemm *g, msw__gemm_kind kind, const msw_gemm_call *c)
{
    const msw__product p = product(g, c);
    const size_t bytes = msw_gemm_workspace(g, c->n);
    void *workspace = c->workspace;
    msw_status status = MSW_OK;

    if (kind == MSW__GEMM_BLAS) {
        msw__gemm_run_dense(g, c);
        return MSW_OK;
    }
    if (!workspace)
        status = msw__alloc(&workspace, g->ctx, bytes, 1);
    if (!status)
        status = run_packed(g, kind, &p, workspace);
    if (!c->workspace)
        msw__free(g->ctx, workspace, bytes, 1);
    return status;
}

msw_status msw__gemm_run_gathered(const msw_gemm *g, const msw__gather *x,
                                  const msw_gemm_call *c)
{
    msw__product p = product(g, c);

    p.gather = x;
    return run_packed(g, MSW__GEMM_WIDE, &p, c->workspace);
}

msw_status msw_gemm_run(const msw_gemm *gemm, const msw_gemm_call *call)
{
    msw_gemm_call c;
    msw_status status;

    if (!gemm || !call)
        return MSW_E_INVAL;
    status = msw__take_options(&c, sizeof c, OLDEST_CALL, call);
    if (status)
        return status;
    if (c.layout > MSW_LAYOUT_ROWS || c.beta > 1)
        return MSW_E_INVAL;
    if (c.n == 0)
        return MSW_OK;
    status = check_call(gemm, &c);
    if (status)
        return status;
    return msw__gemm_run_as(gemm, msw__gemm_kind_for(gemm, c.n), &c);
}

msw_status msw_gemm_get_info(msw_gemm_info *out, const msw_gemm *gemm, size_t n)
{
    msw__gemm_choice_made choice;
    msw_gemm_info info;

    if (!out || !gemm)
        return MSW_E_INVAL;
    choice = msw__gemm_choice(gemm, n);
    msw_gemm_info_init(&info);
    info.kernel = msw__gemm_kernel_name(gemm, choice.kind);
    info.reason = choice.reason;
    info.isa = msw__cpu_name(gemm->ctx->cpu);
    info.bytes_packed = msw__gemm_packed_bytes(gemm);
    info.bytes_dense = gemm->dense ? (uint64_t)gemm->rows * gemm->columns * 4 : 0;
    info.predicted = choice.predicted;
    info.measured = choice.measured;
    info.dense = choice.dense;
    info.deterministic = !gemm->dense && !gemm->tuned;
    info.bytes_mapped = msw__gemm_borrowed_bytes(gemm);
    info.placement = gemm->placement;
    info.placement_reason = gemm->placement_reason;
    return msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}
