/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, FILL = 0xff, GUARD_FILL = 0xa5, WAVE = 16 };
/* refused above: some malloc under test would end us */
#define MOST ((size_t)1 << (sizeof(size_t) > 4 ? 32 : 30))

/* Layout of a block: 64 bytes that begin with its size, the memory, 64 bytes more. */
static void *faulty_alloc(size_t size, size_t align, void *user)
{
    faults *f = user;
    const uint64_t call = atomic_fetch_add(&f->calls, 1) + 1;
    uint64_t live, peak;
    unsigned char *block;

    if (size == 0 || align == 0 || align > GUARD || (align & (align - 1)))
        atomic_fetch_add(&f->errors, 1);
    if (f->fail_at && (call == f->fail_at || (f->fail_later && call > f->fail_at))) {
        atomic_fetch_add(&f->failed, 1);
        return NULL;
    }
    if (size > MOST)
        return NULL;
    block = aligned_alloc(GUARD, (GUARD + size + GUARD + GUARD - 1) / GUARD * GUARD);
    if (!block)
        return NULL;
    memset(block, GUARD_FILL, GUARD);
    memcpy(block, &size, sizeof size);
    memset(block + GUARD, FILL, size);
    memset(block + GUARD + size, GUARD_FILL, GUARD);
    atomic_fetch_add(&f->blocks, 1);
    live = atomic_fetch_add(&f->live, size) + size;
    peak = atomic_load(&f->peak);
    while (live > peak && !atomic_compare_exchange_weak(&f->peak, &peak, live))
        ;
    return block + GUARD;
}

static bool guards_intact(const unsigned char *block, size_t size)
{
    for (size_t i = sizeof size; i < GUARD; i++)
        if (block[i] != GUARD_FILL)
            return false;
    for (size_t i = 0; i < GUARD; i++)
        if (block[GUARD + size + i] != GUARD_FILL)
            return false;
    return true;
}

static void faulty_free(void *ptr, size_t size, void *user)
{
    faults *f = user;
    unsigned char *block;
    size_t allocated;

    if (!ptr) {
        atomic_fetch_add(&f->errors, 1);
        return;
    }
    block = (unsigned char *)ptr - GUARD;
    memcpy(&allocated, block, sizeof allocated);
    if (allocated != size || !guards_intact(block, allocated))
        atomic_fetch_add(&f->errors, 1);
    atomic_fetch_sub(&f->blocks, 1);
    atomic_fetch_sub(&f->live, allocated);
    free(block);
}

msw_allocator faults_allocator(faults *f)
{
    return (msw_allocator){faulty_alloc, faulty_free, f};
}

void faults_arm(faults *f, uint64_t k, bool later)
{
    f->fail_at = k;
    f->fail_later = later;
    atomic_store(&f->calls, 0);
    atomic_store(&f->failed, 0);
}

msw_context *faults_context(faults *f)
{
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.allocator = faults_allocator(f);
    return msw_context_new(&ctx, &o) ? NULL : ctx;
}

bool faults_clean(const faults *f)
{
    return !atomic_load(&f->live) && !atomic_load(&f->blocks) && !atomic_load(&f->errors);
}

typedef struct job {
    void (*task)(size_t index, void *arg);
    void *arg;
    size_t index;
} job;

static void *run_job(void *user)
{
    const job *j = user;

    j->task(j->index, j->arg);
    return NULL;
}

static int run_threads(size_t count, void (*task)(size_t index, void *arg), void *arg)
{
    for (size_t start = 0; start < count; start += WAVE) {
        const size_t n = count - start < WAVE ? count - start : WAVE;
        pthread_t threads[WAVE];
        job jobs[WAVE];
        size_t started = 0;

        for (; started < n; started++) {
            jobs[started] = (job){task, arg, start + started};
            if (pthread_create(&threads[started], NULL, run_job, &jobs[started]))
                break;
        }
        for (size_t i = 0; i < started; i++)
            pthread_join(threads[i], NULL);
        if (started < n)
            return -1;
    }
    return 0;
}

int pool_run(size_t count, void (*task)(size_t index, void *arg), void *arg, void *user)
{
    pool *p = user;
    const uint64_t call = atomic_fetch_add(&p->calls, 1) + 1;
    const bool bad = (p->mode == POOL_FAILING || p->mode == POOL_PARTIAL) &&
                     call >= p->fail_from;
    size_t step = 1;

    if (bad && p->mode == POOL_FAILING)
        return -1;
    if (bad)
        step = 2;
    atomic_fetch_add(&p->tasks, (count + step - 1) / step);
    if (p->mode == POOL_THREADS)
        return run_threads(count, task, arg);
    for (size_t i = 0; i < count; i += step)
        task(p->mode == POOL_REVERSED ? count - 1 - i : i, arg);
    return bad ? -1 : 0;
}
