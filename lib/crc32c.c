/* SPDX-License-Identifier: BSD-2-Clause */
#include "crc32c.h"

#include "bytes.h"

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
static const uint32_t table[8][256] = {
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
};

uint32_t msw__crc32c(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        const uint32_t low = crc ^ msw__load32(p), high = msw__load32(p + 4);

        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^
              table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
              table[3][high & 255] ^ table[2][high >> 8 & 255] ^
              table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    for (; size; size--, p++)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    return ~crc;
}
