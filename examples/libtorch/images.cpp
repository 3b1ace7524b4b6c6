// SPDX-License-Identifier: BSD-2-Clause
#include "images.hpp"

#include <stdexcept>

images::images(const std::string &folder, const char *part)
{
    if (!dataset_load(&set, folder.c_str(), part)) // which has said why
        throw std::runtime_error("no images; Debian: dataset-fashion-mnist");
}

images::~images() { dataset_free(&set); }

torch::Tensor images::pixels(int64_t begin, int64_t end) const
{
    auto out = torch::empty({end - begin, 1, IMAGE_SIDE, IMAGE_SIDE});

    for (int64_t i = begin; i < end; i++)
        image_normalise(out.data_ptr<float>() + (i - begin) * IMAGE_SIZE,
                        set.images + i * IMAGE_SIZE);
    return out;
}

torch::Tensor images::augmented(const torch::Tensor &which) const
{
    const auto shifts = torch::randint(-1, 2, {which.size(0), 2}, torch::kInt32);
    const auto mirrors = torch::randint(0, 2, {which.size(0)}, torch::kInt32);
    const auto index = which.accessor<int64_t, 1>();
    const auto shift = shifts.accessor<int32_t, 2>();
    const auto mirror = mirrors.accessor<int32_t, 1>();
    auto out = torch::empty({which.size(0), 1, IMAGE_SIDE, IMAGE_SIDE});

    for (int64_t i = 0; i < which.size(0); i++)
        image_augment(out.data_ptr<float>() + i * IMAGE_SIZE,
                      set.images + index[i] * IMAGE_SIZE, shift[i][0], shift[i][1],
                      mirror[i] != 0);
    return out;
}

torch::Tensor images::labels(int64_t begin, int64_t end) const
{
    return torch::from_blob(set.labels + begin, {end - begin}, torch::kUInt8)
        .to(torch::kInt64);
}

torch::Tensor images::labels(const torch::Tensor &which) const
{
    return torch::from_blob(set.labels, {count()}, torch::kUInt8)
        .index_select(0, which)
        .to(torch::kInt64);
}
