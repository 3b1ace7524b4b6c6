/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading of option values; each gives a usage problem when it cannot. */
#ifndef MSW_TOOLS_OPTIONS_H
#define MSW_TOOLS_OPTIONS_H

#include "tool.h"

/* getopt_long() values of options that have no letter. */
enum {
    OPTION_PRUNE = 256, OPTION_UNIFY, OPTION_RATIO, OPTION_BYTES, OPTION_LAYERS,
    OPTION_EXCEPT, OPTION_KIND, OPTION_GROUPS, OPTION_F16, OPTION_THREADS, OPTION_JSON,
    OPTION_AGAINST, OPTION_TOLERANCE, OPTION_TRANSPORT, OPTION_BITS, OPTION_CPU,
    OPTION_PERMUTE, OPTION_QUADTREE
};

enum { MOST_THREADS = 1024 };

/* Prints it and ends the program. */
_Noreturn void help_exit(const char *help);
int usage_problem(struct problem *p, const char *command);
int option_number(double *out, const char *text, double least, double most,
                  const char *option, struct problem *p);
int option_count(uint64_t *out, const char *text, uint64_t least, uint64_t most,
                 const char *option, struct problem *p);
/* "8x8" */
int option_block(uint32_t *rows, uint32_t *columns, const char *text, struct problem *p);

/* Globs of tensor names, each with what follows its last '=' where the option has that. */
struct rule {
    const char *glob;
    size_t glob_length;
    uint32_t value;
    bool used;
};
struct rules {
    const char *option;
    struct rule *list;
    size_t count;
};
int rules_add(struct rules *r, const char *option, const char *text, struct problem *p);
int rules_add_count(struct rules *r, const char *option, const char *text,
                    struct problem *p);
int rules_add_kind(struct rules *r, const char *option, const char *text,
                   struct problem *p);
/* The last rule that the name matches, or NULL. */
struct rule *rules_find(struct rules *r, const char *name);
/* A rule that matched nothing is a mistake. */
int rules_check(const struct rules *r, struct problem *p);
void rules_free(struct rules *r);

/* A context for this many threads that logs errors to the standard error. */
int context_open(msw_context **out, uint32_t threads, struct problem *p);

#endif /* MSW_TOOLS_OPTIONS_H */
