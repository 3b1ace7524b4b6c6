// SPDX-License-Identifier: BSD-2-Clause
// vgg-classify NAME [FOLDER]: classify the test images from NAME.msw without torch,
// count the answers that differ from torch's in NAME.classes, and take the time.
#include "model.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" {
#include "../fashion/data.h"
}

constexpr size_t at_once = 64;

// Their own, since an exception must find the set to be freed.
struct test_images : dataset {
    explicit test_images(const std::string &folder)
    {
        if (!dataset_load(this, folder.c_str(), "t10k")) // which has said why
            throw std::runtime_error("no images; Debian: dataset-fashion-mnist");
    }
    ~test_images() { dataset_free(this); }
    test_images(const test_images &) = delete;
    test_images &operator=(const test_images &) = delete;
};

static std::vector<uint8_t> read_classes(const std::string &path, size_t count)
{
    std::ifstream file(path, std::ios::binary);
    std::vector<uint8_t> found{std::istreambuf_iterator<char>(file), {}};

    if (found.size() != count)
        throw std::runtime_error(path + ": missing, or not of these images");
    return found;
}

static std::vector<uint8_t> classify(model &m, const dataset &set)
{
    std::vector<float> pixels(at_once * IMAGE_SIZE), scores(at_once * CLASSES);
    std::vector<uint8_t> found;

    for (size_t first = 0; first < set.count; first += at_once) {
        const size_t count = std::min<size_t>(at_once, set.count - first);

        for (size_t i = 0; i < count; i++)
            image_normalise(&pixels[i * IMAGE_SIZE],
                            set.images + (first + i) * IMAGE_SIZE);
        m.run(scores.data(), pixels.data(), count);
        for (size_t i = 0; i < count; i++) {
            const float *s = &scores[i * CLASSES];

            found.push_back(static_cast<uint8_t>(std::max_element(s, s + CLASSES) - s));
        }
    }
    return found;
}

static double thread_seconds()
{
    std::timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Median over rounds, microseconds of processor time.
static double time_per_image(model &m, size_t batch)
{
    constexpr int rounds = 21, images = 256;
    std::vector<float> pixels(batch * IMAGE_SIZE, 0.5f), scores(batch * CLASSES);
    std::vector<double> seconds;

    for (int round = 0; round < rounds; round++) {
        const double start = thread_seconds();
        for (size_t i = 0; i < images; i += batch)
            m.run(scores.data(), pixels.data(), batch);
        seconds.push_back(thread_seconds() - start);
    }
    std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
    return 1e6 * seconds[rounds / 2] / images;
}

int main(int argc, char **argv)
try {
    if (argc != 2 && argc != 3) {
        std::fputs("usage: vgg-classify NAME [FOLDER]\n", stderr);
        return 2;
    }
    const std::string name = argv[1];
    const test_images test(argc > 2 ? argv[2] : DATA_FOLDER);
    model m(name + ".msw", at_once);
    const auto found = classify(m, test);
    const auto torch_found = read_classes(name + ".classes", found.size());
    size_t right = 0, changed = 0;

    for (size_t i = 0; i < found.size(); i++) {
        right += found[i] == test.labels[i];
        changed += found[i] != torch_found[i];
    }
    std::printf("accuracy.file %.2f\n",
                100.0 * static_cast<double>(right) / static_cast<double>(found.size()));
    std::printf("predictions.changed_by_saving %zu\n", changed);
    std::printf("us_per_image.msw.batch1 %.2f\n", time_per_image(m, 1));
    std::printf("us_per_image.msw.batch64 %.2f\n", time_per_image(m, at_once));
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "vgg-classify: %s\n", e.what());
    return 1;
}
