// SPDX-License-Identifier: BSD-2-Clause
#include "compression.hpp"

#include "layers.hpp"

#include <algorithm>
#include <cstdio>

// Blocks of each layer, and shares of them. The first layer has few weights and stays as
// it is; the last is not pruned.
struct recipe {
    const char *name;
    uint32_t block_rows, block_columns;
    double prune, unify;
};
static const recipe recipes[] = {
    {"conv1", 4, 4, 0.0, 0.0},   {"conv2", 4, 4, 0.4, 0.6}, {"conv3", 4, 4, 0.5, 0.5},
    {"conv4", 4, 4, 0.55, 0.45}, {"fc1", 4, 8, 0.7, 0.3},   {"fc2", 2, 8, 0.0, 1.0},
};

// libmsw calls this from C: no exception may leave it.
static void log_line(int level, const char *text, void *) noexcept
{
    if (level <= MSW_LOG_WARNING)
        std::fprintf(stderr, "libmsw: %s\n", text);
}

static msw::context new_context()
{
    msw_context_options options;

    msw_context_options_init(&options);
    options.log = log_line;
    return msw::make<msw::context>("context", msw_context_new, &options);
}

// A torch tensor as libmsw sees it, in place. Any strides will do.
static msw::tensor borrow(const msw::context &context, const torch::Tensor &t)
{
    if (!t.defined() || t.scalar_type() != torch::kFloat32 || !t.device().is_cpu())
        throw std::runtime_error("not a float tensor in the CPU's memory");
    const std::vector<size_t> shape(t.sizes().begin(), t.sizes().end());
    const std::vector<size_t> strides(t.strides().begin(), t.strides().end());

    return msw::make<msw::tensor>("tensor", msw_tensor_borrow, context.get(),
                                  t.data_ptr<float>(), shape.data(), strides.data(),
                                  static_cast<uint32_t>(shape.size()));
}

static void copy(torch::nn::Linear &to, const torch::nn::Linear &from)
{
    to->weight.copy_(from->weight);
    to->bias.copy_(from->bias);
}

vgg fold_batch_norm(const vgg &net)
{
    const torch::NoGradGuard no_grad;
    const auto context = new_context();
    const auto folded = std::make_shared<vgg_module>(false);

    copy(folded->fc1, net->fc1);
    copy(folded->fc2, net->fc2);
    for (size_t i = 0; i < net->conv.size(); i++) {
        const auto &norm = net->norm[i];
        auto &conv = folded->conv[i];
        msw_batch_norm given;

        conv->weight.copy_(net->conv[i]->weight);
        conv->bias.copy_(net->conv[i]->bias);
        msw_batch_norm_init(&given);
        given.channels = static_cast<size_t>(norm->running_mean.numel());
        given.gamma = norm->weight.data_ptr<float>();
        given.beta = norm->bias.data_ptr<float>();
        given.mean = norm->running_mean.data_ptr<float>();
        given.variance = norm->running_var.data_ptr<float>();
        given.epsilon = norm->options.eps();
        const auto weights = borrow(context, conv->weight);
        msw::check(msw_conv_fold_batch_norm(weights.get(), conv->bias.data_ptr<float>(),
                                            MSW_WEIGHTS_OIHW, &given),
                   "folding batch normalisation");
    }
    return folded;
}

compression::compression(const vgg &net, size_t updates)
    : context(new_context())
{
    msw_admm_options options;

    msw_admm_options_init(&options);
    options.updates = updates;
    options.ramp = 0.5;
    options.rho = 1e-2;
    options.rho_end = 1;
    admm = msw::make<msw::admm>("solver", msw_admm_new, context.get(), &options);
    for (const recipe &r : recipes) {
        const auto parameters = net->named_parameters();
        const std::string name = r.name;
        const torch::Tensor weight = parameters[name + ".weight"];
        msw_plan_options blocks;

        msw_plan_options_init(&blocks);
        blocks.weights = weight.dim() == 4 ? MSW_WEIGHTS_OIHW : MSW_WEIGHTS_OI;
        blocks.block_rows = r.block_rows;
        blocks.block_columns = r.block_columns;
        add_layer(name, weight, parameters[name + ".bias"], blocks, r.prune, r.unify);
    }
}

void compression::check(msw_status status, const std::string &what) const
{
    if (status)
        msw::check(status, what + ": " + msw_admm_error(admm.get()));
}

void compression::add_layer(const std::string &name, torch::Tensor weight,
                            torch::Tensor bias, const msw_plan_options &blocks,
                            double prune, double unify)
{
    const std::vector<size_t> shape(weight.sizes().begin(), weight.sizes().end());
    const auto plan =
        msw::make<msw::plan>(name, msw_plan_new, context.get(), shape.data(),
                             static_cast<uint32_t>(shape.size()), &blocks);
    msw_layer_options options;

    msw_layer_options_init(&options);
    options.name = name.c_str();
    options.prune = prune;
    options.unify = unify;
    layers.push_back({name, weight, bias, borrow(context, weight), nullptr});
    check(msw_admm_add_layer(admm.get(), layers.back().weights.get(), plan.get(),
                             &options),
          name);
}

// torch makes gradients in the first backward pass and may put them elsewhere in any.
msw_tensor *compression::gradient_of(layer &l)
{
    const torch::Tensor gradient = l.weight.grad();

    if (!gradient.defined() || !gradient.is_contiguous())
        throw std::runtime_error(l.name + ": no gradient, or not a contiguous one");
    if (!l.gradient)
        l.gradient = borrow(context, gradient);
    check(msw_tensor_repoint(l.gradient.get(), gradient.data_ptr<float>()), l.name);
    return l.gradient.get();
}

void compression::add_penalty()
{
    // torch has the gradient of the mean loss, with its sign.
    for (uint32_t i = 0; i < layers.size(); i++)
        check(msw_admm_add_penalty(admm.get(), i, gradient_of(layers[i]), 1.0),
              layers[i].name);
}

void compression::update() { check(msw_admm_update(admm.get()), "update"); }

double compression::residual() const
{
    double largest = 0;

    for (uint32_t i = 0; i < layers.size(); i++)
        largest = std::max(largest,
                           msw_admm_residual(admm.get(), i, MSW_RESIDUAL_PRIMAL));
    return largest;
}

// Momentum from before would move what is fixed now.
void compression::freeze(torch::optim::SGD &optimiser)
{
    check(msw_admm_freeze(admm.get()), "freezing");
    for (uint32_t i = 0; i < layers.size(); i++) {
        const auto key = c10::guts::to_string(layers[i].weight.unsafeGetTensorImpl());
        const auto found = optimiser.state().find(key);

        if (found == optimiser.state().end())
            continue; // no step yet
        const auto &state = static_cast<torch::optim::SGDParamState &>(*found->second);
        const auto momentum = borrow(context, state.momentum_buffer());
        check(msw_admm_mask_slot(admm.get(), i, momentum.get(), MSW_SLOT_LINEAR),
              layers[i].name);
    }
}

void compression::mask_gradients()
{
    for (uint32_t i = 0; i < layers.size(); i++)
        check(msw_admm_mask_gradient(admm.get(), i, gradient_of(layers[i])),
              layers[i].name);
}

void compression::mask_weights()
{
    for (uint32_t i = 0; i < layers.size(); i++)
        check(msw_admm_mask_weights(admm.get(), i), layers[i].name);
}

uint64_t compression::save(const std::string &path) const
{
    const auto writer = msw::make<msw::writer>("writer", msw_writer_new, context.get());
    msw_store_options half;

    msw_store_options_init(&half);
    half.magnitudes = half.free_weights = MSW_DTYPE_F16;
    for (uint32_t i = 0; i < layers.size(); i++) {
        const layer &l = layers[i];
        const auto unified =
            msw::make<msw::unified>(l.name, msw_admm_unify, admm.get(), i);
        const auto bias = borrow(context, l.bias);

        msw::check(msw_writer_add_unified(writer.get(), l.name.c_str(), unified.get(),
                                          &half),
                   l.name);
        msw::check(msw_writer_add_tensor(writer.get(), (l.name + ".bias").c_str(),
                                         bias.get(), &half),
                   l.name + ".bias");
    }
    msw::check(msw_writer_save(writer.get(), path.c_str()), path);
    return msw_writer_bytes(writer.get());
}
