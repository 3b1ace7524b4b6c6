// SPDX-License-Identifier: BSD-2-Clause
#include "networks.hpp"

#include "../libtorch/layers.hpp"

#include <stdexcept>

namespace nn = torch::nn;

namespace
{

struct lenet : network {
    lenet()
        : conv1(register_module("conv1", nn::Conv2d(1, 20, 5))),
          conv2(register_module("conv2", nn::Conv2d(20, 50, 5))),
          fc1(register_module("fc1", nn::Linear(800, 500))),
          fc2(register_module("fc2", nn::Linear(500, 10)))
    {
        layers = {"conv1", "conv2", "fc1", "fc2"};
        shift = 0;
        first_rate = 0.04;
        decay = 5e-4;
        weights_suffix = ".weight";
    }

    torch::Tensor forward(torch::Tensor x) override
    {
        x = torch::relu(torch::max_pool2d(conv1(x), 2));
        x = torch::relu(torch::max_pool2d(conv2(x), 2));
        return fc2(torch::relu(fc1(x.flatten(1))));
    }

    std::shared_ptr<network> folded() override
    {
        return std::static_pointer_cast<network>(shared_from_this());
    }

    nn::Conv2d conv1, conv2;
    nn::Linear fc1, fc2;
};

struct vgg : network {
    explicit vgg(bool batch_norm)
        : fc1(register_module("fc1", nn::Linear(features, units))),
          fc2(register_module("fc2", nn::Linear(units, classes))), dropout(0.3)
    {
        for (const conv_layer &l : conv_layers) {
            const std::string name = l.name;

            layers.push_back(name);
            conv.push_back(register_module(
                name, nn::Conv2d(nn::Conv2dOptions(l.in, l.out, 3).padding(1))));
            if (batch_norm)
                norm.push_back(register_module(name + "_norm", nn::BatchNorm2d(l.out)));
        }
        layers.insert(layers.end(), {"fc1", "fc2"});
        register_module("dropout", dropout);
        shift = 1;
        first_rate = 0.05;
        decay = 5e-4;
        weights_suffix = "";
    }

    torch::Tensor forward(torch::Tensor x) override
    {
        for (size_t i = 0; i < conv.size(); i++) {
            x = conv[i](x);
            if (!norm.empty())
                x = norm[i](x);
            if (conv_layers[i].pool)
                x = torch::max_pool2d(x, 2); // before ReLU: the same, and less to do
            x = torch::relu(x);
        }
        return fc2(torch::relu(fc1(dropout(x.flatten(1)))));
    }

    // y = gamma (conv(x) - mean) / sqrt(variance + epsilon) + beta is a
    // convolution.
    std::shared_ptr<network> folded() override
    {
        const torch::NoGradGuard no_grad;
        const auto out = std::make_shared<vgg>(false);

        out->to(fc1->weight.device());

        for (size_t i = 0; i < conv.size(); i++) {
            const auto &n = norm.at(i);
            const auto scale = n->weight / (n->running_var + n->options.eps()).sqrt();

            out->conv[i]->weight.copy_(conv[i]->weight * scale.reshape({-1, 1, 1, 1}));
            out->conv[i]->bias.copy_((conv[i]->bias - n->running_mean) * scale + n->bias);
        }
        out->fc1->weight.copy_(fc1->weight);
        out->fc1->bias.copy_(fc1->bias);
        out->fc2->weight.copy_(fc2->weight);
        out->fc2->bias.copy_(fc2->bias);
        return out;
    }

    std::vector<nn::Conv2d> conv;
    std::vector<nn::BatchNorm2d> norm;
    nn::Linear fc1, fc2;
    nn::Dropout dropout;
};

} // namespace

std::shared_ptr<network> make_network(const std::string &name)
{
    if (name == "lenet")
        return std::make_shared<lenet>();
    if (name == "vgg")
        return std::make_shared<vgg>(true);
    throw std::runtime_error(name + ": neither lenet nor vgg");
}
