// SPDX-License-Identifier: BSD-2-Clause
// Where libmsw meets torch.
#pragma once

#include "msw.hpp"
#include "vgg.hpp"

#include <string>
#include <vector>

// The same network without batch normalisation: each is folded into the convolution
// before it. To be done before blocks get their one magnitude, since every output has a
// scale of its own afterwards.
vgg fold_batch_norm(const vgg &net);

// The solver, and tensors by which it sees torch's memory, which stays where it is.
class compression {
public:
    compression(const vgg &net, size_t updates);

    // ADMM phase: after backward() and before step(); and now and then.
    void add_penalty();
    void update();
    double residual() const; // the largest ||W - Z|| / ||W|| of all layers

    // From here on masked retraining: after backward() and after step().
    void freeze(torch::optim::SGD &optimiser);
    void mask_gradients();
    void mask_weights();

    uint64_t save(const std::string &path) const; // bytes of the file

private:
    struct layer {
        std::string name;
        torch::Tensor weight, bias;
        msw::tensor weights, gradient;
    };

    void add_layer(const std::string &name, torch::Tensor weight, torch::Tensor bias,
                   const msw_plan_options &blocks, double prune, double unify);
    msw_tensor *gradient_of(layer &l);
    void check(msw_status status, const std::string &what) const;

    msw::context context;
    msw::admm admm;
    std::vector<layer> layers;
};
