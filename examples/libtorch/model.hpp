// SPDX-License-Identifier: BSD-2-Clause
// The network from a file, on libmsw's kernels. No torch.
#pragma once

#include "msw.hpp"

#include <string>
#include <vector>

class model {
public:
    // For up to `capacity` images at once. Throws when the file is not of this network.
    model(const std::string &path, size_t capacity);

    // `count` images [28][28] to `count` rows of 10 scores.
    void run(float *scores, const float *images, size_t count);

private:
    msw::context context;
    std::vector<msw::conv> convolutions;
    msw::gemm fc1, fc2;
    std::vector<float> map, pooled, hidden; // what is between the layers
};
