// SPDX-License-Identifier: BSD-2-Clause
// A C++ host whose callbacks throw, which they must not: the exception arrives where the
// library was called, the solver refuses to go on, and freeing it frees everything.
#include <msw/msw.h>

#include <cstdio>
#include <stdlib.h>
#include <stdexcept>

namespace {

struct Host {
    const char *thrower; // which callback throws
    int calls_left;      // good calls before it does

    void call(const char *name)
    {
        if (thrower == name && calls_left-- == 0)
            throw std::runtime_error(name);
    }
};

const char loss_name[] = "loss_gradient", step_name[] = "step", progress_name[] = "progress";
const size_t shape[2] = {16, 16};

int loss_gradient(double *loss, float *const *grads, const float *const *weights, uint32_t,
                  void *user)
{
    *loss = 1;
    for (size_t i = 0; i < shape[0] * shape[1]; i++)
        grads[0][i] = weights[0][i];
    static_cast<Host *>(user)->call(loss_name);
    return 0;
}

int step(float *const *weights, const float *const *grads, uint32_t, void *user)
{
    static_cast<Host *>(user)->call(step_name);
    for (size_t i = 0; i < shape[0] * shape[1]; i++)
        weights[0][i] -= 0.1f * grads[0][i];
    return 0;
}

int progress(const msw_admm_progress *, void *user)
{
    static_cast<Host *>(user)->call(progress_name);
    return 0;
}

// Memory held, in bytes and allocations.
struct Memory {
    size_t bytes, blocks;
};

void *allocate(size_t size, size_t align, void *user)
{
    void *p = aligned_alloc(align, (size + align - 1) / align * align);

    static_cast<Memory *>(user)->bytes += size;
    static_cast<Memory *>(user)->blocks++;
    return p;
}

void release(void *p, size_t size, void *user)
{
    static_cast<Memory *>(user)->bytes -= size;
    static_cast<Memory *>(user)->blocks--;
    std::free(p);
}

msw_context *make_context(Memory &memory)
{
    msw_context_options options;
    msw_context *ctx;

    msw_context_options_init(&options);
    options.allocator.alloc = allocate;
    options.allocator.free = release;
    options.allocator.user = &memory;
    return msw_context_new(&ctx, &options) == MSW_OK ? ctx : nullptr;
}

msw_status run(msw_admm *admm, Host &state)
{
    msw_host host;

    msw_host_init(&host);
    host.user = &state;
    host.loss_gradient = loss_gradient;
    host.step = step;
    host.progress = progress;
    return msw_admm_run(admm, &host, 20);
}

msw_admm *make_solver(msw_context *ctx)
{
    msw_admm_options options;
    msw_layer_options layer;
    msw_tensor *weights = nullptr;
    msw_plan *plan = nullptr;
    msw_admm *admm = nullptr;

    msw_admm_options_init(&options);
    options.update_every = 2;
    options.rollback = 1;
    msw_layer_options_init(&layer);
    layer.unify = 0.5;
    if (msw_tensor_new(&weights, ctx, shape, 2) == MSW_OK &&
        msw_plan_new(&plan, ctx, shape, 2, nullptr) == MSW_OK &&
        msw_admm_new(&admm, ctx, &options) == MSW_OK) {
        for (size_t i = 0; i < msw_tensor_count(weights); i++)
            msw_tensor_data(weights)[i] = 0.01f * static_cast<float>(i + 1);
        if (msw_admm_add_layer(admm, weights, plan, &layer) != MSW_OK) {
            msw_admm_free(admm);
            admm = nullptr;
        }
    }
    msw_tensor_free(weights);
    msw_plan_free(plan);
    return admm;
}

bool survives(const char *thrower, int calls, bool frozen)
{
    Memory memory = {0, 0};
    Host host = {nullptr, 0};
    msw_context *ctx = make_context(memory);
    msw_admm *admm = make_solver(ctx);
    bool good = admm && run(admm, host) == MSW_OK, caught = false;

    if (good && frozen)
        good = msw_admm_freeze(admm) == MSW_OK && run(admm, host) == MSW_OK;
    host.thrower = thrower;
    host.calls_left = calls;
    try {
        good = run(admm, host) == MSW_OK && false;
    } catch (const std::runtime_error &) {
        caught = true;
    }
    host.thrower = nullptr;
    good = good && run(admm, host) == MSW_E_STATE && msw_admm_update(admm) == MSW_E_STATE;
    msw_admm_free(admm);
    msw_context_free(ctx);
    return good && caught && memory.bytes == 0 && memory.blocks == 0;
}

} // namespace

int main()
{
    const char *const names[] = {loss_name, step_name, progress_name};
    int number = 0, failed = 0;

    std::printf("1..18\n");
    for (const char *name : names)
        for (int frozen = 0; frozen < 2; frozen++)
            for (int calls = 0; calls < 3; calls++) {
                const bool good = survives(name, calls, frozen != 0);

                std::printf("%sok %d - %s throws at call %d%s\n", good ? "" : "not ", ++number,
                            name, calls + 1, frozen ? ", frozen" : "");
                failed += !good;
            }
    return failed != 0;
}
