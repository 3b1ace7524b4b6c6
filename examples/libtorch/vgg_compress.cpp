// SPDX-License-Identifier: BSD-2-Clause
// vgg-compress TRAINED NAME [ADMM RETRAINING [SEED [FOLDER]]]: take the network that
// vgg-train saved, fold its batch normalisation, and compress it with libmsw in torch's
// training loop, so many epochs in each phase. Writes NAME.msw and, to compare with,
// NAME.classes: what torch says about each test image.
#include "compression.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>

// Momentum wants some steps to answer an update.
constexpr int64_t update_every = 40;
constexpr double admm_rate = 0.02, retraining_rate = 0.02;

static void train_admm(trainer &t, compression &c, int64_t epochs)
{
    const int64_t epoch_steps = t.epoch_steps(), steps = epochs * epoch_steps;
    double loss = 0;

    for (int64_t step = 1; step <= steps; step++) {
        loss += t.gradient();
        c.add_penalty();
        t.step(admm_rate);
        if (step % update_every == 0)
            c.update();
        if (step % epoch_steps == 0) {
            report("ADMM", step / epoch_steps, epochs, loss / epoch_steps);
            loss = 0;
        }
    }
}

static void retrain(trainer &t, compression &c, int64_t epochs)
{
    const int64_t epoch_steps = t.epoch_steps(), steps = epochs * epoch_steps;
    double loss = 0;

    for (int64_t step = 1; step <= steps; step++) {
        loss += t.gradient();
        c.mask_gradients();
        t.step(cosine_rate(retraining_rate, step - 1, steps));
        c.mask_weights();
        if (step % epoch_steps == 0) {
            report("masked retraining", step / epoch_steps, epochs, loss / epoch_steps);
            loss = 0;
        }
    }
}

static void write_classes(const std::string &path, const torch::Tensor &found)
{
    const auto bytes = found.to(torch::kUInt8).contiguous();
    std::ofstream file(path, std::ios::binary);

    file.write(reinterpret_cast<const char *>(bytes.data_ptr<uint8_t>()), bytes.numel());
    if (!file.flush())
        throw std::runtime_error(path + ": could not be written");
}

int main(int argc, char **argv)
try {
    if (argc < 3 || argc == 4 || argc > 7) {
        std::fputs("usage: vgg-compress TRAINED NAME [ADMM RETRAINING [SEED [FOLDER]]]\n",
                   stderr);
        return 2;
    }
    const int admm_epochs = argc > 4 ? std::atoi(argv[3]) : 8;
    const int retrain_epochs = argc > 4 ? std::atoi(argv[4]) : 4;
    const std::string name = argv[2], folder = argc > 6 ? argv[6] : DATA_FOLDER;

    prepare_process(argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 1);
    const images training(folder, "train"), test(folder, "t10k");
    auto trained = std::make_shared<vgg_module>(true);
    torch::load(trained, argv[1]);
    std::printf("accuracy.dense %.2f\n", accuracy(trained, test));

    const vgg net = fold_batch_norm(trained);
    std::printf("accuracy.folded %.2f\n", accuracy(net, test));
    trainer t(net, training);
    compression c(net, static_cast<size_t>(admm_epochs * t.epoch_steps() / update_every));
    train_admm(t, c, admm_epochs);
    std::printf("residual %.3f\n", c.residual());
    c.freeze(t.optimiser);
    std::printf("accuracy.projected %.2f\n", accuracy(net, test));
    retrain(t, c, retrain_epochs);
    std::printf("accuracy.retrained %.2f\n", accuracy(net, test));

    int64_t values = 0;
    for (const auto &parameter : net->parameters())
        values += parameter.numel();
    std::printf("bytes.f32 %lld\n", static_cast<long long>(values) * 4);
    std::printf("bytes.file %llu\n",
                static_cast<unsigned long long>(c.save(name + ".msw")));
    std::printf("us_per_image.torch.batch1 %.2f\n", microseconds_per_image(net, 1));
    std::printf("us_per_image.torch.batch64 %.2f\n", microseconds_per_image(net, 64));
    write_classes(name + ".classes", predictions(net, test));
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "vgg-compress: %s\n", e.what());
    return 1;
}
