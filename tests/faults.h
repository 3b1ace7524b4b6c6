/* SPDX-License-Identifier: BSD-2-Clause */
/* Hooks that misbehave on demand: an allocator that counts and fails, and pools that
 * run the tasks of parallel_for in every order, or not at all. Nothing here asserts:
 * it records, and the test asserts after the call. */
#ifndef MSW_TESTS_FAULTS_H
#define MSW_TESTS_FAULTS_H

#include <msw/base.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Memory. Fresh memory is filled with 0xFF: sizes too large, floats NaN. Each block has
 * a guard on either side, checked when it is freed. */
typedef struct faults {
    _Atomic uint64_t calls;   /* allocations asked for since faults_arm() */
    _Atomic uint64_t failed;  /* of these, refused */
    _Atomic uint64_t live, peak; /* bytes held now and at the most */
    _Atomic uint64_t blocks;  /* allocations held now */
    _Atomic uint64_t errors;  /* freed with another size than allocated, a damaged
                                 guard, an odd alignment or a size of 0 */
    uint64_t fail_at;         /* number of the call to refuse, from 1; 0: none */
    bool fail_later;          /* refuse those after it too */
} faults;

/* Zeroed is a good allocator. */
msw_allocator faults_allocator(faults *f);
/* Count calls anew and refuse number k (0: none), with later: and all that follow. */
void faults_arm(faults *f, uint64_t k, bool later);
/* A context on this allocator, otherwise by the defaults; NULL when that failed. */
msw_context *faults_context(faults *f);
/* Everything freed, and nothing done wrong. */
bool faults_clean(const faults *f);

/* Pools for msw_context_options.parallel_for, with a pool as parallel_user. */
typedef enum pool_mode {
    POOL_IN_ORDER,
    POOL_REVERSED,
    POOL_THREADS, /* a thread for each task, at most 16 at a time */
    POOL_FAILING, /* runs nothing and returns -1 */
    POOL_PARTIAL  /* runs every other task and returns -1 */
} pool_mode;

typedef struct pool {
    pool_mode mode;
    _Atomic uint64_t calls, tasks; /* calls of the hook, tasks run */
    uint64_t fail_from;            /* FAILING, PARTIAL: good before this call, from 1;
                                      0: the first one fails */
} pool;

int pool_run(size_t count, void (*task)(size_t index, void *arg), void *arg, void *user);

#endif /* MSW_TESTS_FAULTS_H */
