// SPDX-License-Identifier: BSD-2-Clause
#include "training.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

static constexpr double momentum = 0.9;

training::training(std::shared_ptr<network> of, const image_set &set, double weight_decay,
                   uint64_t seed)
    : net(of), decay(weight_decay), source(set, of->shift, seed),
      parameters(of->parameters()), loss_sum(torch::zeros({}, set.pixels.device())),
      losses(0)
{
    for (const auto &p : parameters)
        velocity.push_back(torch::zeros_like(p));
    net->train();
}

void training::gradient()
{
    source.next();
    for (auto &p : parameters)
        if (p.grad().defined())
            p.mutable_grad() = torch::Tensor();
    const auto loss =
        torch::nn::functional::cross_entropy(net->forward(source.images), source.labels);
    loss.backward();
    loss_sum += loss.detach();
    losses++;
}

std::vector<torch::Tensor> training::gradients() const
{
    std::vector<torch::Tensor> out;

    for (const auto &p : parameters)
        out.push_back(p.grad());
    return out;
}

void training::step(double rate)
{
    const torch::NoGradGuard no_grad;
    const auto gradient = gradients();

    at::_foreach_add_(gradient, parameters, decay);
    at::_foreach_mul_(velocity, momentum);
    at::_foreach_add_(velocity, gradient);
    at::_foreach_add_(gradient, velocity, momentum);
    at::_foreach_add_(parameters, gradient, -rate);
}

double training::mean_loss()
{
    const double mean = loss_sum.item<double>() / static_cast<double>(losses);

    loss_sum.zero_();
    losses = 0;
    if (!std::isfinite(mean))
        throw std::runtime_error("the loss is not finite");
    return mean;
}

std::vector<torch::Tensor> training::momenta() const
{
    const auto named = net->named_parameters();
    std::vector<torch::Tensor> out;

    for (const auto &layer : net->layers)
        for (size_t i = 0; i < parameters.size(); i++)
            if (parameters[i].is_same(named[layer + ".weight"]))
                out.push_back(velocity[i]);
    return out;
}

std::vector<torch::Tensor> training::squared_gradients(int64_t steps)
{
    const auto named = net->named_parameters();
    std::vector<torch::Tensor> sums;

    for (const auto &layer : net->layers)
        sums.push_back(torch::zeros_like(named[layer + ".weight"]));
    for (int64_t step = 0; step < steps; step++) {
        gradient();
        const torch::NoGradGuard no_grad;
        for (size_t i = 0; i < sums.size(); i++)
            sums[i] += named[net->layers[i] + ".weight"].grad().square();
    }
    for (auto &s : sums)
        s = s / static_cast<double>(steps);
    mean_loss();
    return sums;
}

double cosine_rate(double first, int64_t step, int64_t steps)
{
    const double progress = static_cast<double>(step) / static_cast<double>(steps);

    return first * 0.5 * (1 + std::cos(M_PI * progress));
}

torch::Tensor classes_of(network &net, const image_set &set)
{
    constexpr int64_t at_once = 500;
    const torch::NoGradGuard no_grad;
    const bool training = net.is_training();
    std::vector<torch::Tensor> found;

    net.eval();
    for (int64_t i = 0; i < set.count(); i += at_once)
        found.push_back(
            net.forward(set.normalised(i, std::min(i + at_once, set.count()))).argmax(1));
    net.train(training);
    return torch::cat(found);
}

double accuracy(network &net, const image_set &set)
{
    return 100.0 *
           classes_of(net, set).eq(set.labels).to(torch::kFloat32).mean().item<double>();
}
