/* SPDX-License-Identifier: BSD-2-Clause */
#include "packed_fixture.h"

#include "packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(bool condition)
{
    if (condition)
        return;
    fputs("packed fixture failed\n", stderr);
    exit(1);
}

packed_file packed_file_make(msw_context *ctx, const msw_unified *u,
                             const msw_store_options *o, size_t shift)
{
    packed_file f;
    msw_writer *w;

    need(msw_writer_new(&w, ctx) == MSW_OK);
    need(msw_writer_add_unified(w, "w", u, o) == MSW_OK);
    f.size = (size_t)msw_writer_bytes(w);
    f.memory = malloc(f.size + 128);
    need(f.memory != NULL);
    f.data = (uint8_t *)(((uintptr_t)f.memory + 63) / 64 * 64) + shift;
    need(msw_writer_write_buffer(w, f.data, f.size) == MSW_OK);
    msw_writer_free(w);
    return f;
}

void packed_file_free(packed_file *f)
{
    free(f->memory);
}

msw_store_options packed_options(size_t expected_n, uint32_t cpu)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_PACKED;
    o.expected_n = expected_n;
    o.cpu = cpu;
    return o;
}

msw_context *packed_context(uint32_t cpu, msw_context_options *base)
{
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    if (base)
        o = *base;
    o.cpu_mask = cpu;
    need(msw_context_new(&ctx, &o) == MSW_OK);
    return ctx;
}

msw_reader *packed_open(msw_context *ctx, const packed_file *f, bool trusted)
{
    msw_reader_options o;
    msw_reader *r;

    msw_reader_options_init(&o);
    o.trusted = trusted;
    need(msw_reader_open_buffer(&r, ctx, f->data, f->size, &o) == MSW_OK);
    return r;
}

bool packed_missing(void)
{
    if (msw__packed_native())
        return false;
    puts("1..0 # SKIP no packed form on such machines; test_packed_convert: it is refused");
    return true;
}

static bool same_permutation(const uint32_t *a, const uint32_t *b, size_t count)
{
    return !a == !b && (!a || memcmp(a, b, count * sizeof *a) == 0);
}

static bool same_bytes(const void *a, const void *b, size_t size)
{
    return size == 0 || memcmp(a, b, size) == 0;
}

bool packed_same(const msw_unified *a, const msw_unified *b)
{
    const msw_plan *p = a->plan, *q = b->plan;
    const size_t end = p->block_row_count;

    return p->rows == q->rows && p->columns == q->columns &&
           p->block_rows == q->block_rows && p->block_columns == q->block_columns &&
           same_permutation(p->row_permutation, q->row_permutation, p->rows) &&
           same_permutation(p->column_permutation, q->column_permutation, p->columns) &&
           same_bytes(a->classes, b->classes, p->block_count) &&
           same_bytes(a->magnitudes, b->magnitudes, a->magnitude_start[end] * 4) &&
           same_bytes(a->free_weights, b->free_weights, a->free_start[end] * 4) &&
           same_bytes(a->signs, b->signs, (a->sign_start[end] + 7) / 8);
}

msw_status packed_run(float *y, const msw_gemm *g, size_t rows, size_t columns, size_t n)
{
    float *x = malloc(columns * n * sizeof *x);
    msw_gemm_call call;
    msw_status status;
    uint32_t seed = 7;

    need(x != NULL);
    for (size_t i = 0; i < columns * n; i++)
        x[i] = random_float(&seed);
    memset(y, 0xff, rows * n * sizeof *y); /* what no product gives */
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = n;
    status = msw_gemm_run(g, &call);
    free(x);
    return status;
}
