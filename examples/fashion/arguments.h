/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines of the form "--name value" and "--flag". */
#ifndef FASHION_ARGUMENTS_H
#define FASHION_ARGUMENTS_H

#include <stdbool.h>

enum argument_kind {
    ARGUMENT_TEXT,   /* const char * */
    ARGUMENT_COUNT,  /* int, 0 or more */
    ARGUMENT_NUMBER, /* double, 0 or more */
    ARGUMENT_FLAG    /* bool, no value follows */
};

struct argument {
    const char *name; /* with its dashes; NULL ends a table */
    enum argument_kind kind;
    void *value;      /* holds the default before */
    const char *help;
};

/* On a mistake, or for --help, prints the table to stderr and returns false. */
bool arguments_parse(const struct argument *table, int argc, char **argv);

#endif
