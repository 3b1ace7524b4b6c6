/* SPDX-License-Identifier: BSD-2-Clause */
/* Run one fully connected layer of a file that `msw compress` or a training program wrote.
 *
 *   run_layer FILE WEIGHTS BIAS
 *
 * prints which kernel runs, and the outputs for the inputs 1, 1/2, 1/3, ... */
#include "must.h"

static msw_gemm *load_layer(msw_context *ctx, const char *path, const char *weights_name,
                            const char *bias_name)
{
    msw_reader *reader;
    msw_unified *weights;
    msw_tensor *bias;
    msw_gemm *layer;
    msw_gemm_options options;

    must(msw_reader_open(&reader, ctx, path, NULL), path);
    must(msw_reader_unified(&weights, reader, weights_name), weights_name);
    must(msw_reader_tensor(&bias, reader, bias_name), bias_name);
    msw_gemm_options_init(&options);
    options.expected_n = 1;
    options.activation = MSW_ACTIVATION_RELU;
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    must(msw_gemm_new(&layer, ctx, weights, &options), "packing");
    msw_tensor_free(bias); /* the layer has its own copy of all that it needs */
    msw_unified_free(weights);
    msw_reader_free(reader);
    return layer;
}

/* Rows and columns of the weights: outputs and inputs. */
static void get_size(size_t *outputs, size_t *inputs, msw_context *ctx, const char *path,
                     const char *weights_name)
{
    msw_reader *reader;
    msw_entry entry;
    size_t index;

    must(msw_reader_open(&reader, ctx, path, NULL), path);
    must(msw_reader_find(&index, reader, weights_name), weights_name);
    msw_entry_init(&entry);
    must(msw_reader_get_entry(&entry, reader, index), weights_name);
    *outputs = entry.shape[0];
    *inputs = entry.shape[1];
    msw_reader_free(reader);
}

static void run_layer(const msw_gemm *layer, size_t outputs, size_t inputs)
{
    float *x = calloc(inputs, sizeof *x), *y = calloc(outputs, sizeof *y);
    msw_gemm_call call;
    msw_gemm_info info;

    must(x && y ? MSW_OK : MSW_E_NOMEM, "activations");
    for (size_t i = 0; i < inputs; i++)
        x[i] = 1 / (float)(i + 1);
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = 1;
    must(msw_gemm_run(layer, &call), "product");

    msw_gemm_info_init(&info);
    must(msw_gemm_get_info(&info, layer, 1), "info");
    printf("%s: %s\n", info.kernel, info.reason);
    for (size_t i = 0; i < outputs; i++)
        printf("%.6g\n", (double)y[i]);
    free(x);
    free(y);
}

int main(int argc, char **argv)
{
    msw_context *ctx;
    msw_gemm *layer;
    size_t outputs, inputs;

    if (argc != 4) {
        fprintf(stderr, "usage: run_layer FILE WEIGHTS BIAS\n");
        return EXIT_FAILURE;
    }
    must(msw_context_new(&ctx, NULL), "context");
    get_size(&outputs, &inputs, ctx, argv[1], argv[2]);
    layer = load_layer(ctx, argv[1], argv[2], argv[3]);
    run_layer(layer, outputs, inputs);
    msw_gemm_free(layer);
    msw_context_free(ctx);
    return EXIT_SUCCESS;
}
