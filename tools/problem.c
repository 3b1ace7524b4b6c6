/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "tool.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t signal_seen;

int problem_set(struct problem *p, int code, const char *format, ...)
{
    va_list arguments;

    if (p->code)
        return p->code;
    p->code = code;
    va_start(arguments, format);
    vsnprintf(p->text, sizeof p->text, format, arguments);
    va_end(arguments);
    return code;
}

static int code_of(msw_status status)
{
    switch (status) {
    case MSW_E_IO:
        return CODE_IO;
    case MSW_E_NOMEM:
    case MSW_E_LIMIT:
        return CODE_MEMORY;
    default:
        return CODE_INPUT;
    }
}

int problem_status(struct problem *p, msw_status status, const char *path,
                   const char *name, const char *detail)
{
    if (!detail)
        detail = "";
    return problem_set(p, code_of(status), "%s: %s%s%s%s%s", path, name ? name : "",
                       name ? ": " : "", detail, *detail ? ": " : "",
                       msw_status_text(status));
}

static void on_signal(int number)
{
    signal_seen = number;
}

void watch_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND; /* the second one ends the program at once */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

int problem_interrupted(struct problem *p)
{
    return signal_seen ? problem_set(p, 128 + signal_seen, "interrupted") : CODE_OK;
}

void *allocate(size_t count, size_t size, struct problem *p)
{
    void *memory = calloc(count ? count : 1, size ? size : 1); /* checks the product */

    if (!memory)
        problem_set(p, CODE_MEMORY, "no memory for %zu times %zu bytes", count, size);
    return memory;
}

char *copy_text(const char *text, size_t length, struct problem *p)
{
    char *copy = allocate(length + 1, 1, p);

    if (copy)
        memcpy(copy, text, length);
    return copy;
}
