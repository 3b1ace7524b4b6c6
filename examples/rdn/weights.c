/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights.h"

#include <string.h>

#include "../must.h"
#include "memory.h"

enum { RANK = 4, NAME_SIZE = 1024 };

static void get_shape(size_t shape[RANK], const struct layer *l)
{
    shape[0] = l->channels;
    shape[1] = l->kernel_height;
    shape[2] = l->kernel_width;
    shape[3] = l->input_channels;
}

msw_tensor *weights_tensor(msw_context *ctx, const struct layer *l, float *data)
{
    const size_t column = l->channels * l->input_channels;
    const size_t strides[RANK] = {1, l->kernel_width * column, column, l->channels};
    size_t shape[RANK];
    msw_tensor *tensor;

    get_shape(shape, l);
    must(msw_tensor_borrow(&tensor, ctx, data, shape, strides, RANK), l->name);
    return tensor;
}

msw_plan *weights_plan(msw_context *ctx, const struct layer *l, uint32_t block_rows,
                       uint32_t block_columns)
{
    size_t shape[RANK];
    msw_plan *plan;
    msw_plan_options options;

    get_shape(shape, l);
    msw_plan_options_init(&options);
    options.weights = MSW_WEIGHTS_OHWI;
    options.block_rows = block_rows;
    options.block_columns = block_columns;
    must(msw_plan_new(&plan, ctx, shape, RANK, &options), l->name);
    return plan;
}

msw_unified *weights_free(msw_context *ctx, const struct layer *l)
{
    msw_tensor *tensor = weights_tensor(ctx, l, l->weights);
    msw_plan *plan = weights_plan(ctx, l, 0, 0);
    msw_unified *u;

    must(msw_unified_from(&u, plan, tensor, NULL), l->name);
    msw_plan_free(plan);
    msw_tensor_free(tensor);
    return u;
}

float *weights_data(const struct layer *l)
{
    return allocate_floats(layer_weight_count(l));
}

static void bias_name(char name[NAME_SIZE], const struct layer *l)
{
    if (snprintf(name, NAME_SIZE, "%s/bias", l->name) >= NAME_SIZE)
        must(MSW_E_RANGE, l->name);
}

void weights_store_bias(msw_writer *writer, msw_context *ctx, const struct layer *l,
                        const float *bias)
{
    char name[NAME_SIZE];
    msw_store_options half;
    msw_tensor *tensor;

    bias_name(name, l);
    msw_store_options_init(&half);
    half.free_weights = MSW_DTYPE_F16;
    must(msw_tensor_borrow(&tensor, ctx, (float *)bias, &l->channels, NULL, 1), name);
    must(msw_writer_add_tensor(writer, name, tensor, &half), name);
    msw_tensor_free(tensor);
}

msw_unified *weights_load(float *bias, msw_reader *reader, const struct layer *l)
{
    char name[NAME_SIZE];
    size_t shape[RANK];
    msw_plan_info info;
    msw_tensor *tensor;
    msw_unified *u;

    bias_name(name, l);
    get_shape(shape, l);
    msw_plan_info_init(&info);
    must(msw_reader_unified(&u, reader, l->name), l->name);
    must(msw_plan_get_info(&info, msw_unified_plan(u)), l->name);
    if (info.weights != MSW_WEIGHTS_OHWI || memcmp(info.shape, shape, sizeof shape) != 0)
        must(MSW_E_FORMAT, l->name);
    must(msw_reader_tensor(&tensor, reader, name), name);
    if (msw_tensor_count(tensor) != l->channels)
        must(MSW_E_FORMAT, name);
    memcpy(bias, msw_tensor_data(tensor), l->channels * sizeof *bias);
    msw_tensor_free(tensor);
    return u;
}
