/* SPDX-License-Identifier: BSD-2-Clause */
/* A program of somebody else's: C99, and C++ as consumer.cpp. It unifies a matrix,
 * multiplies with it, and reads it back from a file image. */
#include <msw/msw.h>

#include <stdio.h>
#include <stdlib.h>

#define TRY(call)                                                  \
    do {                                                           \
        const msw_status status = (call);                          \
        if (status != MSW_OK) {                                    \
            fprintf(stderr, "%s: %s\n", #call, msw_status_text(status)); \
            exit(1);                                               \
        }                                                          \
    } while (0)

enum { M = 16, K = 24, N = 5 };

int main(void)
{
    static float w[M * K], x[K * N], y[M * N];
    const size_t shape[2] = {M, K};
    msw_projection_options shares;
    msw_gemm_call call;
    msw_context *ctx;
    msw_tensor *weights;
    msw_plan *plan;
    msw_unified *u;
    msw_gemm *gemm;
    msw_writer *writer;
    msw_reader *reader;
    void *image;
    size_t bytes, i;

    for (i = 0; i < M * K; i++)
        w[i] = (i % 3 ? 1.0f : -1.0f) * (float)(i / (8 * K) + 1);
    for (i = 0; i < K * N; i++)
        x[i] = 1;

    if (msw_version() != MSW_VERSION)
        return 2;
    TRY(msw_context_new(&ctx, NULL));
    TRY(msw_tensor_borrow(&weights, ctx, w, shape, NULL, 2));
    TRY(msw_plan_new(&plan, ctx, shape, 2, NULL));
    msw_projection_options_init(&shares);
    shares.unify = 1;
    TRY(msw_unified_from(&u, plan, weights, &shares));

    TRY(msw_writer_new(&writer, ctx));
    TRY(msw_writer_add_unified(writer, "w", u, NULL));
    bytes = (size_t)msw_writer_bytes(writer);
    image = malloc(bytes);
    TRY(msw_writer_write_buffer(writer, image, bytes));
    msw_unified_free(u);
    TRY(msw_reader_open_buffer(&reader, ctx, image, bytes, NULL));
    TRY(msw_reader_unified(&u, reader, "w"));

    TRY(msw_gemm_new(&gemm, ctx, u, NULL));
    msw_gemm_call_init(&call);
    call.x = x;
    call.ldx = N;
    call.y = y;
    call.ldy = N;
    call.n = N;
    TRY(msw_gemm_run(gemm, &call));
    /* a third of each row is negative: K/3 of magnitude 1, then 2 */
    for (i = 0; i < M * N; i++)
        if (y[i] != (float)(K / 3) * (float)(i / (8 * N) + 1))
            return 3;
    printf("libmsw %u.%u.%u, %s, BLAS %s\n", msw_version() >> 16, msw_version() >> 8 & 255,
           msw_version() & 255, msw_context_isa(ctx), msw_context_blas(ctx));

    msw_gemm_free(gemm);
    msw_reader_free(reader);
    msw_writer_free(writer);
    free(image);
    msw_unified_free(u);
    msw_plan_free(plan);
    msw_tensor_free(weights);
    msw_context_free(ctx);
    return 0;
}
