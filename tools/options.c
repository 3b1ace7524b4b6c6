/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "options.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void help_exit(const char *help)
{
    if (fputs(help, stdout) >= 0 && fflush(stdout) == 0)
        exit(CODE_OK);
    fputs("msw: standard output: write failed\n", stderr);
    exit(CODE_IO);
}

int usage_problem(struct problem *p, const char *command)
{
    return problem_set(p, CODE_USAGE, "try 'msw %s --help'", command);
}

int option_number(double *out, const char *text, double least, double most,
                  const char *option, struct problem *p)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end || !(*out >= least && *out <= most))
        return problem_set(p, CODE_USAGE, "%s %s: not a number from %g to %g", option, text,
                           least, most);
    return p->code;
}

int option_count(uint64_t *out, const char *text, uint64_t least, uint64_t most,
                 const char *option, struct problem *p)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || *out < least || *out > most)
        return problem_set(p, CODE_USAGE, "%s %s: not a number from %llu to %llu", option,
                           text, (unsigned long long)least, (unsigned long long)most);
    return p->code;
}

int option_block(uint32_t *rows, uint32_t *columns, const char *text, struct problem *p)
{
    unsigned r, c;
    char more;

    if (sscanf(text, "%2ux%2u%c", &r, &c, &more) != 2 || r < 1 || c < 1 ||
        r > MSW_MAX_BLOCK || c > MSW_MAX_BLOCK)
        return problem_set(p, CODE_USAGE, "--block %s: not ROWSxCOLUMNS of 1 to %u", text,
                           MSW_MAX_BLOCK);
    *rows = r;
    *columns = c;
    return p->code;
}

/* The rule for text up to length. */
static struct rule *add(struct rules *r, const char *option, const char *text,
                        size_t length, struct problem *p)
{
    struct rule *list = realloc(r->list, (r->count + 1) * sizeof *list);

    if (!list) {
        problem_set(p, CODE_MEMORY, "no memory for the options");
        return NULL;
    }
    r->option = option;
    r->list = list;
    list[r->count] = (struct rule){text, length, 0, false};
    return &list[r->count++];
}

int rules_add(struct rules *r, const char *option, const char *text, struct problem *p)
{
    add(r, option, text, strlen(text), p);
    return p->code;
}

/* The part behind the last '='. */
static const char *value_of(const char *option, const char *text, struct problem *p)
{
    const char *equal = strrchr(text, '=');

    if (!equal)
        problem_set(p, CODE_USAGE, "%s %s: not GLOB=VALUE", option, text);
    return equal ? equal + 1 : NULL;
}

int rules_add_count(struct rules *r, const char *option, const char *text,
                    struct problem *p)
{
    const char *value = value_of(option, text, p);
    struct rule *rule;
    uint64_t count;

    if (!value || option_count(&count, value, 1, UINT32_MAX, option, p))
        return p->code;
    rule = add(r, option, text, (size_t)(value - 1 - text), p);
    if (rule)
        rule->value = (uint32_t)count;
    return p->code;
}

int rules_add_kind(struct rules *r, const char *option, const char *text,
                   struct problem *p)
{
    static const char *const kinds[] = {
        [MSW_WEIGHTS_OI] = "oi", [MSW_WEIGHTS_IO] = "io",
        [MSW_WEIGHTS_OIHW] = "oihw", [MSW_WEIGHTS_OHWI] = "ohwi",
    };
    const char *value = value_of(option, text, p);
    struct rule *rule;

    if (!value)
        return p->code;
    for (uint32_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++)
        if (strcmp(value, kinds[kind]) == 0) {
            rule = add(r, option, text, (size_t)(value - 1 - text), p);
            if (rule)
                rule->value = kind;
            return p->code;
        }
    return problem_set(p, CODE_USAGE, "%s %s: not oi, io, oihw or ohwi", option, text);
}

struct rule *rules_find(struct rules *r, const char *name)
{
    struct rule *found = NULL;

    for (size_t i = 0; i < r->count; i++) {
        struct rule *rule = &r->list[i];
        char *glob = strndup(rule->glob, rule->glob_length);

        if (glob && fnmatch(glob, name, 0) == 0) {
            rule->used = true;
            found = rule;
        }
        free(glob);
    }
    return found;
}

int rules_check(const struct rules *r, struct problem *p)
{
    for (size_t i = 0; i < r->count; i++)
        if (!r->list[i].used)
            return problem_set(p, CODE_USAGE, "%s %s: no weights have such a name",
                               r->option, r->list[i].glob);
    return p->code;
}

void rules_free(struct rules *r)
{
    free(r->list);
}

static void log_line(int level, const char *text, void *user)
{
    (void)user;
    if (level != MSW_LOG_INFO)
        fprintf(stderr, "msw: %s\n", text);
}

int context_open(msw_context **out, uint32_t threads, struct problem *p)
{
    msw_context_options o;
    msw_status status;

    msw_context_options_init(&o);
    o.threads = threads;
    o.log = log_line;
    status = msw_context_new(out, &o);
    return status ? problem_status(p, status, "context", NULL, NULL) : p->code;
}
