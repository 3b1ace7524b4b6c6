// SPDX-License-Identifier: BSD-2-Clause
#include "vgg.hpp"

#include "layers.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace nn = torch::nn;

static constexpr int64_t batch = 128;
static constexpr double momentum = 0.9, weight_decay = 5e-4;

vgg_module::vgg_module(bool batch_norm)
    : fc1(features, units), fc2(units, classes), dropout(0.3)
{
    for (const conv_layer &l : conv_layers) {
        const std::string name = l.name;

        conv.push_back(register_module(
            name, nn::Conv2d(nn::Conv2dOptions(l.in, l.out, 3).padding(1))));
        if (batch_norm)
            norm.push_back(register_module(name + "_norm", nn::BatchNorm2d(l.out)));
    }
    register_module("fc1", fc1);
    register_module("fc2", fc2);
    register_module("dropout", dropout);
}

torch::Tensor vgg_module::forward(torch::Tensor x)
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

trainer::trainer(vgg network, const images &set)
    : optimiser(network->parameters(), torch::optim::SGDOptions(0.1)
                                           .momentum(momentum)
                                           .nesterov(true)
                                           .weight_decay(weight_decay)),
      net(network), training(set)
{
    if (epoch_steps() == 0)
        throw std::runtime_error("too few images for a mini-batch");
    net->train();
}

int64_t trainer::epoch_steps() const { return training.count() / batch; }

double trainer::gradient()
{
    if (next == 0)
        order = torch::randperm(training.count());
    const auto which = order.slice(0, next * batch, (next + 1) * batch);
    const auto loss = torch::nn::functional::cross_entropy(
        net->forward(training.augmented(which)), training.labels(which));
    next = (next + 1) % epoch_steps();
    optimiser.zero_grad();
    loss.backward();
    return loss.item<double>();
}

void trainer::step(double rate)
{
    for (auto &group : optimiser.param_groups())
        static_cast<torch::optim::SGDOptions &>(group.options()).lr(rate);
    optimiser.step();
}

double cosine_rate(double first, int64_t step, int64_t steps)
{
    const double progress = static_cast<double>(step) / static_cast<double>(steps);

    return first * 0.5 * (1 + std::cos(M_PI * progress));
}

void prepare_process(uint64_t seed)
{
    torch::set_num_threads(1);
    torch::manual_seed(seed);
#ifdef __GLIBC__
    // Tensors of megabytes come and go in every step. Given back to the system each time,
    // they cost a quarter of the training in page faults.
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

torch::Tensor predictions(vgg net, const images &set)
{
    constexpr int64_t at_once = 500;
    const torch::NoGradGuard no_grad;
    const bool training = net->is_training();
    std::vector<torch::Tensor> found;

    net->eval();
    for (int64_t i = 0; i < set.count(); i += at_once) {
        const int64_t end = std::min(i + at_once, set.count());
        found.push_back(net->forward(set.pixels(i, end)).argmax(1));
    }
    net->train(training);
    return torch::cat(found);
}

double accuracy(vgg net, const images &set)
{
    const auto right = predictions(net, set).eq(set.labels(0, set.count()));

    return 100.0 * right.to(torch::kFloat64).mean().item<double>();
}

static double thread_seconds()
{
    std::timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double microseconds_per_image(vgg net, int64_t batch)
{
    constexpr int rounds = 21, count = 256;
    const torch::NoGradGuard no_grad;
    const auto pixels = torch::randn({batch, 1, IMAGE_SIDE, IMAGE_SIDE});
    std::vector<double> seconds;

    net->eval();
    for (int round = 0; round < rounds; round++) {
        const double start = thread_seconds();
        for (int64_t i = 0; i < count; i += batch)
            net->forward(pixels);
        seconds.push_back(thread_seconds() - start);
    }
    std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
    return 1e6 * seconds[rounds / 2] / count;
}

void report(const char *phase, int64_t epoch, int64_t epochs, double loss)
{
    std::printf("%s, epoch %d of %d: loss %.4f\n", phase, static_cast<int>(epoch),
                static_cast<int>(epochs), loss);
    std::fflush(stdout);
}
