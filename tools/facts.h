/* SPDX-License-Identifier: BSD-2-Clause */
/* What there is to say about one tensor of a file. */
#ifndef MSW_TOOLS_FACTS_H
#define MSW_TOOLS_FACTS_H

#include "hash.h"
#include "model.h"

struct facts {
    const char *kind;  /* "unified", "plain", "kept" */
    const char *form;  /* in the file: "plain", "transport", "packed" */
    uint32_t wide_layout, narrow_layout; /* as in msw_entry */
    uint64_t bytes;    /* in the file */
    double bits;       /* per weight, in the file; 0 without weights */
    char values[HASH_TEXT];  /* of the elements, as `msw export` writes them */
    char classes[HASH_TEXT]; /* of the class map, a byte per block; "" when not unified */
    msw_unified_info unified;
    msw_plan_info plan;
};

/* Reads the tensor, and so checks it. */
int facts_read(struct facts *f, struct model *m, const struct item *item,
               struct problem *p);
/* The file's length; 0 when that cannot be known. */
uint64_t file_bytes(const char *path);
/* Characters of the longest name, at least those of least. */
int names_width(const struct model *m, const char *least);
/* The width to print a name with, in bytes, such that it takes so many characters. */
int name_field(const char *name, int width);
double percent(uint64_t part, uint64_t whole);

#endif /* MSW_TOOLS_FACTS_H */
