/* SPDX-License-Identifier: BSD-2-Clause */
/* What the cost model (lib/gemm_choice.c) is fitted to: the counts of many packings, and
 * what a panel of their products takes.
 *
 *   cost-bench [narrow|wide] [avx512|avx2] >counts.txt
 *   python3 tests/bench/cost_fit.py counts.txt
 *
 * A line: the cell; columns of a panel in use; lookups, of these unpaired ones, products,
 * records, visits, tables, rows of x, rows of y as the model counts them; nanoseconds of a
 * panel, measured and by the model as it is. Full panels are a share of a product of
 * several: between their rows of x lie those of the others. */
#define _GNU_SOURCE
#include "gemm.h"
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 200, PER_SAMPLE = 20000 /* ns */, LEAST_SAMPLES = 15, ENOUGH = 5000000 };
enum { PANELS = 8 }; /* of a product for full ones */

static const size_t shapes[][2] = {{512, 512}, {2048, 2048}, {1024, 1024}, {256, 512},
                                   {512, 2048}, {2048, 512}, {64, 1024}, {128, 128},
                                   {100, 20}, {16, 500}, {500, 100}, {4096, 64}};
static const uint32_t blocks[][2] = {{8, 8}, {4, 4}, {16, 16}, {4, 8}, {1, 8}, {1, 1},
                                     {3, 5}};
static const uint32_t mixes[][2] = {{0, 100}, {50, 40}, {75, 20}, {90, 10}, {50, 0},
                                    {90, 0},  {20, 70}, {0, 0}};

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void run(const msw_gemm *g, msw__gemm_kind kind, const msw_gemm_call *call)
{
    if (msw__gemm_run_as(g, kind, call))
        exit(1);
}

/* Nanoseconds: a median. */
static double measure(const msw_gemm *g, msw__gemm_kind kind, const msw_gemm_call *call)
{
    double t[SAMPLES], begin = now();
    int calls, n = 0;

    for (int i = 0; i < 10; i++)
        run(g, kind, call);
    calls = 1 + (int)(PER_SAMPLE / ((now() - begin) / 10));
    begin = now();
    while (n < SAMPLES && (n < LEAST_SAMPLES || now() - begin < ENOUGH)) {
        const double start = now();

        for (int i = 0; i < calls; i++)
            run(g, kind, call);
        t[n++] = (now() - start) / calls;
    }
    qsort(t, (size_t)n, sizeof *t, compare);
    return t[n / 2];
}

static void print_line(const msw_gemm *g, msw__gemm_kind kind, const weights_spec *spec,
                       const float *x, float *y, size_t used)
{
    const msw__packing *p = &g->packs[kind];
    const size_t panels = used == p->width ? PANELS : 1;
    const size_t n = panels * used;
    msw_gemm_call call;
    void *workspace;

    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = n;
    call.workspace_bytes = msw_gemm_workspace(g, n);
    workspace = aligned_alloc(MSW__ALIGN, call.workspace_bytes / MSW__ALIGN * MSW__ALIGN +
                                              MSW__ALIGN);
    call.workspace = workspace;
    if (!workspace)
        exit(1);
    printf("%zux%zu %ux%u %u/%u %zu %.0f %.0f %.0f %.0f %.0f %.0f %zu %zu %.1f %.1f\n",
           spec->rows, spec->columns, (unsigned)spec->block_rows,
           (unsigned)spec->block_columns, (unsigned)spec->pruned, (unsigned)spec->unified,
           used, (double)p->lookups, p->paired ? 0 : (double)p->lookups,
           (double)p->products, (double)p->records, (double)p->visits,
           (double)p->table_count * p->groups, p->column_count, g->rows,
           measure(g, kind, &call) / (double)panels,
           1e9 * msw__gemm_predict(g, kind, n) / (double)panels);
    fflush(stdout);
    free(workspace);
}

static void print_lines(msw_context *ctx, msw__gemm_kind kind, const weights_spec *spec)
{
    msw_gemm_options o;
    msw_gemm *g;
    weights w;
    size_t width, most;
    float *x, *y;

    weights_make(&w, ctx, spec);
    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    if (msw_gemm_new(&g, ctx, w.u, &o) || !msw__gemm_has(g, kind))
        exit(1);
    width = g->packs[kind].width;
    most = PANELS * width;
    x = calloc(most * spec->columns, sizeof *x);
    y = calloc(most * spec->rows, sizeof *y);
    if (!x || !y)
        exit(1);
    for (size_t i = 0; i < most * spec->columns; i++)
        x[i] = (float)(i % 7) - 3;
    for (size_t used = width; used >= width / 4; used /= 2)
        print_line(g, kind, spec, x, y, used);
    msw_gemm_free(g);
    weights_free(&w);
    free(x);
    free(y);
}

int main(int argc, char **argv)
{
    msw__gemm_kind kind = MSW__GEMM_NARROW;
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.threads = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "avx2"))
            o.cpu_mask = MSW_CPU_AVX2;
        if (!strcmp(argv[i], "wide"))
            kind = MSW__GEMM_WIDE;
    }
    if (msw_context_new(&ctx, &o))
        return 1;
    for (size_t s = 0; s < LENGTH(shapes); s++)
        for (size_t b = 0; b < LENGTH(blocks); b++)
            for (size_t m = 0; m < LENGTH(mixes); m++) {
                const weights_spec spec = {.rows = shapes[s][0], .columns = shapes[s][1],
                                           .block_rows = blocks[b][0],
                                           .block_columns = blocks[b][1],
                                           .pruned = mixes[m][0], .unified = mixes[m][1],
                                           .seed = 1};
                print_lines(ctx, kind, &spec);
            }
    msw_context_free(ctx);
    return 0;
}
