// SPDX-License-Identifier: BSD-2-Clause
// Fashion-MNIST as torch tensors.
#pragma once

#include <torch/torch.h>

#include <string>

extern "C" {
#include "../fashion/data.h"
}

class images {
public:
    // part: "train" or "t10k". Throws when the files are missing or damaged.
    images(const std::string &folder, const char *part);
    ~images();
    images(const images &) = delete;
    images &operator=(const images &) = delete;

    int64_t count() const { return set.count; }
    // [end - begin][1][28][28], as they are.
    torch::Tensor pixels(int64_t begin, int64_t end) const;
    // The same of any images, each shifted by up to a pixel and perhaps mirrored.
    torch::Tensor augmented(const torch::Tensor &which) const;
    // Labels of the same images.
    torch::Tensor labels(int64_t begin, int64_t end) const;
    torch::Tensor labels(const torch::Tensor &which) const;

private:
    dataset set;
};
