/* SPDX-License-Identifier: BSD-2-Clause */
/** @file version.h  Version of these headers; msw_version() is that of the library. */
#ifndef MSW_VERSION_H
#define MSW_VERSION_H

#define MSW_VERSION_MAJOR 0
#define MSW_VERSION_MINOR 1
#define MSW_VERSION_PATCH 0
#define MSW_VERSION \
    ((MSW_VERSION_MAJOR << 16) | (MSW_VERSION_MINOR << 8) | MSW_VERSION_PATCH)

#endif /* MSW_VERSION_H */
