/* SPDX-License-Identifier: BSD-2-Clause */
#include "crc32c.h"

#include "bytes.h"

enum { STEP = 16 }; /* bytes at a time */

/* A CRC is linear: the entry of a byte is the sum, modulo 2, of the entries of its
 * bits, and so eight constants make a table of 256. */
#define BIT(b, i, k) ((b) >> (i) & 1 ? (k) : 0)
#define ENTRY(b, k0, k1, k2, k3, k4, k5, k6, k7)                          \
    (BIT(b, 0, k0) ^ BIT(b, 1, k1) ^ BIT(b, 2, k2) ^ BIT(b, 3, k3) ^      \
     BIT(b, 4, k4) ^ BIT(b, 5, k5) ^ BIT(b, 6, k6) ^ BIT(b, 7, k7))
#define ENTRIES4(b, ...) \
    ENTRY(b, __VA_ARGS__), ENTRY((b) + 1, __VA_ARGS__), \
    ENTRY((b) + 2, __VA_ARGS__), ENTRY((b) + 3, __VA_ARGS__)
#define ENTRIES16(b, ...) \
    ENTRIES4(b, __VA_ARGS__), ENTRIES4((b) + 4, __VA_ARGS__), \
    ENTRIES4((b) + 8, __VA_ARGS__), ENTRIES4((b) + 12, __VA_ARGS__)
#define ENTRIES64(b, ...) \
    ENTRIES16(b, __VA_ARGS__), ENTRIES16((b) + 16, __VA_ARGS__), \
    ENTRIES16((b) + 32, __VA_ARGS__), ENTRIES16((b) + 48, __VA_ARGS__)
#define TABLE(...) \
    {ENTRIES64(0u, __VA_ARGS__), ENTRIES64(64u, __VA_ARGS__), \
     ENTRIES64(128u, __VA_ARGS__), ENTRIES64(192u, __VA_ARGS__)}

/* table[n][b]: byte b followed by n zero bytes. */
static const uint32_t table[STEP][256] = {
    TABLE(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu,
          0x105ec76fu, 0x20bd8edeu, 0x417b1dbcu, 0x82f63b78u),
    TABLE(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u,
          0x3fc5f181u, 0x7f8be302u, 0xff17c604u, 0xfbc3faf9u),
    TABLE(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u,
          0x70a27d8au, 0xe144fb14u, 0xc76580d9u, 0x8b277743u),
    TABLE(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u,
          0xe964b13du, 0xd725148bu, 0xaba65fe7u, 0x52a0c93fu),
    TABLE(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u,
          0x8f2261d3u, 0x1ba8b557u, 0x37516aaeu, 0x6ea2d55cu),
    TABLE(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu,
          0xc00c303eu, 0x85f4168du, 0x0e045bebu, 0x1c08b7d6u),
    TABLE(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u,
          0x9c5bfaa6u, 0x3d5b83bdu, 0x7ab7077au, 0xf56e0ef4u),
    TABLE(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau,
          0x847609b4u, 0x0d006599u, 0x1a00cb32u, 0x34019664u),
    TABLE(0xf43ed648u, 0xed91da61u, 0xdecfc233u, 0xb873f297u,
          0x750b93dfu, 0xea1727beu, 0xd1c2398du, 0xa66805ebu),
    TABLE(0xcb567ba5u, 0x934081bbu, 0x236d7587u, 0x46daeb0eu,
          0x8db5d61cu, 0x1e87dac9u, 0x3d0fb592u, 0x7a1f6b24u),
    TABLE(0x9771f7c1u, 0x2b0f9973u, 0x561f32e6u, 0xac3e65ccu,
          0x5d90bd69u, 0xbb217ad2u, 0x73ae8355u, 0xe75d06aau),
    TABLE(0x3171d430u, 0x62e3a860u, 0xc5c750c0u, 0x8e62d771u,
          0x1929d813u, 0x3253b026u, 0x64a7604cu, 0xc94ec098u),
    TABLE(0x30d23865u, 0x61a470cau, 0xc348e194u, 0x837db5d9u,
          0x03171d43u, 0x062e3a86u, 0x0c5c750cu, 0x18b8ea18u),
    TABLE(0x54075546u, 0xa80eaa8cu, 0x55f123e9u, 0xabe247d2u,
          0x5228f955u, 0xa451f2aau, 0x4d4f93a5u, 0x9a9f274au),
    TABLE(0x678efd01u, 0xcf1dfa02u, 0x9bd782f5u, 0x3243731bu,
          0x6486e636u, 0xc90dcc6cu, 0x97f7ee29u, 0x2a03aaa3u),
    TABLE(0xf20c0dfeu, 0xe1f46d0du, 0xc604acebu, 0x89e52f27u,
          0x162628bfu, 0x2c4c517eu, 0x5898a2fcu, 0xb13145f8u),
};

/* What four bytes contribute that n bytes follow. */
static uint32_t word(uint32_t four, int n)
{
    return table[n + 3][four & 255] ^ table[n + 2][four >> 8 & 255] ^
           table[n + 1][four >> 16 & 255] ^ table[n][four >> 24];
}

uint32_t msw__crc32c(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (; size >= STEP; size -= STEP, p += STEP)
        crc = word(crc ^ msw__load32(p), 12) ^ word(msw__load32(p + 4), 8) ^
              word(msw__load32(p + 8), 4) ^ word(msw__load32(p + 12), 0);
    for (; size; size--, p++)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    return ~crc;
}
