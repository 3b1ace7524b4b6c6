/* SPDX-License-Identifier: BSD-2-Clause */
/* What all parts of the program msw share. */
#ifndef MSW_TOOLS_TOOL_H
#define MSW_TOOLS_TOOL_H

#include <msw/msw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes, as msw(1) documents them. A signal ends with 128 and its number. */
enum {
    CODE_OK = 0,
    CODE_DIFFERENT = 1, /* verify, diff: not what it should be */
    CODE_USAGE = 2,
    CODE_INPUT = 3,     /* damaged, or not supported */
    CODE_IO = 4,        /* cannot be read or written, or exists */
    CODE_MEMORY = 5,
    CODE_UNMET = 6      /* a size that cannot be reached */
};

/* Why something failed: the first reason stays. */
struct problem {
    int code;
    char text[2048];
};

#ifdef __GNUC__
#  define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#  define PRINTF_LIKE(text, first)
#endif

/* Both return the code that holds from now on, never CODE_OK. */
int problem_set(struct problem *p, int code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Of a failed library call: what it was about, a detail or "", the status's text. */
int problem_status(struct problem *p, msw_status status, const char *path,
                   const char *name, const char *detail);
/* Non-zero, with a problem set, once the user has asked the program to end. */
int problem_interrupted(struct problem *p);
void watch_signals(void);

/* Zeroed; NULL, with a problem set, when there is no memory or the product overflows. */
void *allocate(size_t count, size_t size, struct problem *p);
char *copy_text(const char *text, size_t length, struct problem *p);

/* Each subcommand: argv[0] is its name. Returns an exit code. */
typedef int tool_command(int argc, char **argv, struct problem *p);
tool_command command_compress, command_diff, command_explain, command_export,
    command_info, command_pack, command_show, command_verify;

#endif /* MSW_TOOLS_TOOL_H */
