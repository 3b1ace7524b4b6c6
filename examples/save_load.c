/* SPDX-License-Identifier: BSD-2-Clause */
/* One file holds a model: unified weights, plain tensors, and what the host wants to
 * know about it. Usage: save_load [FILE] */
#include "must.h"
#include "toy.h"

static const size_t shape[2] = {TOY_OUTPUTS, TOY_INPUTS}, bias_shape[1] = {TOY_OUTPUTS};

/* The training program. */
static void save(msw_context *ctx, const char *path, toy *network)
{
    msw_tensor *weights, *bias;
    msw_plan *plan;
    msw_unified *unified;
    msw_writer *writer;
    msw_projection_options shares;
    msw_store_options half;

    must(msw_tensor_borrow(&weights, ctx, network->weights, shape, NULL, 2), "weights");
    must(msw_tensor_borrow(&bias, ctx, network->bias, bias_shape, NULL, 1), "bias");
    must(msw_plan_new(&plan, ctx, shape, 2, NULL), "plan");
    msw_projection_options_init(&shares);
    shares.prune = 0.5;
    shares.unify = 0.4;
    must(msw_unified_from(&unified, plan, weights, &shares), "projection");

    must(msw_writer_new(&writer, ctx), "writer");
    msw_store_options_init(&half); /* f32 unless asked for */
    half.magnitudes = half.free_weights = MSW_DTYPE_F16;
    must(msw_writer_add_unified(writer, "layer.weight", unified, &half), "weights");
    must(msw_writer_add_tensor(writer, "layer.bias", bias, NULL), "bias");
    must(msw_writer_add_metadata(writer, "activation", "none", 4), "metadata");
    must(msw_writer_save(writer, path), path); /* atomic */
    printf("%llu bytes instead of %zu\n", (unsigned long long)msw_writer_bytes(writer),
           sizeof network->weights + sizeof network->bias);

    msw_writer_free(writer);
    msw_unified_free(unified);
    msw_plan_free(plan);
    msw_tensor_free(bias);
    msw_tensor_free(weights);
}

/* The program that uses the model: it needs nothing but the file. */
static void load_and_run(msw_context *ctx, const char *path)
{
    float x[TOY_INPUTS], y[TOY_OUTPUTS];
    msw_reader *reader;
    msw_unified *unified;
    msw_tensor *bias;
    msw_gemm *gemm;
    msw_gemm_options options;
    msw_gemm_call call;

    must(msw_reader_open(&reader, ctx, path, NULL), path);
    must(msw_reader_unified(&unified, reader, "layer.weight"), "weights");
    must(msw_reader_tensor(&bias, reader, "layer.bias"), "bias");
    msw_reader_free(reader);

    msw_gemm_options_init(&options);
    options.expected_n = 1; /* one sample at a time */
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    must(msw_gemm_new(&gemm, ctx, unified, &options), "packing");
    msw_tensor_free(bias); /* what a kernel needs it has copied */
    msw_unified_free(unified);

    for (int i = 0; i < TOY_INPUTS; i++)
        x[i] = toy_random();
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = 1;
    must(msw_gemm_run(gemm, &call), "product");
    printf("y[0] = %g\n", (double)y[0]);
    msw_gemm_free(gemm);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "toy.msw";
    static toy network;
    msw_context *ctx;

    toy_init(&network);
    must(msw_context_new(&ctx, NULL), "context");
    save(ctx, path, &network);
    load_and_run(ctx, path);
    msw_context_free(ctx);
    return EXIT_SUCCESS;
}
