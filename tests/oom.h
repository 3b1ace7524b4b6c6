/* SPDX-License-Identifier: BSD-2-Clause */
/* Every allocation of every scenario fails once: alone, or with all that follow it. Then
 * the status is MSW_E_NOMEM, what was to be made is NULL, the same call succeeds once
 * there is memory and gives what it gives undisturbed, and nothing is left behind.
 * The same with a memory limit, where the status is MSW_E_LIMIT. */
#ifndef MSW_TESTS_OOM_H
#define MSW_TESTS_OOM_H

#include "faults.h"

#include <msw/msw.h>

enum { ROWS = 20, COLUMNS = 36, COUNT = ROWS * COLUMNS, N = 9, IMAGE = 1 << 16 };

/* What scenarios work on. Whatever is not NULL at the end is freed. */
typedef struct world {
    faults memory;
    msw_context *ctx;
    msw_tensor *weights, *tensor;
    msw_plan *plan, *made_plan;
    msw_unified *u, *made_u;
    msw_budget *budget;
    msw_permutation *permutation;
    msw_admm *admm;
    msw_gemm *gemm;
    msw_conv *conv;
    msw_writer *writer;
    msw_reader *reader;
    float w[COUNT], extra[COUNT], y[ROWS * 100];
    unsigned char image[IMAGE];
    size_t image_size;
    msw_status status;
    bool bad; /* an output that does not match its status */
} world;

typedef struct scenario {
    const char *name;
    msw_status (*set_up)(world *w); /* undisturbed; NULL: nothing */
    msw_status (*step)(world *w);   /* disturbed */
    uint64_t (*digest)(world *w);   /* of what step made; NULL: a step that was cut short
                                       half way is not the same once repeated */
} scenario;

/* Runs them all as tests; what main() returns. */
int oom_main(const scenario *scenarios, size_t count);

/* Notes whether an output is NULL exactly when w->status is an error; returns that. */
msw_status oom_made(world *w, const void *output);
uint64_t oom_hash(uint64_t h, const void *data, size_t size);
void oom_fill(float *x, size_t count, uint32_t seed);

/* Steps and digests that several scenarios use. */
msw_status oom_project(msw_unified **out, world *w, const msw_tensor *importance);
msw_status oom_borrow_tensor(world *w);  /* w->tensor over w->extra */
msw_status oom_set_up_unified(world *w); /* ... and w->u */
uint64_t oom_digest_tensor(world *w);
uint64_t oom_digest_unified(world *w);   /* of made_u */
uint64_t oom_digest_extra(world *w);
uint64_t oom_digest_y(world *w);

#endif /* MSW_TESTS_OOM_H */
