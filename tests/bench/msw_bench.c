/* SPDX-License-Identifier: BSD-2-Clause */
/* msw-bench: packed products against dense libraries, called in turn in one process.
 *
 *   msw-bench                              a table of usual shapes
 *   msw-bench M K N RxC PRUNED/UNIFIED ... these cells
 *   msw-bench --goals [GROUP]              what the kernels should reach, and do; GROUP is
 *                                          the first words of a line of the table
 *   msw-bench --breakeven M K N [RxC]      which share of blocks must be pruned or unified
 *   msw-bench --grid FILE                  never slower than the BLAS? 400 products; goes
 *                                          on where FILE ends
 *   msw-bench --limits                     with one column, what the processor allows
 *
 * Options before these: --json (a line for each cell), --isa c|avx2|avx512, --threads N,
 * --blas FILE (libopenblas.so.0), --rows (rows layout), --seconds S per cell (0.2), --hot
 * (each repeated on its own), --tune (time the candidates, the BLAS among them).
 *
 * Times are medians, of the thread's processor time, which a busy machine disturbs less;
 * with more than one thread of the wall clock. The rivals run on one thread: the BLAS (for
 * N = 1 sgemv), oneDNN and LIBXSMM where they are there. Of these the fastest counts. The
 * error is the largest of 300 sampled elements against sums in double precision, as a
 * share of sum |w x|. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

typedef enum mode { CELLS, GOALS, BREAK_EVEN, GRID, LIMITS } mode;

static const cell usual[] = {
    {512, 512, 1024, 8, 8, 0, 100},  {512, 512, 1024, 4, 4, 0, 100},
    {1024, 1024, 256, 8, 8, 0, 100}, {2048, 512, 192, 8, 8, 0, 100},
    {256, 2304, 784, 8, 8, 0, 100},  {64, 576, 3136, 8, 8, 0, 100},
    {512, 512, 768, 8, 8, 50, 40},   {512, 512, 768, 4, 4, 50, 40},
    {512, 512, 768, 8, 8, 75, 20},   {512, 512, 768, 8, 8, 90, 10},
    {512, 512, 768, 8, 8, 50, 0},    {512, 512, 768, 8, 8, 90, 0},
    {512, 512, 16, 8, 8, 0, 100},    {512, 512, 8, 8, 8, 0, 100},
    {512, 512, 4, 8, 8, 0, 100},     {512, 512, 1, 8, 8, 0, 100},
    {512, 512, 1, 4, 4, 0, 100},     {2048, 2048, 1, 8, 8, 0, 100},
    {4096, 4096, 1, 8, 8, 0, 100},   {4096, 4096, 8, 8, 8, 0, 100},
    {2048, 2048, 1, 8, 8, 50, 40},   {2048, 2048, 1, 8, 8, 75, 20},
    {2048, 2048, 8, 8, 8, 50, 40},   {20, 25, 576, 4, 4, 60, 38},
    {50, 500, 64, 10, 8, 60, 38},    {50, 500, 64, 4, 4, 60, 38},
    {500, 800, 1, 4, 8, 60, 38},     {500, 800, 64, 8, 8, 60, 38},
    {10, 500, 1, 4, 4, 60, 38},
};

static const char *cpu_model(void)
{
    static char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    const char *model = "unknown processor";

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10)) {
            line[strcspn(line, "\n")] = 0;
            model = strchr(line, ':') ? strchr(line, ':') + 2 : line;
            break;
        }
    if (f)
        fclose(f);
    return model;
}

/* The clock as seen: a chain of additions, one in each cycle. */
static double gigahertz(void)
{
    enum { STEPS = 20000000 };
    const double begin = now(false);
    uint64_t x = 0;

    for (int i = 0; i < STEPS; i++) {
        x += 1;
#ifdef __GNUC__
        __asm__ volatile("" : "+r"(x));
#endif
    }
    return 1e-9 * (double)x / (now(false) - begin);
}

void print_header(const settings *s, const rival *rivals, size_t count)
{
    msw_context *ctx = make_context(s, s->threads);
    const char *core = blas_core(&rivals[0]);

    printf("# %s, %.2f GHz; libmsw %s, %u threads; against", cpu_model(), gigahertz(),
           msw_context_isa(ctx), (unsigned)s->threads);
    for (size_t i = 0; i < count; i++)
        printf(" %s", rivals[i].name);
    printf(" (%s, kernels for %s)\n", s->blas, core ? core : "?");
    if (getenv("OPENBLAS_CORETYPE") || getenv("OPENBLAS_L2_SIZE"))
        printf("# OPENBLAS_CORETYPE or OPENBLAS_L2_SIZE is set: this is not its best\n");
    msw_context_free(ctx);
}

static void print_json(const settings *s, const cell *c, const result *r)
{
    printf("{\"M\":%zu,\"K\":%zu,\"N\":%zu,\"block\":\"%ux%u\",\"mix\":\"%u/%u/%u\","
           "\"threads\":%u,\"isa\":\"%s\",\"hot\":%s,\"kernel\":\"%s\",\"rival\":\"%s\","
           "\"seconds_msw\":%.5g,\"seconds_rival\":%.5g,\"ratio\":%.4g,\"error\":%.3g}\n",
           c->m, c->k, c->n, c->block_rows, c->block_columns, c->pruned, c->unified,
           100 - c->pruned - c->unified, (unsigned)s->threads, s->isa,
           s->hot ? "true" : "false", r->kernel, r->rival_name, r->own, r->rival,
           r->rival / r->own, r->error);
}

void print_result(const settings *s, const cell *c, const result *r)
{
    char shape[40], block[16], mix[16];

    if (s->json) {
        print_json(s, c, r);
    } else {
        snprintf(shape, sizeof shape, "%zu %zu %zu", c->m, c->k, c->n);
        snprintf(block, sizeof block, "%ux%u", c->block_rows, c->block_columns);
        snprintf(mix, sizeof mix, "%u/%u/%u", c->pruned, c->unified,
                 100 - c->pruned - c->unified);
        printf("%-14s %-5s %-8s %-19s %9.2f %9.2f %9.2f %6.2f %6.0f %.1e %s\n", shape,
               block, mix, r->kernel, r->own * 1e6, r->model * 1e6, r->rival * 1e6,
               r->rival / r->own,
               2e-9 * (double)c->m * (double)c->k * (double)c->n / r->own, r->error,
               r->rival_name);
    }
    fflush(stdout);
}

static void run_cells(const settings *s, const cell *cells, size_t n, const rival *rivals,
                      size_t count)
{
    msw_context *ctx = make_context(s, s->threads);

    if (!s->json)
        printf("%-14s %-5s %-8s %-19s %9s %9s %9s %6s %6s %s\n", "M K N", "block", "mix",
               "kernel", "msw us", "model us", "rival us", "ratio", "GF/s", "error");
    for (size_t i = 0; i < n; i++) {
        const result r = measure_cell(ctx, s, &cells[i], rivals, count);
        print_result(s, &cells[i], &r);
    }
    msw_context_free(ctx);
}

static const char *value(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc)
        fail("an option lacks its value");
    return argv[++*i];
}

static int parse_options(settings *s, mode *m, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--rows"))
            s->rows = true;
        else if (!strcmp(argv[i], "--hot"))
            s->hot = true;
        else if (!strcmp(argv[i], "--json"))
            s->json = true;
        else if (!strcmp(argv[i], "--tune"))
            s->tune = s->fallback = true;
        else if (!strcmp(argv[i], "--goals"))
            *m = GOALS;
        else if (!strcmp(argv[i], "--breakeven"))
            *m = BREAK_EVEN;
        else if (!strcmp(argv[i], "--grid"))
            *m = GRID;
        else if (!strcmp(argv[i], "--limits"))
            *m = LIMITS;
        else if (!strcmp(argv[i], "--isa"))
            s->isa = value(argc, argv, &i);
        else if (!strcmp(argv[i], "--blas"))
            s->blas = value(argc, argv, &i);
        else if (!strcmp(argv[i], "--seconds"))
            s->seconds = strtod(value(argc, argv, &i), NULL);
        else if (!strcmp(argv[i], "--threads"))
            s->threads = (uint32_t)strtoul(value(argc, argv, &i), NULL, 10);
        else
            fail("unknown option");
    }
    return i;
}

/* M K N, and RxC where there is a fourth. */
static cell parse_shape(int argc, char **argv)
{
    cell c = {.block_rows = 8, .block_columns = 8};

    if (argc < 3)
        fail("a shape is: M K N RxC");
    c.m = strtoul(argv[0], NULL, 10);
    c.k = strtoul(argv[1], NULL, 10);
    c.n = strtoul(argv[2], NULL, 10);
    if (!c.m || !c.k || !c.n ||
        (argc > 3 && sscanf(argv[3], "%ux%u", &c.block_rows, &c.block_columns) != 2))
        fail("a shape is: M K N RxC");
    return c;
}

static void run_given(const settings *s, int argc, char **argv, const rival *rivals,
                      size_t count)
{
    enum { WORDS = 5 };
    const size_t n = (size_t)argc / WORDS;
    cell *cells = checked(malloc(n * sizeof *cells));

    if (argc % WORDS)
        fail("a cell is: M K N RxC PRUNED/UNIFIED");
    for (size_t i = 0; i < n; i++) {
        char **words = argv + i * WORDS;

        cells[i] = parse_shape(WORDS, words);
        if (sscanf(words[4], "%u/%u", &cells[i].pruned, &cells[i].unified) != 2 ||
            cells[i].pruned + cells[i].unified > 100)
            fail("a cell is: M K N RxC PRUNED/UNIFIED");
    }
    run_cells(s, cells, n, rivals, count);
    free(cells);
}

int main(int argc, char **argv)
{
    settings s = {.blas = "libopenblas.so.0", .isa = "avx512", .seconds = 0.2,
                  .threads = 1};
    mode m = CELLS;
    const int first = parse_options(&s, &m, argc, argv);
    rival rivals[MAX_RIVALS];
    const size_t count = find_rivals(rivals, s.blas, NULL);

    if (!s.json)
        print_header(&s, rivals, count);
    if (m == GOALS) {
        s.group = first < argc ? argv[first] : NULL;
        run_goals(&s, rivals, count);
    } else if (m == BREAK_EVEN) {
        const cell c = parse_shape(argc - first, argv + first);
        run_break_even(&s, &c, rivals, count);
    } else if (m == GRID) {
        if (first != argc - 1)
            fail("--grid FILE");
        return run_grid(&s, &rivals[0], argv[first]);
    } else if (m == LIMITS) {
        run_limits(&s, rivals, count);
    } else if (first < argc) {
        run_given(&s, argc - first, argv + first, rivals, count);
    } else {
        run_cells(&s, usual, sizeof usual / sizeof *usual, rivals, count);
    }
    if (!s.json)
        printf("# %.2f GHz\n", gigahertz());
    return 0;
}
