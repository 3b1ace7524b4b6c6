// SPDX-License-Identifier: BSD-2-Clause
// deepcabac: bytes that DeepCABAC, as the NNCodec of Fraunhofer HHI has it, takes for whole
// numbers. Built by deepcabac.sh, used by file_bench.py.
//
//   deepcabac FILE WIDTH     FILE: int16, little-endian, rows of WIDTH
//
// Prints two sizes: weights row by row, and in blocks of 8x8, in which each row of blocks
// begins anew so that it can be decoded by itself. Both begin each context with the best of
// the nine states there are. Of a dependent quantiser, which would give other weights, and of
// rate-distortion optimisation there is none: the numbers are what they are.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "EncLib/CABACEncoder.h"

static const uint32_t unary_flags = 11; // the codec's own default

static size_t coded_bytes(std::vector<int32_t> values, uint32_t width, int32_t scan)
{
    std::vector<uint8_t> stream;
    CABACEncoder encoder;

    encoder.startCabacEncoding(&stream);
    encoder.initCtxMdls(unary_flags, 1);
    encoder.encodeWeights(values.data(), width, (uint32_t)values.size(), 0, scan);
    encoder.terminateCabacEncoding();
    return stream.size();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    std::ifstream file(argv[1], std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)),
                                  std::istreambuf_iterator<char>());
    const uint32_t width = (uint32_t)std::strtoul(argv[2], nullptr, 10);
    std::vector<int32_t> values(bytes.size() / 2);

    if (!file || values.empty() || !width || values.size() % width)
        return 1;
    for (size_t i = 0; i < values.size(); i++)
        values[i] = (int16_t)((uint8_t)bytes[2 * i] | (uint8_t)bytes[2 * i + 1] << 8);
    std::printf("%zu %zu\n", coded_bytes(values, width, 0), coded_bytes(values, width, 1));
    return 0;
}
