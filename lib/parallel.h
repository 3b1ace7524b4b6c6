/* SPDX-License-Identifier: BSD-2-Clause */
/* Tasks on the caller's thread, an OpenMP team, or the host's own pool. */
#ifndef MSW_LIB_PARALLEL_H
#define MSW_LIB_PARALLEL_H

#include <msw/base.h>

/* Run task(i, arg) for every i in [0, count). Tasks must be independent, neither
 * allocate nor call the host or the BLAS, and leave the same result in any order.
 * MSW_E_HOST when the host's parallel_for failed: some tasks may not have run. */
msw_status msw__parallel(const msw_context *ctx, size_t count,
                         void (*task)(size_t index, void *arg), void *arg) MSW_NODISCARD;

/* The team that msw_context_options.threads gets in this build. */
uint32_t msw__parallel_team(uint32_t threads);

#endif /* MSW_LIB_PARALLEL_H */
