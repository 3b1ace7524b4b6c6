/* SPDX-License-Identifier: BSD-2-Clause */
/* packed-bench: what it takes to run weights in the packed form where they lie, against
 * loading and packing the same weights from the plain and the transport form.
 *
 *   packed-bench
 *
 * First opening a file, by the number of its tensors (64x64 each); then the first use of a
 * tensor, by its blocks: msw_reader_gemm() on a buffer, with and without checksums of the
 * payload, and the most memory that it takes, one call included. Weights are random, 8x8
 * blocks, half of them pruned and 4 of 10 unified; the transport form rounds to 8 bits.
 * Times are of the thread's processor, medians of 9; memory is what the allocator hook
 * gave. */
#define _GNU_SOURCE
#include <msw/msw.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 9, BLOCK = 8, SMALL = 64 };

static uint64_t held, peak; /* bytes, by the hooks */

static void *hook_alloc(size_t size, size_t align, void *user)
{
    (void)user;
    held += size;
    peak = peak < held ? held : peak;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void hook_free(void *p, size_t size, void *user)
{
    (void)user;
    held -= size;
    free(p);
}

static void must(msw_status status)
{
    if (!status)
        return;
    fprintf(stderr, "packed-bench: %s\n", msw_status_text(status));
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *samples)
{
    qsort(samples, SAMPLES, sizeof *samples, compare);
    return samples[SAMPLES / 2];
}

static msw_unified *make_weights(msw_context *ctx, size_t rows, size_t columns)
{
    const size_t shape[2] = {rows, columns};
    msw_projection_options shares;
    msw_plan *plan;
    msw_tensor *t;
    msw_unified *u;
    uint32_t random = 1;
    float *w;

    msw_projection_options_init(&shares);
    shares.prune = 0.5;
    shares.unify = 0.4;
    must(msw_plan_new(&plan, ctx, shape, 2, NULL));
    must(msw_tensor_new(&t, ctx, shape, 2));
    w = msw_tensor_data(t);
    for (size_t i = 0; i < rows * columns; i++) {
        random = random * 1664525u + 1013904223u;
        w[i] = (float)(int32_t)random * 0x1p-31f;
    }
    must(msw_unified_from(&u, plan, t, &shares));
    msw_tensor_free(t);
    msw_plan_free(plan);
    return u;
}

static msw_store_options form(uint32_t encoding, size_t n)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = encoding;
    if (encoding == MSW_ENCODING_PACKED)
        o.expected_n = n;
    if (encoding == MSW_ENCODING_TRANSPORT) {
        o.magnitudes = o.free_weights = MSW_DTYPE_UNIFORM;
        o.magnitude_bits = o.free_bits = 8;
    }
    return o;
}

/* Count copies of the weights in a file, at a multiple of 64. */
static void *make_file(size_t *size, msw_context *ctx, const msw_unified *u, size_t count,
                       uint32_t encoding, size_t n)
{
    const msw_store_options o = form(encoding, n);
    msw_writer *w;
    void *data;

    must(msw_writer_new(&w, ctx));
    for (size_t i = 0; i < count; i++) {
        char name[32];

        snprintf(name, sizeof name, "%zu", i);
        must(msw_writer_add_unified(w, name, u, &o));
    }
    *size = (size_t)msw_writer_bytes(w);
    data = aligned_alloc(64, (*size + 63) / 64 * 64);
    must(data ? MSW_OK : MSW_E_NOMEM);
    must(msw_writer_write_buffer(w, data, *size));
    msw_writer_free(w);
    return data;
}

static msw_reader *open_file(msw_context *ctx, const void *data, size_t size,
                             uint32_t trusted)
{
    msw_reader_options o;
    msw_reader *r;

    msw_reader_options_init(&o);
    o.trusted = trusted;
    must(msw_reader_open_buffer(&r, ctx, data, size, &o));
    return r;
}

static void print_opening(msw_context *ctx, size_t count)
{
    msw_unified *u = make_weights(ctx, SMALL, SMALL);
    size_t size;
    void *data = make_file(&size, ctx, u, count, MSW_ENCODING_PACKED, 0);
    double samples[SAMPLES], took;

    for (int i = 0; i < SAMPLES; i++) {
        const double begin = now();

        msw_reader_free(open_file(ctx, data, size, 0));
        samples[i] = now() - begin;
    }
    took = median(samples);
    printf("| %zu | %.2f | %.1f | %.2f |\n", count, 1e-6 * (double)size, 1e6 * took,
           1e6 * took / (double)count);
    free(data);
    msw_unified_free(u);
}

typedef struct use {
    double seconds;
    uint64_t most; /* bytes */
} use;

static void run_once(const msw_gemm *g, size_t rows, size_t columns)
{
    float *x = calloc(columns, sizeof *x), *y = calloc(rows, sizeof *y);
    msw_gemm_call call;

    must(x && y ? MSW_OK : MSW_E_NOMEM);
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = 1;
    must(msw_gemm_run(g, &call));
    free(x);
    free(y);
}

/* The first use of the only tensor. */
static use first_use(msw_context *ctx, const msw_unified *u, uint32_t encoding,
                     uint32_t trusted)
{
    double samples[SAMPLES];
    msw_unified_info info;
    msw_gemm_options o;
    use result;
    size_t size;
    void *data = make_file(&size, ctx, u, 1, encoding, 1);

    msw_unified_info_init(&info);
    must(msw_unified_get_info(&info, u));
    msw_gemm_options_init(&o);
    o.expected_n = 1;
    o.fallback = MSW_FALLBACK_NEVER;
    for (int i = 0; i < SAMPLES; i++) {
        msw_reader *r = open_file(ctx, data, size, trusted);
        const uint64_t before = held;
        double begin;
        msw_gemm *g;

        peak = held;
        begin = now();
        must(msw_reader_gemm(&g, r, "0", &o));
        samples[i] = now() - begin;
        run_once(g, info.rows, info.columns);
        result.most = peak - before;
        msw_gemm_free(g);
        msw_reader_free(r);
    }
    result.seconds = median(samples);
    free(data);
    return result;
}

static void print_first_use(msw_context *ctx, size_t rows, size_t columns)
{
    msw_unified *u = make_weights(ctx, rows, columns);
    const use trusted = first_use(ctx, u, MSW_ENCODING_PACKED, 1);
    const use packed = first_use(ctx, u, MSW_ENCODING_PACKED, 0);
    const use plain = first_use(ctx, u, MSW_ENCODING_PLAIN, 0);
    const use transport = first_use(ctx, u, MSW_ENCODING_TRANSPORT, 0);
    const size_t blocks = rows / BLOCK * (columns / BLOCK);

    printf("| %zux%zu | %zu | %.0f | %.1f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", rows,
           columns, blocks, 1e6 * trusted.seconds, 1e9 * trusted.seconds / (double)blocks,
           1e6 * packed.seconds, 1e6 * plain.seconds, 1e6 * transport.seconds,
           1e-3 * (double)packed.most, 1e-3 * (double)plain.most,
           1e-3 * (double)transport.most);
    msw_unified_free(u);
}

int main(void)
{
    static const size_t counts[] = {1, 10, 100, 1000, 10000};
    static const size_t sizes[][2] = {{512, 512}, {512, 4096}, {2048, 2048}, {4096, 4096}};
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.allocator.alloc = hook_alloc;
    o.allocator.free = hook_free;
    must(msw_context_new(&ctx, &o));
    printf("%s\n\n| tensors | file, MB | open, us | per tensor, us |\n|---|---|---|---|\n",
           msw_context_isa(ctx));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        print_opening(ctx, counts[i]);
    printf("\n| weights | blocks | trusted, us | per block, ns | checksummed, us | plain, us | "
           "transport, us | most memory, kB | plain, kB | transport, kB |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        print_first_use(ctx, sizes[i][0], sizes[i][1]);
    msw_context_free(ctx);
    return 0;
}
