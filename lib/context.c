/* SPDX-License-Identifier: BSD-2-Clause */
#include "blas.h"
#include "internal.h"
#include "os.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_THREADS = 1024, OLDEST_OPTIONS = sizeof(msw_context_options) };

/* Texts may hold names that the host, or a file, chose. */
static void keep_one_line(char *text)
{
    for (; *text; text++)
        if (*text == '\n' || *text == '\r')
            *text = ' ';
}

void msw__log(const msw_context *ctx, int level, const char *format, ...)
{
    char line[256] = "";
    va_list args;

    if (!ctx->options.log)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    keep_one_line(line);
    ctx->options.log(level, line, ctx->options.log_user);
}

uint64_t msw__clock_now(const msw_context *ctx)
{
    if (ctx->options.clock)
        return ctx->options.clock(ctx->options.clock_user);
    return msw__os_clock();
}

/* What the host asked for and this build or machine does not have. */
static void log_shortfalls(const msw_context *ctx)
{
    if (ctx->options.threads > ctx->threads && !ctx->options.parallel_for)
        msw__log(ctx, MSW_LOG_WARNING, "built without OpenMP: %u threads become 1",
                 (unsigned)ctx->options.threads);
    if (!ctx->blas && msw__blas_linked())
        msw__log(ctx, MSW_LOG_WARNING,
                 "%s takes 64-bit integers: the built-in matrix product is used instead",
                 msw__blas_name());
}

msw_status msw_context_new(msw_context **out, const msw_context_options *options)
{
    msw_context_options o;
    msw_context *ctx;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    msw_context_options_init(&o);
    if (options) {
        status = msw__take_options(&o, sizeof o, OLDEST_OPTIONS, options);
        if (status)
            return status;
    }
    if (!o.allocator.alloc != !o.allocator.free || o.threads > MAX_THREADS)
        return MSW_E_INVAL;
    if (!o.allocator.alloc) {
        o.allocator.alloc = msw__default_alloc;
        o.allocator.free = msw__default_free;
    }
    /* The first allocation has no context yet to count it: it is added below. */
    if (o.memory_limit && o.memory_limit < sizeof *ctx)
        return MSW_E_LIMIT;
    ctx = o.allocator.alloc(sizeof *ctx, MSW__ALIGN, o.allocator.user);
    if (!ctx)
        return MSW_E_NOMEM;
    memset(ctx, 0, sizeof *ctx);
    ctx->options = o;
    atomic_init(&ctx->refs, 1);
    atomic_init(&ctx->memory, sizeof *ctx);
    ctx->cpu = msw__cpu_levels(o.cpu_mask);
    ctx->threads = o.parallel_for ? 0 : msw__parallel_team(o.threads);
    ctx->blas = msw__blas_usable();
    log_shortfalls(ctx);
    *out = ctx;
    return MSW_OK;
}

msw_context *msw_context_ref(msw_context *ctx)
{
    msw__refs_take(&ctx->refs);
    return ctx;
}

void msw_context_free(msw_context *ctx)
{
    if (ctx && msw__refs_drop(&ctx->refs)) {
        const msw_allocator a = ctx->options.allocator;
        a.free(ctx, sizeof *ctx, a.user);
    }
}

uint32_t msw_context_threads(const msw_context *ctx)
{
    return ctx->threads;
}

const char *msw_context_isa(const msw_context *ctx)
{
    return msw__cpu_name(ctx->cpu);
}

const char *msw_context_blas(const msw_context *ctx)
{
    return ctx->blas ? msw__blas_name() : "built-in";
}

uint64_t msw_context_memory(const msw_context *ctx)
{
    return atomic_load(&ctx->memory);
}
