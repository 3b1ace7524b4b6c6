/* SPDX-License-Identifier: BSD-2-Clause */
#include "arguments.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool usage(const struct argument *table, const char *program)
{
    static const char *const value[] = {"TEXT", "COUNT", "NUMBER", ""};

    fprintf(stderr, "usage: %s [options]\n", program);
    for (; table->name != NULL; table++)
        fprintf(stderr, "  %s %s%*s%s\n", table->name, value[table->kind],
                (int)(24 - strlen(table->name) - strlen(value[table->kind])), "",
                table->help);
    return false;
}

static bool store(const struct argument *argument, const char *text)
{
    char *end;
    double number;

    if (argument->kind == ARGUMENT_TEXT) {
        *(const char **)argument->value = text;
        return true;
    }
    errno = 0;
    number = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(number >= 0.0) || isinf(number))
        return false;
    if (argument->kind == ARGUMENT_NUMBER) {
        *(double *)argument->value = number;
        return true;
    }
    *(int *)argument->value = number <= INT_MAX ? (int)number : 0;
    return number <= INT_MAX && floor(number) == number;
}

bool arguments_parse(const struct argument *table, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct argument *found = table;

        while (found->name != NULL && strcmp(found->name, argv[i]) != 0)
            found++;
        if (found->name == NULL)
            return usage(table, argv[0]);
        if (found->kind == ARGUMENT_FLAG)
            *(bool *)found->value = true;
        else if (i + 1 == argc || !store(found, argv[++i]))
            return usage(table, argv[0]);
    }
    return true;
}
