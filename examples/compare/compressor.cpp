// SPDX-License-Identifier: BSD-2-Clause
#include "compressor.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

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

// A tensor of the CPU as libmsw sees it, in place.
static msw::tensor borrow(const msw::context &context, const torch::Tensor &t)
{
    const std::vector<size_t> shape(t.sizes().begin(), t.sizes().end());

    TORCH_CHECK(t.is_contiguous() && t.device().is_cpu());
    return msw::make<msw::tensor>("tensor", msw_tensor_borrow, context.get(),
                                  t.data_ptr<float>(), shape.data(), nullptr,
                                  static_cast<uint32_t>(shape.size()));
}

static torch::Tensor copy_of(const torch::Tensor &t)
{
    return t.detach().to(torch::kCPU, torch::kFloat32).contiguous().clone();
}

static msw::plan new_plan(const msw::context &context, const torch::Tensor &weight,
                          const block_choice &blocks)
{
    const std::vector<size_t> shape(weight.sizes().begin(), weight.sizes().end());
    msw_plan_options options;

    msw_plan_options_init(&options);
    options.weights = weight.dim() == 4 ? MSW_WEIGHTS_OIHW : MSW_WEIGHTS_OI;
    options.block_rows = blocks.rows;
    options.block_columns = blocks.columns;
    return msw::make<msw::plan>("plan", msw_plan_new, context.get(), shape.data(),
                                static_cast<uint32_t>(shape.size()), &options);
}

void compressor::check(msw_status status, const std::string &what) const
{
    if (status)
        msw::check(status, what + ": " + msw_admm_error(admm.get()));
}

compressor::compressor(std::shared_ptr<network> of, const block_choices &blocks,
                       const compressor_options &given)
    : net(of), options(given), context(new_context())
{
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.updates = options.updates;
    o.ramp = options.ramp;
    o.rho = options.rho;
    o.rho_end = options.rho_end;
    admm = msw::make<msw::admm>("solver", msw_admm_new, context.get(), &o);
    for (const std::string &name : net->layers)
        add_layer(name, blocks.at(name));
    if (options.bytes > 0)
        set_budget();
}

void compressor::add_layer(const std::string &name, const std::vector<block_choice> &blocks)
{
    const auto parameters = net->named_parameters();
    msw_layer_options o;
    layer l;

    l.name = name;
    l.weight = parameters[name + ".weight"];
    l.bias = parameters[name + ".bias"];
    l.copy = copy_of(l.weight);
    l.tensor = borrow(context, l.copy);
    msw_layer_options_init(&o);
    o.name = name.c_str();
    o.prune = blocks.at(0).prune;
    o.unify = blocks.at(0).unify;
    o.exclude = options.exclude;
    if (o.prune + o.unify == 0) // asked to stay as it is
        o.exclude = MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY;
    const auto index = static_cast<uint32_t>(layers.size());
    l.exclude = o.exclude;
    for (const block_choice &b : blocks)
        l.plans.push_back(new_plan(context, l.copy, b));
    check(msw_admm_add_layer(admm.get(), l.tensor.get(), l.plans[0].get(), &o), name);
    for (size_t i = 1; i < blocks.size(); i++)
        check(msw_admm_add_plan(admm.get(), index, l.plans[i].get()), name);
    layers.push_back(std::move(l));
}

msw_store_options compressor::storage() const
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_TRANSPORT;
    o.magnitudes = o.free_weights = MSW_DTYPE_LOG;
    o.magnitude_bits = o.free_bits = static_cast<uint32_t>(options.mantissa);
    return o;
}

// Biases and what the file needs for them are known beforehand, about.
msw_budget_options compressor::budget_options(const msw_store_options &store) const
{
    constexpr double header = 128, record = 48, number = 1.2;
    msw_budget_options o;

    msw_budget_options_init(&o);
    o.store = &store;
    o.rest = header;
    for (const layer &l : layers)
        o.rest += record + number * static_cast<double>(l.bias.numel());
    return o;
}

void compressor::set_budget()
{
    const msw_store_options store = storage();
    const msw_budget_options o = budget_options(store);

    check(msw_admm_set_budget(admm.get(), options.bytes, &o), "budget");
}

void compressor::set_importance(const std::vector<torch::Tensor> &squares)
{
    std::vector<double> mean_squares(layers.size());
    double log_sum = 0, weights = 0;

    for (size_t i = 0; i < layers.size(); i++) {
        const auto importance = copy_of(squares.at(i));
        const auto n = static_cast<double>(importance.numel());
        // of the relative change of a layer's weights
        mean_squares[i] = importance.mean().item<double>() *
                                layers[i].copy.square().mean().item<double>();
        log_sum += n * std::log(mean_squares[i]);
        weights += n;
        if (options.importance) {
            const auto tensor = borrow(context, importance);
            check(
                msw_admm_set_importance(admm.get(), static_cast<uint32_t>(i), tensor.get()),
                layers[i].name);
        }
    }
    for (size_t i = 0; options.bytes > 0 && i < layers.size(); i++) {
        const double weight = mean_squares[i] / std::exp(log_sum / weights);
        msw_budget_layer o;

        msw_budget_layer_init(&o);
        o.weight = std::min(std::max(weight, 1 / options.strongest), options.strongest);
        layers[i].budget_weight = o.weight;
        std::printf("weight.%s %.3f\n", layers[i].name.c_str(), weight);
        check(msw_admm_set_budget_layer(admm.get(), static_cast<uint32_t>(i), &o),
              layers[i].name);
    }
}

void compressor::pull()
{
    const torch::NoGradGuard no_grad;

    for (layer &l : layers)
        l.copy.copy_(l.weight);
}

void compressor::push()
{
    const torch::NoGradGuard no_grad;

    for (layer &l : layers)
        l.weight.copy_(l.copy);
}

// The penalty is linear in the weights: two values of them tell all about it.
void compressor::look_up_penalty()
{
    for (uint32_t i = 0; i < layers.size(); i++) {
        layer &l = layers[i];
        const auto kept = l.copy.clone();
        auto at_zero = torch::zeros_like(l.copy), at_one = torch::zeros_like(l.copy);

        l.copy.zero_();
        check(msw_admm_add_penalty(admm.get(), i, borrow(context, at_zero).get(), 1.0),
              l.name);
        l.copy.fill_(1);
        check(msw_admm_add_penalty(admm.get(), i, borrow(context, at_one).get(), 1.0),
              l.name);
        l.copy.copy_(kept);
        l.slope = (at_one - at_zero).to(l.weight.device());
        l.offset = at_zero.to(l.weight.device());
    }
}

void compressor::add_penalty()
{
    const torch::NoGradGuard no_grad;

    if (!layers[0].slope.defined()) {
        pull();
        // The first penalty makes the first Z, from the weights as they are.
        auto nothing = torch::zeros_like(layers[0].copy);
        check(msw_admm_add_penalty(admm.get(), 0, borrow(context, nothing).get(), 1.0),
              "penalty");
        look_up_penalty();
    }
    for (layer &l : layers) {
        l.weight.mutable_grad().addcmul_(l.slope, l.weight).add_(l.offset);
        if (l.held.defined())
            l.weight.mutable_grad().mul_(l.held);
    }
}

void compressor::hold_zeros()
{
    for (layer &l : layers)
        l.held = (l.weight.detach() != 0).to(torch::kFloat32);
}

void compressor::update()
{
    pull();
    check(msw_admm_update(admm.get()), "update");
    look_up_penalty();
}

double compressor::residual() const
{
    double largest = 0;

    for (uint32_t i = 0; i < layers.size(); i++)
        largest = std::max(largest, msw_admm_residual(admm.get(), i, MSW_RESIDUAL_PRIMAL));
    return largest;
}

// Blocks lie in the view [out][kernel][in]; here they are numbered for
// [out][in][kernel].
static torch::Tensor blocks_of(const torch::Tensor &weight, const msw_plan_info &plan)
{
    const auto rows = torch::arange(static_cast<int64_t>(plan.rows));
    const auto columns = torch::arange(static_cast<int64_t>(plan.columns));
    const auto of_row = rows.div(static_cast<int64_t>(plan.block_rows), "floor");
    const auto of_column = columns.div(static_cast<int64_t>(plan.block_columns), "floor");
    const auto view =
        (of_row * static_cast<int64_t>(plan.block_column_count)).unsqueeze(1) +
        of_column.unsqueeze(0);

    if (weight.dim() == 2)
        return view;
    return view.reshape({weight.size(0), weight.size(2), weight.size(3), weight.size(1)})
        .permute({0, 3, 1, 2})
        .contiguous();
}

void compressor::look_up_structure(layer &l)
{
    const msw_unified *const unified = l.structure.get();
    const auto device = l.weight.device();
    msw_plan_info plan;

    msw_plan_info_init(&plan);
    msw::check(msw_plan_get_info(&plan, msw_unified_plan(unified)), l.name);
    const auto classes =
        torch::from_blob(const_cast<uint8_t *>(msw_unified_classes(unified)),
                         {static_cast<int64_t>(plan.block_count)}, torch::kUInt8);
    const auto block = blocks_of(l.copy, plan);
    const auto of_weight = classes.index_select(0, block.flatten()).reshape_as(block);
    const auto ones = torch::ones_like(l.copy);

    l.sign = torch::where(of_weight == static_cast<int>(MSW_CLASS_UNIFIED),
                          torch::where(torch::signbit(l.copy), -ones, ones),
                          torch::zeros_like(l.copy))
                 .to(device);
    l.free = (of_weight == static_cast<int>(MSW_CLASS_FREE)).to(torch::kFloat32).to(device);
    l.count = torch::zeros({static_cast<int64_t>(plan.block_count)})
                  .index_add_(0, block.flatten(), ones.flatten())
                  .to(device);
    l.block = block.flatten().to(device);
}

// For each weight, of its block.
torch::Tensor compressor::block_means(const layer &l, const torch::Tensor &t) const
{
    const auto sums = torch::zeros_like(l.count).index_add_(0, l.block, t.flatten());

    return (sums / l.count).index_select(0, l.block).reshape_as(t);
}

// Onto the directions that keep the structure, as
// msw_unified_project_gradient() does.
torch::Tensor compressor::masked(const layer &l, const torch::Tensor &t) const
{
    return torch::addcmul(t * l.free, block_means(l, t * l.sign), l.sign);
}

// The latent weights projected, as msw_unified_new() does.
torch::Tensor compressor::in_blocks(const layer &l) const
{
    const auto unified = l.sign.abs();
    const auto sign = torch::where(l.latent < 0, -unified, unified);

    return torch::addcmul(l.latent * l.free, block_means(l, l.latent.abs()), sign);
}

// The plan of the first choice is that of all later ones.
void compressor::keep_choice(layer &l, const msw_budget *budget, uint32_t index)
{
    msw::plan plan(msw_plan_ref(msw_budget_plan(budget, index)));
    msw_plan_info info;

    msw_plan_info_init(&info);
    msw::check(msw_plan_get_info(&info, plan.get()), l.name);
    l.structure = msw::make<msw::unified>(
        l.name, msw_unified_new, plan.get(), l.tensor.get(),
        msw_budget_classes(budget, index), static_cast<size_t>(info.block_count));
    l.plans.clear();
    l.plans.push_back(std::move(plan));
    look_up_structure(l);
    l.weight.copy_(in_blocks(l));
}

void compressor::choose()
{
    const torch::NoGradGuard no_grad;
    const msw_store_options store = storage();
    const msw_budget_options o = budget_options(store);
    const auto budget = msw::make<msw::budget>("budget", msw_budget_new, context.get(), &o);

    for (layer &l : layers) {
        std::vector<msw_plan *> plans;
        msw_budget_layer own;

        if (!l.latent.defined())
            l.latent = l.weight.detach().clone();
        l.copy.copy_(l.latent);
        for (const auto &p : l.plans)
            plans.push_back(p.get());
        msw_budget_layer_init(&own);
        own.weight = l.budget_weight;
        own.exclude = l.exclude;
        msw::check(msw_budget_add_any(budget.get(), plans.data(), plans.size(),
                                      l.tensor.get(), &own),
                   l.name);
    }
    msw::check(msw_budget_choose(budget.get(), options.bytes), "budget");
    for (uint32_t i = 0; i < layers.size(); i++)
        keep_choice(layers[i], budget.get(), i);
}

void compressor::show_latent()
{
    const torch::NoGradGuard no_grad;

    for (layer &l : layers)
        l.weight.copy_(l.latent);
}

void compressor::show_blocks()
{
    const torch::NoGradGuard no_grad;

    for (layer &l : layers) {
        l.latent.copy_(l.weight);
        l.weight.copy_(in_blocks(l));
    }
}

void compressor::freeze(const std::vector<torch::Tensor> &momenta)
{
    const torch::NoGradGuard no_grad;

    pull();
    if (!layers[0].latent.defined())
        check(msw_admm_freeze(admm.get()), "freezing");
    for (uint32_t i = 0; i < layers.size(); i++) {
        layer &l = layers[i];

        if (l.latent.defined()) // signs of now
            l.structure = msw::make<msw::unified>(
                l.name, msw_unified_new, l.plans[0].get(), l.tensor.get(),
                msw_unified_classes(l.structure.get()),
                static_cast<size_t>(l.count.numel()));
        else
            l.structure = msw::make<msw::unified>(l.name, msw_admm_unify, admm.get(), i);
        look_up_structure(l);
        if (i < momenta.size())
            momenta[i].copy_(masked(l, momenta[i]));
    }
    push();
}

void compressor::mask_gradients()
{
    const torch::NoGradGuard no_grad;

    for (layer &l : layers)
        l.weight.mutable_grad().copy_(masked(l, l.weight.grad()));
}

// Masked gradients keep the structure but for rounding, and for magnitudes
// below 0.
void compressor::mask_weights()
{
    pull();
    for (const layer &l : layers)
        msw::check(msw_unified_project(l.tensor.get(), l.structure.get()), l.name);
    push();
}

block_choices compressor::shares() const
{
    block_choices out;

    for (const layer &l : layers) {
        msw_plan_info plan;
        msw_unified_info info;

        msw_plan_info_init(&plan);
        msw_unified_info_init(&info);
        msw::check(msw_plan_get_info(&plan, msw_unified_plan(l.structure.get())), l.name);
        msw::check(msw_unified_get_info(&info, l.structure.get()), l.name);
        const auto share = [&](uint64_t blocks) {
            return static_cast<double>(blocks) / static_cast<double>(info.blocks);
        };
        out[l.name] = {{plan.block_rows, plan.block_columns, share(info.pruned_blocks),
                        share(info.unified_blocks)}};
    }
    return out;
}

uint64_t compressor::save(network &folded, const std::string &path) const
{
    const auto writer = msw::make<msw::writer>("writer", msw_writer_new, context.get());
    const msw_store_options store = storage();
    const auto parameters = folded.named_parameters();

    for (uint32_t i = 0; i < layers.size(); i++) {
        const std::string &name = layers[i].name;
        const auto weights = copy_of(parameters[name + ".weight"]);
        const auto bias = copy_of(parameters[name + ".bias"]);
        const auto unified = msw::make<msw::unified>(name, msw_unified_refit,
                                                     layers[i].structure.get(),
                                                     borrow(context, weights).get());

        msw::check(msw_writer_add_unified(writer.get(),
                                          (name + net->weights_suffix).c_str(),
                                          unified.get(), &store),
                   name);
        msw::check(msw_writer_add_tensor(writer.get(), (name + ".bias").c_str(),
                                         borrow(context, bias).get(), &store),
                   name + ".bias");
    }
    msw::check(msw_writer_save(writer.get(), path.c_str()), path);
    return msw_writer_bytes(writer.get());
}
