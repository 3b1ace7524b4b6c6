// SPDX-License-Identifier: BSD-2-Clause
// Fashion-MNIST on any device, in shuffled mini-batches.
#pragma once

#include <torch/torch.h>

#include <string>

extern "C" {
#include "../fashion/data.h"
}

// Images and labels, as they are.
struct image_set {
    image_set(const dataset &set, torch::Device device);

    torch::Tensor pixels; // [count][1][28][28], bytes
    torch::Tensor labels;

    int64_t count() const { return labels.size(0); }
    torch::Tensor normalised(int64_t begin, int64_t end) const;
};

// Training and evaluation images; when tuning, the last 5,000 training images
// are the evaluation images and the test images stay unseen.
struct image_split {
    image_split(const std::string &folder, bool tuning, torch::Device device);
    ~image_split();
    image_split(const image_split &) = delete;
    image_split &operator=(const image_split &) = delete;

private:
    split files;

public:
    image_set training, evaluation;
};

// An epoch is planned at once, on the CPU: the same batches on every device.
class batches
{
public:
    static constexpr int64_t size = 128;

    // shift: pixels by which images are moved at most.
    batches(const image_set &set, int64_t shift, uint64_t seed);

    int64_t per_epoch() const { return set.count() / size; }
    void next(); // into `images` and `labels`

    torch::Tensor images, labels;

private:
    void plan_epoch();
    torch::Tensor cut(const torch::Tensor &t) const;

    const image_set &set;
    int64_t shift, position;
    torch::Generator random;
    torch::Tensor padded, order, rows, columns;
};
