/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operating system does for us, and nobody else calls. */
#ifndef MSW_LIB_OS_H
#define MSW_LIB_OS_H

#include <stdint.h>

uint64_t msw__os_clock(void); /* nanoseconds, monotonic; 0 when there is no clock */

#endif /* MSW_LIB_OS_H */
