/* SPDX-License-Identifier: BSD-2-Clause */
/* The shortest way to treat errors: say what failed and end. A real host goes on. */
#ifndef MUST_H
#define MUST_H

#include <msw/msw.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must(msw_status status, const char *what)
{
    if (status) {
        fprintf(stderr, "%s: %s\n", what, msw_status_text(status));
        exit(EXIT_FAILURE);
    }
}

#endif /* MUST_H */
