/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L /* isatty, clock_gettime */
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_show(const char *what, int done, int total)
{
    static const char full[] = "##############################";
    static double last;
    int width = (int)sizeof full - 1;
    int filled = total > 0 ? (int)((long long)done * width / total) : 0;
    double now = seconds_now();

    if (now - last < 0.1 || !isatty(STDERR_FILENO))
        return;
    last = now;
    fprintf(stderr, "\r%-28s [%-*.*s] %3d %%", what, width, filled, full,
            total > 0 ? (int)(100LL * done / total) : 0);
}

void progress_line(const char *format, ...)
{
    va_list arguments;

    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
