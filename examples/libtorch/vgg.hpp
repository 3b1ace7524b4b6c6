// SPDX-License-Identifier: BSD-2-Clause
// The training program that was there first: torch's layers, autograd and optimiser.
#pragma once

#include "images.hpp"

#include <torch/torch.h>

#include <vector>

class vgg_module : public torch::nn::Module {
public:
    // Without batch normalisation: the network after folding.
    explicit vgg_module(bool batch_norm);
    torch::Tensor forward(torch::Tensor x);

    std::vector<torch::nn::Conv2d> conv;
    std::vector<torch::nn::BatchNorm2d> norm; // one for each convolution, or none
    torch::nn::Linear fc1, fc2;
    torch::nn::Dropout dropout;
};
using vgg = std::shared_ptr<vgg_module>;

// Mini-batches of a shuffled training set, SGD with momentum.
class trainer {
public:
    trainer(vgg net, const images &training);

    int64_t epoch_steps() const;
    double gradient(); // of the next mini-batch, with torch's autograd; its loss
    void step(double rate);

    torch::optim::SGD optimiser;

private:
    vgg net;
    const images &training;
    int64_t next = 0;
    torch::Tensor order;
};

// A learning rate that falls from `first` to 0.
double cosine_rate(double first, int64_t step, int64_t steps);

// One thread, so that figures do not depend on the machine's load; and memory that stays.
void prepare_process(uint64_t seed);

torch::Tensor predictions(vgg net, const images &set); // a class for each image
double accuracy(vgg net, const images &set);           // per cent
double microseconds_per_image(vgg net, int64_t batch); // processor time, median

void report(const char *phase, int64_t epoch, int64_t epochs, double loss);
