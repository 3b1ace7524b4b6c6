// SPDX-License-Identifier: BSD-2-Clause
#include "model.hpp"

#include "layers.hpp"

#include <algorithm>

using msw::check;

namespace {

// Weights and bias of one layer, checked to be of the network's shape.
struct stored {
    msw::unified weights;
    msw::tensor bias;

    stored(const msw::reader &reader, const std::string &name, size_t rows,
           size_t columns)
        : weights(msw::make<msw::unified>(name, msw_reader_unified, reader.get(),
                                          name.c_str())),
          bias(msw::make<msw::tensor>(name + ".bias", msw_reader_tensor, reader.get(),
                                      (name + ".bias").c_str()))
    {
        msw_plan_info info;

        msw_plan_info_init(&info);
        check(msw_plan_get_info(&info, msw_unified_plan(weights.get())), name);
        if (info.rows != rows || info.columns != columns)
            throw std::runtime_error(name + ": weights of another network");
    }
};

} // namespace

static msw::conv load_convolution(const msw::context &context, const msw::reader &reader,
                                  const conv_layer &l)
{
    const stored s(reader, l.name, static_cast<size_t>(l.out),
                   static_cast<size_t>(l.in) * 3 * 3);
    msw_conv_options options;

    msw_conv_options_init(&options);
    options.pad_top = options.pad_bottom = options.pad_left = options.pad_right = 1;
    options.bias = msw_tensor_data(s.bias.get());
    options.bias_count = msw_tensor_count(s.bias.get());
    options.activation = MSW_ACTIVATION_RELU;
    return msw::make<msw::conv>(l.name, msw_conv_new, context.get(), s.weights.get(),
                                &options);
}

static msw::gemm load_matrix(const msw::context &context, const msw::reader &reader,
                             const std::string &name, int rows, int columns,
                             uint32_t activation)
{
    const stored s(reader, name, static_cast<size_t>(rows), static_cast<size_t>(columns));
    msw_gemm_options options;

    msw_gemm_options_init(&options);
    options.bias = msw_tensor_data(s.bias.get());
    options.bias_count = msw_tensor_count(s.bias.get());
    options.activation = activation;
    return msw::make<msw::gemm>(name, msw_gemm_new, context.get(), s.weights.get(),
                                &options);
}

model::model(const std::string &path, size_t capacity)
    : context(msw::make<msw::context>("context", msw_context_new, nullptr))
{
    const auto reader = msw::make<msw::reader>(path, msw_reader_open, context.get(),
                                               path.c_str(), nullptr);
    size_t largest = 0;

    for (const conv_layer &l : conv_layers) {
        convolutions.push_back(load_convolution(context, reader, l));
        largest = std::max(largest, static_cast<size_t>(l.out * l.side * l.side));
    }
    fc1 = load_matrix(context, reader, "fc1", units, features, MSW_ACTIVATION_RELU);
    fc2 = load_matrix(context, reader, "fc2", classes, units, MSW_ACTIVATION_NONE);
    map.resize(capacity * largest);
    pooled.resize(capacity * largest);
    hidden.resize(capacity * units);
}

static void convolve(const msw::conv &conv, float *y, const float *x, size_t count,
                     size_t side)
{
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.x = x;
    call.y = y;
    call.batch = count;
    call.height = call.width = side;
    check(msw_conv_run(conv.get(), &call), "convolution");
}

static void multiply(const msw::gemm &gemm, float *y, size_t rows, const float *x,
                     size_t columns, size_t count)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.layout = MSW_LAYOUT_ROWS; // an image's activations in each row
    call.x = x;
    call.ldx = columns;
    call.y = y;
    call.ldy = rows;
    call.n = count;
    check(msw_gemm_run(gemm.get(), &call), "product");
}

// The maximum over 2x2 pixels of each of `planes` images; an odd last row or column is
// left out, as torch does.
static void pool(float *y, const float *x, size_t planes, size_t side)
{
    for (size_t plane = 0; plane < planes; plane++, x += side * side)
        for (size_t row = 0; row + 1 < side; row += 2)
            for (size_t column = 0; column + 1 < side; column += 2) {
                const float *p = x + row * side + column;

                *y++ = std::max(std::max(p[0], p[1]), std::max(p[side], p[side + 1]));
            }
}

void model::run(float *scores, const float *images, size_t count)
{
    const float *x = images;

    for (size_t i = 0; i < convolutions.size(); i++) {
        const conv_layer &l = conv_layers[i];
        const auto side = static_cast<size_t>(l.side), out = static_cast<size_t>(l.out);

        convolve(convolutions[i], map.data(), x, count, side);
        if (l.pool)
            pool(pooled.data(), map.data(), count * out, side);
        else
            map.swap(pooled);
        x = pooled.data();
    }
    multiply(fc1, hidden.data(), units, x, features, count);
    multiply(fc2, scores, classes, hidden.data(), units, count);
}
