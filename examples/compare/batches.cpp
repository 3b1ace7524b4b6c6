// SPDX-License-Identifier: BSD-2-Clause
#include "batches.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <stdexcept>

namespace F = torch::nn::functional;

// Mean and deviation of image_normalise(), over the training images.
static constexpr double mean = 0.2860, deviation = 0.3530;

static torch::Tensor normalise(const torch::Tensor &pixels)
{
    return (pixels.to(torch::kFloat32) / 255.0 - mean) / deviation;
}

image_set::image_set(const dataset &set, torch::Device device)
    : pixels(torch::from_blob(set.images, {set.count, 1, IMAGE_SIDE, IMAGE_SIDE},
                              torch::kUInt8)
                 .clone()
                 .to(device)),
      labels(torch::from_blob(set.labels, {set.count}, torch::kUInt8)
                 .to(torch::kInt64)
                 .to(device))
{
}

torch::Tensor image_set::normalised(int64_t begin, int64_t end) const
{
    return normalise(pixels.slice(0, begin, end));
}

static split load(const std::string &folder, bool tuning)
{
    split s;

    if (!split_load(&s, folder.c_str(), tuning)) // which has said why
        throw std::runtime_error("no images; Debian: dataset-fashion-mnist");
    return s;
}

image_split::image_split(const std::string &folder, bool tuning, torch::Device device)
    : files(load(folder, tuning)), training(files.training, device),
      evaluation(files.evaluation, device)
{
}

image_split::~image_split()
{
    split_free(&files);
}

batches::batches(const image_set &images_of, int64_t most_shift, uint64_t seed)
    : set(images_of), shift(most_shift), position(0),
      random(at::detail::createCPUGenerator(seed)),
      padded(F::pad(set.pixels.squeeze(1), F::PadFuncOptions({shift, shift, shift, shift})))
{
    if (per_epoch() == 0)
        throw std::runtime_error("too few images for a mini-batch");
}

// Order of the images; for each the rows and columns of the padded image that
// it takes, columns backwards where it is mirrored.
void batches::plan_epoch()
{
    const int64_t count = set.count();
    const auto device = set.pixels.device();
    const auto moved = torch::randint(0, 2 * shift + 1, {2, count}, random);
    const auto mirrored = torch::randint(0, 2, {count, 1}, random).to(torch::kInt64);
    const auto along = torch::arange(IMAGE_SIDE).unsqueeze(0);
    const auto across = torch::where(mirrored == 1, IMAGE_SIDE - 1 - along, along);

    order = torch::randperm(count, random).to(device);
    rows = (along + moved[0].to(torch::kInt64).unsqueeze(1)).to(device);
    columns = (across + moved[1].to(torch::kInt64).unsqueeze(1)).to(device);
}

torch::Tensor batches::cut(const torch::Tensor &t) const
{
    return t.slice(0, position * size, (position + 1) * size);
}

void batches::next()
{
    if (position == 0)
        plan_epoch();
    const auto which = cut(order);
    const int64_t side = padded.size(2);
    const auto row = cut(rows).unsqueeze(2).expand({size, IMAGE_SIDE, side});
    const auto column = cut(columns).unsqueeze(1).expand({size, IMAGE_SIDE, IMAGE_SIDE});

    images = normalise(padded.index_select(0, which).gather(1, row).gather(2, column))
                 .unsqueeze(1);
    labels = set.labels.index_select(0, which);
    position = (position + 1) % per_epoch();
}
