// SPDX-License-Identifier: BSD-2-Clause
// The two networks: LeNet 20-50-500 of ../fashion and the VGG-style one of
// ../libtorch.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

struct network : torch::nn::Module {
    virtual torch::Tensor forward(torch::Tensor x) = 0;
    // What is compressed: without batch normalisation, which is folded.
    virtual std::shared_ptr<network> folded() = 0;

    // Weights of layer NAME are parameter NAME + ".weight", biases NAME +
    // ".bias".
    std::vector<std::string> layers;
    int64_t shift;              // by so many pixels its training images are moved at most
    double first_rate, decay;   // learning rate at first, weight decay
    const char *weights_suffix; // of the names in the file
};

// lenet or vgg. Throws for any other.
std::shared_ptr<network> make_network(const std::string &name);
