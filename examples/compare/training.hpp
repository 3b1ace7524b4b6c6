// SPDX-License-Identifier: BSD-2-Clause
// The training loop: SGD with Nesterov momentum.
#pragma once

#include "batches.hpp"
#include "networks.hpp"

#include <functional>
#include <memory>
#include <vector>

class training
{
public:
    training(std::shared_ptr<network> net, const image_set &set, double decay,
             uint64_t seed);

    int64_t epoch_steps() const { return source.per_epoch(); }
    void gradient();        // of the next mini-batch
    void step(double rate); // weight decay, momentum, step
    double mean_loss();     // since it was asked last; throws when it is not finite

    // Momentum of the layers' weights, in the network's order.
    std::vector<torch::Tensor> momenta() const;
    // Mean squared gradients of the layers' weights, over so many mini-batches.
    std::vector<torch::Tensor> squared_gradients(int64_t steps);

private:
    std::vector<torch::Tensor> gradients() const;

    std::shared_ptr<network> net;
    double decay; // of weights
    batches source;
    std::vector<torch::Tensor> parameters, velocity;
    torch::Tensor loss_sum;
    int64_t losses;
};

// From `first` to 0.
double cosine_rate(double first, int64_t step, int64_t steps);

torch::Tensor classes_of(network &net, const image_set &set);
double accuracy(network &net, const image_set &set); // per cent
