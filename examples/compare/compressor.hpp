// SPDX-License-Identifier: BSD-2-Clause
// libmsw for a network whose weights live on any device: the solver works on
// copies in the CPU's memory, and what a training step needs of it is a few
// tensors on the device.
#pragma once

#include "../libtorch/msw.hpp"
#include "networks.hpp"

#include <map>
#include <string>
#include <vector>

// Blocks of a layer: "2x4:0.2:0.8", rows x columns : share pruned : share
// unified.
struct block_choice {
    uint32_t rows, columns;
    double prune, unify;
};
using block_choices = std::map<std::string, std::vector<block_choice>>; // by layer

struct compressor_options {
    size_t updates = 100; // planned
    double rho = 1e-2, rho_end = 1, ramp = 0.5;
    double bytes = 0;        // of the file; 0: the shares of the blocks
    bool importance = false; // mean squared gradients weigh weights and layers
    int mantissa = 4;        // bits in the file
    uint32_t exclude = 0;    // MSW_EXCLUDE_*: classes never used
    double strongest = 10;   // layers' weights are kept within 1/strongest .. strongest
};

class compressor
{
public:
    compressor(std::shared_ptr<network> net, const block_choices &blocks,
               const compressor_options &options);

    // Mean squared gradient of each weight, of the layers in order; before all
    // else.
    void set_importance(const std::vector<torch::Tensor> &squares);

    // ADMM: after backward(); and now and then.
    void add_penalty();
    void update();
    // Weights that are 0 now stay 0 in ADMM.
    void hold_zeros();
    double residual() const; // the largest ||W - Z|| / ||W|| of all layers

    // Latent weights, of full precision, are what the optimiser steps; the network has
    // their projection, whose gradient is taken as theirs (straight-through). choose()
    // begins with the weights as they are, and later chooses classes anew, by the budget;
    // signs and magnitudes follow the latent weights in every step.
    void choose();
    void show_latent(); // before the step: the network has the latent weights
    void show_blocks(); // after it: takes them, and shows their projection

    // Masked retraining: after backward(), and after the step. Of latent weights freezing
    // keeps the classes that choose() found.
    void freeze(const std::vector<torch::Tensor> &momenta); // of the layers in order
    void mask_gradients();
    void mask_weights();

    // Shares of blocks as chosen; when frozen.
    block_choices shares() const;
    // The structure on the weights of `folded`, the network with its batch
    // normalisation folded: that scales rows, which leaves blocks of one row what
    // they are. Returns the bytes of the file.
    uint64_t save(network &folded, const std::string &path) const;

private:
    struct layer {
        std::string name;
        torch::Tensor weight, bias; // of the network
        torch::Tensor copy;         // of the weights, for the solver
        msw::tensor tensor;
        torch::Tensor slope, offset; // the penalty's gradient is slope * W + offset
        torch::Tensor held;          // 0 for weights that stay 0; not defined: none do
        std::vector<msw::plan> plans; // to choose from
        uint32_t exclude;
        double budget_weight = 1;
        torch::Tensor latent;        // not defined: there are none
        msw::unified structure;      // when frozen, or with latent weights
        // Of it: block of each weight; sign of a unified weight, 0 for
        // others; 1 for a free weight, 0 for others; weights in each block.
        torch::Tensor block, sign, free, count;
    };

    void add_layer(const std::string &name, const std::vector<block_choice> &blocks);
    void set_budget();
    void pull();
    void push();
    void look_up_penalty();
    void look_up_structure(layer &l);
    torch::Tensor block_means(const layer &l, const torch::Tensor &t) const;
    torch::Tensor masked(const layer &l, const torch::Tensor &t) const;
    torch::Tensor in_blocks(const layer &l) const;
    void keep_choice(layer &l, const msw_budget *budget, uint32_t index);
    msw_budget_options budget_options(const msw_store_options &store) const;
    void check(msw_status status, const std::string &what) const;
    msw_store_options storage() const;

    std::shared_ptr<network> net;
    compressor_options options;
    msw::context context;
    msw::admm admm;
    std::vector<layer> layers;
};
