/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32C (Castagnoli), as in iSCSI and ext4. Up to 256 MiB it finds every error of
 * 1, 2 or 3 bits and every burst of up to 32. */
#ifndef MSW_LIB_CRC32C_H
#define MSW_LIB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Begin with 0; feed a result back in to go on with the next bytes. */
uint32_t msw__crc32c(uint32_t crc, const void *data, size_t size);

#endif /* MSW_LIB_CRC32C_H */
