/* SPDX-License-Identifier: BSD-2-Clause */
#include "parallel.h"
#include "internal.h"

uint32_t msw__parallel_team(uint32_t threads)
{
#ifdef _OPENMP
    return threads > 1 ? threads : 1;
#else
    (void)threads;
    return 1;
#endif
}

#ifdef _OPENMP
/* Tasks do not throw. Said so, because a compiler would else end the process where an
 * exception could leave the team. */
#ifdef __GNUC__
__attribute__((nothrow))
#endif
static void run_task(void (*task)(size_t index, void *arg), size_t index, void *arg)
{
    task(index, arg);
}
#endif

msw_status msw__parallel(const msw_context *ctx, size_t count,
                         void (*task)(size_t index, void *arg), void *arg)
{
    if (ctx->options.parallel_for && count > 1) {
        const int code = ctx->options.parallel_for(count, task, arg,
                                                   ctx->options.parallel_user);
        return code ? MSW_E_HOST : MSW_OK;
    }
#ifdef _OPENMP
    if (ctx->threads > 1 && count > 1 && count <= ctx->threads) {
        /* the same thread as in the last call, whose cache has what the task uses */
#pragma omp parallel for schedule(static, 1) num_threads(ctx->threads)
        for (size_t i = 0; i < count; i++)
            run_task(task, i, arg);
        return MSW_OK;
    }
    if (ctx->threads > 1 && count > 1) {
#pragma omp parallel for schedule(dynamic) num_threads(ctx->threads)
        for (size_t i = 0; i < count; i++)
            run_task(task, i, arg);
        return MSW_OK;
    }
#endif
    for (size_t i = 0; i < count; i++)
        task(i, arg);
    return MSW_OK;
}
