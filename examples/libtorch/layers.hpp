// SPDX-License-Identifier: BSD-2-Clause
// The shape of the network, for the programs with torch and for the one without.
#pragma once

// 3x3, padded to keep the side; batch normalisation while training; ReLU; perhaps a
// maximum over 2x2 pixels.
struct conv_layer {
    const char *name;
    int in, out, side; // channels; of the image that comes in
    bool pool;
};

constexpr conv_layer conv_layers[] = {
    {"conv1", 1, 24, 28, true},
    {"conv2", 24, 32, 14, true},
    {"conv3", 32, 48, 7, false},
    {"conv4", 48, 64, 7, true},
};

// Then two fully connected layers; ReLU after the first.
constexpr int features = 64 * 3 * 3, units = 1024, classes = 10;
