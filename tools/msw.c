/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *what;
    tool_command *run;
} commands[] = {
    {"compress", "bring the weights of a file into unified-block form", command_compress},
    {"diff", "compare two files", command_diff},
    {"explain", "time each layer's kernel against a dense product", command_explain},
    {"export", "write a file's tensors as safetensors, npy or npz", command_export},
    {"info", "list a file's tensors", command_info},
    {"pack", "lay a .msw file out to run where it lies, without being loaded", command_pack},
    {"show", "make a picture of a tensor's blocks and magnitudes", command_show},
    {"verify", "prove that every block is zero, unified or free", command_verify},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *to)
{
    fputs("usage: msw COMMAND [options] FILE...\n\n", to);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].what);
    fputs("\n'msw COMMAND --help' lists the options; msw(1) is the manual.\n", to);
}

/* Names from a file do not command the terminal: neither by the control characters of
 * ASCII nor by those that follow them in Unicode, U+0080 to U+009F. */
static void print_problem(struct problem *p)
{
    for (char *c = p->text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
        else if ((unsigned char)*c == 0xc2 && (unsigned char)c[1] >= 0x80 &&
                 (unsigned char)c[1] <= 0x9f)
            c[0] = c[1] = '?';
    fprintf(stderr, "msw: %s\n", p->text);
}

static int run(int argc, char **argv, struct problem *p)
{
    const char *name = argc > 1 ? argv[1] : "";

    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0) {
            watch_signals();
            return commands[i].run(argc - 1, argv + 1, p);
        }
    if (strcmp(name, "--version") == 0) {
        const uint32_t v = msw_version();
        printf("msw %u.%u.%u\n", v >> 16 & 255, v >> 8 & 255, v & 255);
        return CODE_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_help(stdout);
        return CODE_OK;
    }
    print_help(stderr);
    return *name ? problem_set(p, CODE_USAGE, "%s: no such command", name) : CODE_USAGE;
}

/* What is printed must not go into a file that is opened where the standard output or error
 * was closed. /dev/null takes such a place, for reading alone, so that printing still fails. */
static void hold_standard_files(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct problem p = {CODE_OK, ""};
    int code;

    hold_standard_files();
    code = run(argc, argv, &p);

    if (fflush(stdout) || ferror(stdout))
        code = problem_set(&p, CODE_IO, "standard output: write failed");
    if (p.code)
        print_problem(&p);
    return code;
}
