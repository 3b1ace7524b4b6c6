/* SPDX-License-Identifier: BSD-2-Clause */
/* Parallel work that ends whatever the host's parallel_for does. */
#include "admm.h"

#include <string.h>

typedef struct tracked {
    void (*task)(size_t index, void *arg);
    void *arg;
    uint8_t *done;
} tracked;

static void run_tracked(size_t index, void *arg)
{
    const tracked *t = arg;

    t->task(index, t->arg);
    t->done[index] = 1;
}

msw_status msw__admm_reserve_tasks(msw_admm *admm, const msw__layer *layers)
{
    size_t most = 1;
    msw_status status;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &layers[i];
        const size_t elements = msw__element_tasks(l->weights->count);
        const size_t blocks = l->plan ? msw__update_tasks(l->plan) : 0;

        most = most > elements ? most : elements;
        most = most > blocks ? most : blocks;
    }
    if (admm->done_count >= most)
        return MSW_OK;
    status = msw__alloc(&memory, admm->ctx, most, 1);
    if (status)
        return status;
    msw__free(admm->ctx, admm->done, admm->done_count, 1);
    admm->done = memory;
    admm->done_count = most;
    return MSW_OK;
}

msw_status msw__admm_try_tasks(msw_admm *admm, size_t count,
                               void (*task)(size_t index, void *arg), void *arg)
{
    tracked t = {task, arg, admm->done};
    msw_status status;

    memset(admm->done, 0, count);
    status = msw__parallel(admm->ctx, count, run_tracked, &t);
    if (!status && memchr(admm->done, 0, count))
        status = MSW_E_HOST;
    return status;
}

void msw__admm_all_tasks(msw_admm *admm, size_t count,
                         void (*task)(size_t index, void *arg), void *arg)
{
    if (!msw__admm_try_tasks(admm, count, task, arg))
        return;
    msw__log(admm->ctx, MSW_LOG_WARNING,
             "parallel_for failed in the middle of a change: ended on the caller's thread");
    for (size_t i = 0; i < count; i++)
        if (!admm->done[i])
            task(i, arg);
}
