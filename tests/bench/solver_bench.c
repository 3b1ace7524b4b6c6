/* SPDX-License-Identifier: BSD-2-Clause */
/* solver-bench: what the solver does to a layer, against a copy of the same bytes.
 *
 *   solver-bench                      1e5, 1e6 and 1e7 weights; 8x8 and 4x4 blocks
 *   solver-bench WEIGHTS RxC ...      these
 *
 * Adding the penalty reads weights, D and gradient and writes the gradient: 16 bytes a
 * weight, which is a copy of 8. A Z/U update reads weights and D and writes D: 12 bytes,
 * a copy of 6. A step of latent weights (MSW_RELAXATION_STRAIGHT), msw_admm_show_latent()
 * and msw_admm_show_blocks(), cannot do with less than to read them and write the weights,
 * and then to read the weights and write both: 20 bytes, a copy of 10. Times are medians,
 * of the thread's processor time, the copy in turn with what it is compared with; one
 * thread.
 *
 * Memory is what the context's allocator gave out, by the bytes of the weights: what the
 * solver holds between updates, and what an update takes besides at its peak. Where that is
 * not what msw_admm_get_memory() says, the program fails. */
#define _GNU_SOURCE
#include <msw/msw.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 401, MIN_SAMPLES = 7, ROW = 1000 };
#define SECONDS 0.5 /* of each measurement, once there are MIN_SAMPLES */

typedef struct bench {
    size_t count, live, peak; /* weights; bytes of the context */
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *weights, *grad;
    msw_admm *admm;
    char *from, *to; /* of the copy */
} bench;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(msw_status status, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "solver-bench: %s: %s\n", what, msw_status_text(status));
    exit(1);
}

static void *counted_alloc(size_t size, size_t align, void *user)
{
    bench *b = user;
    void *p = aligned_alloc(align, (size + align - 1) / align * align);

    if (p)
        b->live += size;
    b->peak = b->peak > b->live ? b->peak : b->live;
    return p;
}

static void counted_free(void *p, size_t size, void *user)
{
    bench *b = user;

    b->live -= size;
    free(p);
}

static void *memory(size_t bytes)
{
    void *p = malloc(bytes);

    if (!p)
        must(MSW_E_NOMEM, "copy");
    memset(p, 1, bytes);
    return p;
}

static void fill(bench *b)
{
    float *w = msw_tensor_data(b->weights);
    uint32_t random = 1;

    for (size_t i = 0; i < b->count; i++) {
        random = random * 1664525 + 1013904223;
        w[i] = (float)(random >> 8) / (1 << 23) - 1;
    }
}

static void new_solver(bench *b, uint32_t relaxation)
{
    msw_admm_options o;
    msw_layer_options l;

    msw_admm_free(b->admm);
    msw_admm_options_init(&o);
    o.relaxation = relaxation;
    must(msw_admm_new(&b->admm, b->ctx, &o), "solver");
    msw_layer_options_init(&l);
    l.prune = 0.4;
    l.unify = 0.4;
    must(msw_admm_add_layer(b->admm, b->weights, b->plan, &l), "layer");
}

static void setup(bench *b, size_t count, uint32_t rows, uint32_t columns)
{
    const size_t shape[] = {count / ROW, ROW};
    msw_context_options c;
    msw_plan_options p;

    memset(b, 0, sizeof *b);
    b->count = shape[0] * shape[1];
    msw_context_options_init(&c);
    c.allocator = (msw_allocator){counted_alloc, counted_free, b};
    must(msw_context_new(&b->ctx, &c), "context");
    msw_plan_options_init(&p);
    p.block_rows = rows;
    p.block_columns = columns;
    must(msw_plan_new(&b->plan, b->ctx, shape, 2, &p), "plan");
    must(msw_tensor_new(&b->weights, b->ctx, shape, 2), "weights");
    must(msw_tensor_new(&b->grad, b->ctx, shape, 2), "gradient");
    new_solver(b, MSW_RELAXATION_ADMM);
    b->from = memory(3 * b->count * sizeof(float));
    b->to = memory(3 * b->count * sizeof(float));
    fill(b);
}

static void teardown(bench *b)
{
    free(b->from);
    free(b->to);
    msw_admm_free(b->admm);
    msw_tensor_free(b->grad);
    msw_tensor_free(b->weights);
    msw_plan_free(b->plan);
    msw_context_free(b->ctx);
}

static void add_penalty(bench *b)
{
    must(msw_admm_add_penalty(b->admm, 0, b->grad, 1), "penalty");
}

static void update(bench *b)
{
    must(msw_admm_update(b->admm), "update");
}

static void straight_step(bench *b)
{
    must(msw_admm_show_latent(b->admm), "latent weights");
    must(msw_admm_show_blocks(b->admm), "blocks");
}

static int ascending(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;

    return (a > b) - (a < b);
}

static double median(double *x, size_t count)
{
    qsort(x, count, sizeof *x, ascending);
    return x[count / 2];
}

/* Seconds, and those of copying @p bytes. */
static double measure(bench *b, void (*work)(bench *b), size_t bytes, double *copy)
{
    static double times[MAX_SAMPLES], copies[MAX_SAMPLES];
    const double begin = now();
    size_t count = 0;

    work(b);
    while (count < MIN_SAMPLES || (count < MAX_SAMPLES && now() - begin < SECONDS)) {
        double t = now();

        work(b);
        times[count] = now() - t;
        t = now();
        memcpy(b->to, b->from, bytes);
        __asm__ volatile("" : : "r"(b->to) : "memory"); /* it is not to be left out */
        copies[count++] = now() - t;
    }
    *copy = median(copies, count);
    return median(times, count);
}

/* Bytes of the solver's state and of an update's scratch. */
static void measure_memory(bench *b, size_t *state, size_t *scratch)
{
    const size_t before = b->live;
    msw_admm_memory m;
    size_t held;

    add_penalty(b);
    held = b->peak = b->live;
    update(b);
    *state = held - before;
    *scratch = b->peak - held;
    msw_admm_memory_init(&m);
    must(msw_admm_get_memory(&m, b->admm), "memory");
    if (m.state == *state && m.scratch == *scratch && b->live == held)
        return;
    fprintf(stderr, "solver-bench: %zu and %zu bytes held, %llu and %llu reported\n", *state,
            *scratch, (unsigned long long)m.state, (unsigned long long)m.scratch);
    exit(1);
}

static void report(size_t count, uint32_t rows, uint32_t columns)
{
    double penalty, updating, stepping, copy8, copy6, copy10, bytes;
    size_t state, scratch;
    bench b;

    setup(&b, count, rows, columns);
    bytes = (double)(b.count * sizeof(float));
    measure_memory(&b, &state, &scratch);
    updating = measure(&b, update, 6 * b.count, &copy6);
    penalty = measure(&b, add_penalty, 8 * b.count, &copy8);
    new_solver(&b, MSW_RELAXATION_STRAIGHT);
    stepping = measure(&b, straight_step, 10 * b.count, &copy10);
    printf("%10zu %3ux%-3u %9.3f %8.2f %11.3f %8.2f %12.2f %7.3f %8.3f %13.3f %8.2f\n",
           b.count, (unsigned)rows, (unsigned)columns, 1e3 * penalty, penalty / copy8,
           1e3 * updating, updating / copy6, 1e9 * updating / (double)b.count,
           (double)state / bytes, (double)scratch / bytes, 1e3 * stepping,
           stepping / copy10);
    fflush(stdout);
    teardown(&b);
}

static int usage(void)
{
    fprintf(stderr, "usage: solver-bench [WEIGHTS RxC]...\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const size_t counts[] = {100000, 1000000, 10000000};

    printf("%10s %-7s %9s %8s %11s %8s %12s %7s %8s %13s %8s\n", "weights", "block", "penalty",
           "/ copy", "update ms", "/ copy", "ns / weight", "state", "scratch",
           "straight ms", "/ copy");
    for (int i = 1; i < argc; i += 2) {
        const double count = strtod(argv[i], NULL);
        unsigned rows, columns;

        if (i + 1 == argc || !(count >= ROW && count <= 1e9) ||
            sscanf(argv[i + 1], "%ux%u", &rows, &columns) != 2)
            return usage();
        report((size_t)count, rows, columns);
    }
    for (size_t i = 0; argc == 1 && i < sizeof counts / sizeof *counts; i++) {
        report(counts[i], 8, 8);
        report(counts[i], 4, 4);
    }
    return 0;
}
