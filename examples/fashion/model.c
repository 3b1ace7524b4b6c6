/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#include "layers.h"

/* The bias of a layer as a plain array; the caller frees the tensor it lies in. */
static msw_status read_bias(msw_tensor **bias, struct model *m, int parameter)
{
    const struct parameter *p = &network_parameters[parameter];
    msw_status status = msw_reader_tensor(bias, m->reader, p->name);

    if (status == MSW_OK && msw_tensor_count(*bias) != p->count)
        status = MSW_E_FORMAT;
    return status;
}

/* The weights, if they are of the shape this network has. */
static msw_status read_weights(msw_unified **weights, struct model *m, int parameter)
{
    const struct parameter *p = &network_parameters[parameter];
    msw_plan_info info;
    msw_status status = msw_reader_unified(weights, m->reader, p->name);

    msw_plan_info_init(&info);
    if (status == MSW_OK)
        status = msw_plan_get_info(&info, msw_unified_plan(*weights));
    for (size_t i = 0; status == MSW_OK && i < 4; i++)
        if (info.shape[i] != p->shape[i])
            status = MSW_E_FORMAT;
    return status;
}

static msw_status pack_conv(msw_conv **conv, struct model *m, const msw_unified *weights,
                            const msw_tensor *bias)
{
    msw_conv_options options;

    msw_conv_options_init(&options);
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    options.fallback = MSW_FALLBACK_NEVER; /* libmsw's own kernels are to be compared */
    return msw_conv_new(conv, m->context, weights, &options);
}

static msw_status pack_gemm(msw_gemm **gemm, struct model *m, const msw_unified *weights,
                            const msw_tensor *bias, uint32_t activation)
{
    msw_gemm_options options;

    msw_gemm_options_init(&options);
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    options.activation = activation;
    options.fallback = MSW_FALLBACK_NEVER;
    return msw_gemm_new(gemm, m->context, weights, &options);
}

/* Reads a layer and packs it for the kernels; one of conv and gemm is NULL. */
static bool load_layer(struct model *m, int weight, int bias_parameter, msw_conv **conv,
                       msw_gemm **gemm, uint32_t activation)
{
    msw_unified *weights = NULL;
    msw_tensor *bias = NULL;
    msw_status status = read_weights(&weights, m, weight);

    if (status == MSW_OK)
        status = read_bias(&bias, m, bias_parameter);
    if (status == MSW_OK)
        status = conv != NULL ? pack_conv(conv, m, weights, bias)
                              : pack_gemm(gemm, m, weights, bias, activation);
    if (status != MSW_OK)
        fprintf(stderr, "%s: %s: %s\n", network_parameters[weight].name,
                msw_status_text(status), msw_reader_error(m->reader));
    msw_tensor_free(bias);
    msw_unified_free(weights);
    return status == MSW_OK;
}

static bool allocate_workspace(struct model *m, int capacity)
{
    const size_t needs[] = {
        msw_conv_workspace(m->conv1, 1, IMAGE_SIDE, IMAGE_SIDE),
        msw_conv_workspace(m->conv2, 1, POOL1_SIDE, POOL1_SIDE),
        msw_gemm_workspace(m->fc1, (size_t)capacity),
        msw_gemm_workspace(m->fc2, (size_t)capacity),
    };

    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > m->workspace_bytes)
            m->workspace_bytes = needs[i];
    m->workspace_bytes = (m->workspace_bytes / 64 + 1) * 64;
    m->workspace = aligned_alloc(64, m->workspace_bytes);
    if (m->workspace == NULL)
        fputs("not enough memory\n", stderr);
    return m->workspace != NULL;
}

bool model_open(struct model *m, const char *path, int capacity)
{
    msw_status status;

    *m = (struct model){0};
    status = msw_context_new(&m->context, NULL);
    if (status == MSW_OK)
        status = msw_reader_open(&m->reader, m->context, path, NULL);
    if (status != MSW_OK)
        fprintf(stderr, "%s: %s\n", path, msw_status_text(status));
    if (status == MSW_OK && load_layer(m, CONV1_WEIGHT, CONV1_BIAS, &m->conv1, NULL, 0) &&
        load_layer(m, CONV2_WEIGHT, CONV2_BIAS, &m->conv2, NULL, 0) &&
        load_layer(m, FC1_WEIGHT, FC1_BIAS, NULL, &m->fc1, MSW_ACTIVATION_RELU) &&
        load_layer(m, FC2_WEIGHT, FC2_BIAS, NULL, &m->fc2, MSW_ACTIVATION_NONE) &&
        allocate_workspace(m, capacity))
        return true;
    model_close(m);
    return false;
}

void model_close(struct model *m)
{
    free(m->workspace);
    msw_conv_free(m->conv1);
    msw_conv_free(m->conv2);
    msw_gemm_free(m->fc1);
    msw_gemm_free(m->fc2);
    msw_reader_free(m->reader);
    msw_context_free(m->context);
    *m = (struct model){0};
}

static msw_status convolve(const struct model *m, const msw_conv *conv, float *out,
                           const float *in, size_t side)
{
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.x = in;
    call.y = out;
    call.batch = 1;
    call.height = call.width = side;
    call.workspace = m->workspace;
    call.workspace_bytes = m->workspace_bytes;
    return msw_conv_run(conv, &call);
}

static msw_status multiply(const struct model *m, const msw_gemm *gemm, float *out,
                           size_t out_size, const float *in, size_t in_size, int count)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = in;
    call.ldx = in_size;
    call.y = out;
    call.ldy = out_size;
    call.n = (size_t)count;
    call.layout = MSW_LAYOUT_ROWS;
    call.workspace = m->workspace;
    call.workspace_bytes = m->workspace_bytes;
    return msw_gemm_run(gemm, &call);
}

bool model_classify(const struct model *m, struct activations *a, int count)
{
    msw_status status = MSW_OK;

    for (int n = 0; status == MSW_OK && n < count; n++) {
        float *pool1 = a->pool1 + n * POOL1_SIZE;

        status = convolve(m, m->conv1, a->map, a->images + n * IMAGE_SIZE, IMAGE_SIDE);
        pool_relu(pool1, a->map, FILTERS1, MAP1_SIDE);
        if (status == MSW_OK)
            status = convolve(m, m->conv2, a->map, pool1, POOL1_SIDE);
        pool_relu(a->pool2 + n * POOL2_SIZE, a->map, FILTERS2, MAP2_SIDE);
    }
    if (status == MSW_OK)
        status = multiply(m, m->fc1, a->fc1, UNITS, a->pool2, POOL2_SIZE, count);
    if (status == MSW_OK)
        status = multiply(m, m->fc2, a->scores, CLASSES, a->fc1, UNITS, count);
    if (status != MSW_OK)
        fprintf(stderr, "running the network: %s\n", msw_status_text(status));
    return status == MSW_OK;
}
