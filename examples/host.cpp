// SPDX-License-Identifier: BSD-2-Clause
// A C++ host: handles that free themselves, and exceptions that never enter C.
#include "toy.h"
#include <msw/msw.h>

#include <functional>
#include <memory>
#include <stdexcept>

struct free_handle {
    void operator()(msw_context *p) const { msw_context_free(p); }
    void operator()(msw_tensor *p) const { msw_tensor_free(p); }
    void operator()(msw_plan *p) const { msw_plan_free(p); }
    void operator()(msw_admm *p) const { msw_admm_free(p); }
};

static void check(msw_status status)
{
    if (status)
        throw std::runtime_error(msw_status_text(status));
}

// make(msw_context_new, nullptr) calls msw_context_new(&out, nullptr).
template <class T, class... Parameters, class... Arguments>
std::unique_ptr<T, free_handle> make(msw_status (*new_handle)(T **, Parameters...),
                                     Arguments... arguments)
{
    T *out;
    check(new_handle(&out, arguments...));
    return std::unique_ptr<T, free_handle>(out);
}

using gradient_function = std::function<double(float *const *grads)>;
struct user_data {
    const gradient_function &gradient;
    std::exception_ptr thrown; // kept here until C has returned
};

static int trampoline(double *loss, float *const *grads, const float *const *, uint32_t,
                      void *user) noexcept
try {
    *loss = static_cast<user_data *>(user)->gradient(grads);
    return 0;
} catch (...) {
    static_cast<user_data *>(user)->thrown = std::current_exception();
    return -1; // msw_admm_run() returns MSW_E_HOST
}

static void run(msw_admm *admm, uint64_t iterations, const gradient_function &gradient)
{
    user_data user{gradient, nullptr};
    msw_host host;
    msw_host_init(&host);
    host.user = &user;
    host.loss_gradient = trampoline;
    const msw_status status = msw_admm_run(admm, &host, iterations);
    if (user.thrown)
        std::rethrow_exception(user.thrown);
    check(status);
}

int main()
{
    const size_t shape[2] = {TOY_OUTPUTS, TOY_INPUTS};
    static toy t;
    toy_init(&t);
    const auto ctx = make(msw_context_new, nullptr);
    const auto weights = make(msw_tensor_borrow, ctx.get(), t.weights, shape, nullptr, 2);
    const auto plan = make(msw_plan_new, ctx.get(), shape, 2, nullptr); // blocks of 8x8
    const auto admm = make(msw_admm_new, ctx.get(), nullptr);
    msw_layer_options layer;
    msw_layer_options_init(&layer);
    layer.unify = 0.9;
    check(msw_admm_add_layer(admm.get(), weights.get(), plan.get(), &layer));

    float bias_grad[TOY_OUTPUTS];
    run(admm.get(), 500, [&](float *const *g) { return toy_loss(&t, g[0], bias_grad); });
    check(msw_admm_freeze(admm.get()));
    try {
        run(admm.get(), 1, [](float *const *) -> double { throw std::out_of_range(""); });
    } catch (const std::out_of_range &) {
        return 0; // thrown by the loss, carried past msw_admm_run()
    }
    return 1;
}
