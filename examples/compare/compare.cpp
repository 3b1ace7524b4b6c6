// SPDX-License-Identifier: BSD-2-Clause
// compare: train a network, or compress a trained one in one of several ways,
// so that the ways can be compared. See --help and README.md.
#include "compressor.hpp"
#include "training.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace
{

struct settings {
    std::string network = "lenet", method = "admm", device = "cpu";
    std::string load, save, folder = DATA_FOLDER;
    uint64_t seed = 1;
    bool tune = false;
    int64_t epochs = 10;               // dense
    int64_t admm = 12, retraining = 8; // compressing
    double rate = 0, admm_rate = 0.02, retraining_rate = 0.02, admm_end = 0;
    int64_t choose_every = 50; // mini-batches
    double settled = 0.25;
    double decay = 5e-4;
    bool fixed = false;
    block_choices blocks;
    compressor_options compressing;
};

const char usage[] =
    "compare --save NAME [--load NAME] [OPTION VALUE]...\n"
    "Without --load: trains a network and saves it as NAME.pt. With --load: "
    "compresses it\n"
    "and saves NAME.msw, NAME.f32 (its weights) and NAME.classes (of the test "
    "images).\n"
    "  --network lenet|vgg   --seed N   --device cpu|cuda   --folder FOLDER\n"
    "  --tune 1              the last 5,000 training images instead of the "
    "test images\n"
    "  --epochs N --rate X   of dense training; with --load and --method "
    "dense: more of it\n"
    "  --method admm         ADMM, hard projection, masked retraining\n"
    "           oneshot      hard projection, masked retraining for all "
    "epochs\n"
    "           first        ADMM that prunes, then ADMM that unifies the "
    "rest, retraining\n"
    "           latent       latent weights behind their projection, for the epochs "
    "of\n"
    "                        ADMM; then masked retraining at the same falling rate\n"
    "           dense        training as it is\n"
    "  --blocks LAYER=RxC:P:U[,RxC...]  blocks, shares pruned and unified; or "
    "a choice\n"
    "  --bytes N             size of the file to reach, instead of shares\n"
    "  --fixed 1             shares by the budget from the weights at first, "
    "then kept\n"
    "  --importance 1        weights count by their mean squared gradients\n"
    "  --exclude prune|unify classes that are not used\n"
    "  --admm N --retraining N  epochs   --admm-rate X --admm-end X "
    "--retraining-rate X\n"
    "  --updates N --rho X --rho-end X --ramp X --strongest X --mantissa N\n"
    "  --choose-every N --settled X  of latent weights: mini-batches between "
    "choices; share of\n"
    "                        their epochs, at the end, with the classes of then\n"
    "  --decay X             of weights, when compressing\n";

block_choice parse_blocks(const std::string &text)
{
    block_choice b = {};

    if (std::sscanf(text.c_str(), "%ux%u:%lf:%lf", &b.rows, &b.columns, &b.prune,
                    &b.unify) < 2)
        throw std::runtime_error(text + ": not of the form 4x8:0.6:0.4");
    return b;
}

void parse_layer(block_choices &out, const std::string &text)
{
    const size_t equals = text.find('=');
    std::istringstream list(text.substr(equals + 1));
    auto &choices = out[text.substr(0, equals)];

    choices.clear();
    for (std::string one; std::getline(list, one, ',');)
        choices.push_back(parse_blocks(one));
    if (equals == std::string::npos || choices.empty())
        throw std::runtime_error(text + ": not of the form fc1=4x8:0.6:0.4");
}

void parse_option(settings &s, const std::string &name, const std::string &value)
{
    const double number = std::strtod(value.c_str(), nullptr);
    compressor_options &c = s.compressing;
    const std::map<std::string, std::string *> texts = {
        {"--network", &s.network}, {"--method", &s.method}, {"--device", &s.device},
        {"--load", &s.load},       {"--save", &s.save},     {"--folder", &s.folder}};
    const std::map<std::string, double *> numbers = {
        {"--rate", &s.rate},         {"--admm-rate", &s.admm_rate},
        {"--admm-end", &s.admm_end}, {"--retraining-rate", &s.retraining_rate},
        {"--decay", &s.decay},       {"--bytes", &c.bytes},
        {"--rho", &c.rho},           {"--rho-end", &c.rho_end},
        {"--ramp", &c.ramp},         {"--strongest", &c.strongest},
        {"--settled", &s.settled}};
    const std::map<std::string, int64_t *> counts = {
        {"--epochs", &s.epochs}, {"--admm", &s.admm}, {"--retraining", &s.retraining},
        {"--choose-every", &s.choose_every}};
    const std::map<std::string, bool *> flags = {
        {"--tune", &s.tune}, {"--fixed", &s.fixed}, {"--importance", &c.importance}};

    if (texts.count(name))
        *texts.at(name) = value;
    else if (numbers.count(name))
        *numbers.at(name) = number;
    else if (counts.count(name))
        *counts.at(name) = static_cast<int64_t>(number);
    else if (flags.count(name))
        *flags.at(name) = number != 0;
    else if (name == "--blocks")
        parse_layer(s.blocks, value);
    else if (name == "--seed")
        s.seed = static_cast<uint64_t>(number);
    else if (name == "--updates")
        c.updates = static_cast<size_t>(number);
    else if (name == "--mantissa")
        c.mantissa = static_cast<int>(number);
    else if (name == "--exclude")
        c.exclude = value == "prune" ? MSW_EXCLUDE_PRUNE : MSW_EXCLUDE_UNIFY;
    else
        throw std::runtime_error(name + ": no such option\n" + usage);
}

settings parse(int argc, char **argv)
{
    settings s;

    for (int i = 1; i < argc; i += 2)
        if (i + 1 < argc)
            parse_option(s, argv[i], argv[i + 1]);
    if (s.save.empty() || argc % 2 == 0)
        throw std::runtime_error(usage);
    if (s.choose_every < 1 || !(s.settled >= 0 && s.settled <= 1))
        throw std::runtime_error("--choose-every: at least 1; --settled: 0 to 1");
    if (s.method == "latent" &&
        (s.compressing.bytes <= 0 || s.fixed || s.compressing.importance))
        throw std::runtime_error("--method latent needs --bytes and takes neither --fixed "
                                 "nor --importance");
    return s;
}

void report(const char *phase, int64_t step, int64_t per_epoch, training &t)
{
    if (step % per_epoch != 0)
        return;
    std::fprintf(stderr, "%s, epoch %d: loss %.4f\n", phase,
                 static_cast<int>(step / per_epoch), t.mean_loss());
}

void train_dense(training &t, double rate, int64_t epochs)
{
    const int64_t steps = epochs * t.epoch_steps();

    for (int64_t step = 1; step <= steps; step++) {
        t.gradient();
        t.step(cosine_rate(rate, step - 1, steps));
        report("dense", step, t.epoch_steps(), t);
    }
}

void train_admm(training &t, compressor &c, const settings &s, int64_t epochs)
{
    const int64_t steps = epochs * t.epoch_steps();
    const int64_t every =
        std::max<int64_t>(1, steps / static_cast<int64_t>(s.compressing.updates));

    for (int64_t step = 1; step <= steps; step++) {
        t.gradient();
        c.add_penalty();
        t.step(s.admm_end + cosine_rate(s.admm_rate - s.admm_end, step - 1, steps));
        if (step % every == 0)
            c.update();
        report("ADMM", step, t.epoch_steps(), t);
    }
}

void train_latent(training &t, compressor &c, const settings &s)
{
    const int64_t steps = s.admm * t.epoch_steps();
    const int64_t all = steps + s.retraining * t.epoch_steps();
    const auto choosing = static_cast<int64_t>((1 - s.settled) * static_cast<double>(steps));

    c.choose();
    for (int64_t step = 1; step <= steps; step++) {
        t.gradient();
        c.show_latent();
        t.step(cosine_rate(s.retraining_rate, step - 1, all));
        c.show_blocks();
        if (step % s.choose_every == 0 && step < choosing)
            c.choose();
        report("latent", step, t.epoch_steps(), t);
    }
}

// The learning rate falls as if `before` epochs of the same had gone before.
void retrain(training &t, compressor &c, const settings &s, int64_t before, int64_t epochs)
{
    constexpr int64_t mask_every = 50; // gradients are masked always
    const int64_t steps = epochs * t.epoch_steps(), past = before * t.epoch_steps();

    for (int64_t step = 1; step <= steps; step++) {
        t.gradient();
        c.mask_gradients();
        t.step(cosine_rate(s.retraining_rate, past + step - 1, past + steps));
        if (step % mask_every == 0 || step == steps)
            c.mask_weights();
        report("retraining", step, t.epoch_steps(), t);
    }
}

// What a budget makes of the weights as they are, as shares.
block_choices shares_at_first(std::shared_ptr<network> net, const settings &s,
                              const std::vector<torch::Tensor> &squares)
{
    compressor c(net, s.blocks, s.compressing);
    std::vector<torch::Tensor> before;

    for (const auto &p : net->parameters())
        before.push_back(p.detach().clone());
    c.set_importance(squares);
    c.freeze({});
    const torch::NoGradGuard no_grad;
    const auto parameters = net->parameters();
    for (size_t i = 0; i < before.size(); i++)
        parameters[i].copy_(before[i]);
    return c.shares();
}

// The rest of the ADMM epochs unify what the first half has not pruned.
void prune_first(training &t, std::shared_ptr<network> net, const settings &s)
{
    settings only = s;

    for (auto &l : only.blocks)
        l.second.at(0).unify = 0;
    only.compressing.updates /= 2;
    compressor c(net, only.blocks, only.compressing);
    train_admm(t, c, only, s.admm / 2);
    c.freeze(t.momenta());
}

void print_blocks(const block_choices &shares)
{
    for (const auto &l : shares)
        std::printf("blocks.%s %ux%u:%.4f:%.4f\n", l.first.c_str(), l.second[0].rows,
                    l.second[0].columns, l.second[0].prune, l.second[0].unify);
}

void save_values(network &net, const std::string &name)
{
    std::ofstream file(name, std::ios::binary);

    for (const auto &p : net.parameters()) {
        const auto values = p.detach().to(torch::kCPU).contiguous();
        file.write(static_cast<const char *>(values.data_ptr()),
                   static_cast<std::streamsize>(values.nbytes()));
    }
    if (!file.flush())
        throw std::runtime_error(name + ": could not be written");
}

void save_classes(network &net, const image_set &set, const std::string &name)
{
    const auto bytes = classes_of(net, set).to(torch::kCPU, torch::kUInt8).contiguous();
    std::ofstream file(name, std::ios::binary);

    file.write(static_cast<const char *>(bytes.data_ptr()), bytes.numel());
    if (!file.flush())
        throw std::runtime_error(name + ": could not be written");
}

void compress(std::shared_ptr<network> net, const image_split &images, settings s)
{
    training t(net, images.training, s.decay, s.seed + 1000);
    std::vector<torch::Tensor> squares;

    if (s.compressing.bytes > 0)
        squares = t.squared_gradients(t.epoch_steps() / 4);
    if (s.fixed) {
        s.blocks = shares_at_first(net, s, squares);
        s.compressing.bytes = 0;
    }
    if (s.method == "first")
        prune_first(t, net, s);
    compressor c(net, s.blocks, s.compressing);
    if (!squares.empty())
        c.set_importance(squares);
    if (s.method == "admm")
        train_admm(t, c, s, s.admm);
    if (s.method == "latent")
        train_latent(t, c, s);
    if (s.method == "first") {
        c.hold_zeros();
        train_admm(t, c, s, s.admm - s.admm / 2);
    }
    const bool penalised = s.method == "admm" || s.method == "first";
    std::printf("residual %.4f\n", penalised ? c.residual() : NAN);
    c.freeze(t.momenta());
    std::printf("accuracy.projected %.2f\n", accuracy(*net, images.evaluation));
    retrain(t, c, s, s.method == "latent" ? s.admm : 0,
            s.retraining + (s.method == "oneshot" ? s.admm : 0));
    std::printf("accuracy.retrained %.2f\n", accuracy(*net, images.evaluation));
    std::printf("epochs %d\n", static_cast<int>(s.admm + s.retraining));
    print_blocks(c.shares());
    const auto folded = net->folded();
    std::printf("bytes.file %llu\n",
                static_cast<unsigned long long>(c.save(*folded, s.save + ".msw")));
    save_values(*folded, s.save + ".f32");
    save_classes(*folded, images.evaluation, s.save + ".classes");
}

void run(const settings &s)
{
    const torch::Device device(s.device);

    torch::set_num_threads(1);
    torch::manual_seed(s.seed);
    const image_split images(s.folder, s.tune, device);
    auto net = make_network(s.network);
    if (!s.load.empty())
        torch::load(net, s.load + ".pt");
    net->to(device);
    if (!s.load.empty())
        std::printf("accuracy.dense %.2f\n", accuracy(*net, images.evaluation));
    if (s.load.empty() || s.method == "dense") {
        training t(net, images.training, net->decay, s.seed);
        train_dense(t, s.rate > 0 ? s.rate : net->first_rate, s.epochs);
        std::printf("accuracy %.2f\nepochs %d\n", accuracy(*net, images.evaluation),
                    static_cast<int>(s.epochs));
        torch::save(net, s.save + ".pt");
        save_values(*net->folded(), s.save + ".f32");
    } else {
        compress(net, images, s);
    }
}

} // namespace

int main(int argc, char **argv)
try {
    run(parse(argc, argv));
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "compare: %s\n", e.what());
    return 1;
}
