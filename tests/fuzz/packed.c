/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as a file, its checksums made to fit: whatever weights in the packed form it
 * has are loaded and run, by the kernels in C and by the best there are. */
#define _POSIX_C_SOURCE 200809L
#include "container.h"
#include "fuzz.h"

#include <msw/msw.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 64 << 20, MOST = 4096, MOST_SIDE = 24, ALIGN = 64, CONTEXTS = 2 };

static void require(int condition)
{
    if (!condition)
        abort();
}

/* For all inputs: making one asks the processor what it can. */
static msw_context *context(int i)
{
    static msw_context *contexts[CONTEXTS];
    msw_context_options o;

    msw_context_options_init(&o);
    o.memory_limit = MEMORY;
    o.cpu_mask = i ? 0 : MSW_CPU_C;
    require(contexts[i] || msw_context_new(&contexts[i], &o) == MSW_OK);
    return contexts[i];
}

/* Arrays of exactly their size, so that what lies beyond shows. */
static void run(const msw_gemm *g, size_t rows, size_t columns, size_t n, uint32_t layout)
{
    float *x = malloc(columns * n * sizeof *x), *y = malloc(rows * n * sizeof *y);
    msw_gemm_call call;

    require(x && y);
    for (size_t i = 0; i < columns * n; i++)
        x[i] = (float)(i % 7) - 3;
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = n;
    call.layout = layout;
    call.ldx = layout == MSW_LAYOUT_ROWS ? columns : n;
    call.ldy = layout == MSW_LAYOUT_ROWS ? rows : n;
    require(msw_gemm_run(g, &call) == MSW_OK || n > 1); /* or the memory limit */
    free(x);
    free(y);
}

/* Outputs and inputs, in whatever order the weights have them; of weights that cannot be
 * read, as many as there may be. */
static void view_of(size_t *rows, size_t *columns, const msw_unified *u, const msw_entry *e)
{
    msw_plan_info info;

    *rows = *columns = e->shape[0] > e->shape[1] ? e->shape[0] : e->shape[1];
    if (!u)
        return;
    msw_plan_info_init(&info);
    require(msw_plan_get_info(&info, msw_unified_plan(u)) == MSW_OK);
    *rows = (size_t)info.rows;
    *columns = (size_t)info.columns;
}

static void use_entry(msw_reader *r, const msw_entry *e)
{
    size_t rows, columns;
    msw_gemm_options o;
    msw_unified *u;
    msw_gemm *g;

    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    require((msw_reader_unified(&u, r, e->name) == MSW_OK) == (u != NULL));
    view_of(&rows, &columns, u, e);
    msw_unified_free(u);
    require((msw_reader_gemm(&g, r, e->name, &o) == MSW_OK) == (g != NULL));
    if (!g)
        require(msw_reader_error(r)[0] != 0);
    for (size_t n = 1; g && rows < MOST && columns < MOST && n < 40; n = 3 * n + 2)
        run(g, rows, columns, n, (uint32_t)(n & 2) / 2);
    msw_gemm_free(g);
}

static void call_conv(const msw_conv *c, size_t channels, size_t outputs, size_t side,
                      size_t pixels)
{
    float *x = calloc(channels * side * side, sizeof *x);
    float *y = malloc(outputs * pixels * sizeof *y);
    msw_conv_call call;
    msw_status status;

    require(x && y);
    msw_conv_call_init(&call);
    call.x = x;
    call.y = y;
    call.batch = 1;
    call.height = call.width = side;
    status = msw_conv_run(c, &call);
    require(status == MSW_OK || status == MSW_E_LIMIT);
    free(x);
    free(y);
}

/* The convolution of a tensor of rank 4, on an image that its kernel fits in. */
static void use_conv(msw_reader *r, const msw_entry *e)
{
    const size_t side = e->shape[1] + e->shape[2] + e->shape[3];
    size_t channels = 0, h, w;
    msw_conv_options o;
    msw_unified *u;
    msw_conv *c;

    require((msw_reader_unified(&u, r, e->name) == MSW_OK) == (u != NULL));
    if (u) {
        msw_plan_info info;

        msw_plan_info_init(&info);
        require(msw_plan_get_info(&info, msw_unified_plan(u)) == MSW_OK);
        channels = info.columns * info.groups; /* at most */
    }
    msw_unified_free(u);
    msw_conv_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    require((msw_reader_conv(&c, r, e->name, &o) == MSW_OK) == (c != NULL));
    if (!c)
        require(msw_reader_error(r)[0] != 0);
    if (c && channels && channels < MOST && e->shape[0] < MOST && side < MOST_SIDE &&
        msw_conv_get_output(&h, &w, c, side, side) == MSW_OK)
        call_conv(c, channels, e->shape[0], side, h * w);
    msw_conv_free(c);
}

static void use_file(msw_context *ctx, const uint8_t *data, size_t size, uint32_t trusted)
{
    const uint64_t before = msw_context_memory(ctx);
    msw_reader_options o;
    msw_reader *r;

    msw_reader_options_init(&o);
    o.trusted = trusted;
    if (msw_reader_open_buffer(&r, ctx, data, size, &o) == MSW_OK) {
        for (size_t i = 0; i < msw_reader_count(r); i++) {
            msw_entry e;

            msw_entry_init(&e);
            require(msw_reader_get_entry(&e, r, i) == MSW_OK);
            if (e.kind == MSW_ENTRY_UNIFIED && e.rank == 2)
                use_entry(r, &e);
            else if (e.kind == MSW_ENTRY_UNIFIED)
                use_conv(r, &e);
        }
        msw_reader_free(r);
    }
    require(msw_context_memory(ctx) == before);
}

/* The payload may be used where it lies: aligned, and nothing behind the last byte. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *memory;

    require(posix_memalign(&memory, ALIGN, size ? size : 1) == 0);
    if (size)
        memcpy(memory, data, size);
    container_repair(memory, size);
    for (int i = 0; i < CONTEXTS; i++)
        use_file(context(i), memory, size, size & 1);
    free(memory);
    return 0;
}
