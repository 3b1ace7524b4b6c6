// SPDX-License-Identifier: BSD-2-Clause
// vgg-train FILE [EPOCHS [SEED [FOLDER]]]: train the network, with batch normalisation,
// and save it. Does not know libmsw.
#include "vgg.hpp"

#include <cstdio>
#include <cstdlib>

int main(int argc, char **argv)
try {
    if (argc < 2 || argc > 5) {
        std::fputs("usage: vgg-train FILE [EPOCHS [SEED [FOLDER]]]\n", stderr);
        return 2;
    }
    const int epochs = argc > 2 ? std::atoi(argv[2]) : 8;
    const std::string folder = argc > 4 ? argv[4] : DATA_FOLDER;

    prepare_process(argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
    const images training(folder, "train"), test(folder, "t10k");
    const auto net = std::make_shared<vgg_module>(true);
    trainer t(net, training);
    const int64_t epoch_steps = t.epoch_steps(), steps = epochs * epoch_steps;
    double loss = 0;

    for (int64_t step = 1; step <= steps; step++) {
        loss += t.gradient();
        t.step(cosine_rate(0.05, step - 1, steps));
        if (step % epoch_steps == 0) {
            report("training", step / epoch_steps, epochs, loss / epoch_steps);
            loss = 0;
        }
    }
    std::printf("accuracy.dense %.2f\n", accuracy(net, test));
    torch::save(net, argv[1]);
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "vgg-train: %s\n", e.what());
    return 1;
}
