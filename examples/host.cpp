// SPDX-License-Identifier: BSD-2-Clause
// A C++ host: handles that free themselves, and exceptions that never enter C.
#include "toy.h"
#include <msw/msw.h>

#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

// Every handle is freed by msw_X_free().
template <class T, void (*free_handle)(T *)> struct handle_deleter {
    void operator()(T *p) const { free_handle(p); }
};
template <class T, void (*free_handle)(T *)>
using handle = std::unique_ptr<T, handle_deleter<T, free_handle>>;
using context = handle<msw_context, msw_context_free>;
using tensor = handle<msw_tensor, msw_tensor_free>;
using plan = handle<msw_plan, msw_plan_free>;
using solver = handle<msw_admm, msw_admm_free>;

static void check(msw_status status)
{
    if (status)
        throw std::runtime_error(msw_status_text(status));
}

// make<context>(msw_context_new, nullptr) calls msw_context_new(&out, nullptr).
template <class H, class New, class... Args> H make(New make_handle, Args... args)
{
    typename H::pointer out;
    check(make_handle(&out, args...));
    return H(out);
}

// The trampoline: C must not see an exception, so it is kept until C has returned.
struct training {
    std::function<double(float *const *grads)> loss;
    std::exception_ptr thrown;

    static int trampoline(double *loss, float *const *grads, const float *const *, uint32_t,
                          void *user) noexcept
    {
        training &self = *static_cast<training *>(user);
        try {
            *loss = self.loss(grads);
            return 0;
        } catch (...) {
            self.thrown = std::current_exception();
            return -1; // msw_admm_run() returns MSW_E_HOST
        }
    }

    void run(msw_admm *admm, uint64_t iterations)
    {
        msw_host host;
        msw_host_init(&host);
        host.user = this;
        host.loss_gradient = trampoline;
        const msw_status status = msw_admm_run(admm, &host, iterations);
        if (thrown)
            std::rethrow_exception(thrown);
        check(status);
    }
};

int main()
try {
    const size_t shape[2] = {TOY_OUTPUTS, TOY_INPUTS};
    static toy network;
    toy_init(&network);

    const auto ctx = make<context>(msw_context_new, nullptr);
    const auto weights = make<tensor>(msw_tensor_borrow, ctx.get(), network.weights, shape,
                                      nullptr, 2u);
    const auto blocks = make<plan>(msw_plan_new, ctx.get(), shape, 2u, nullptr);
    const auto admm = make<solver>(msw_admm_new, ctx.get(), nullptr);
    msw_layer_options layer;
    msw_layer_options_init(&layer);
    layer.unify = 0.9;
    check(msw_admm_add_layer(admm.get(), weights.get(), blocks.get(), &layer));

    float bias_grad[TOY_OUTPUTS];
    training good{
        [&](float *const *grads) { return toy_loss(&network, grads[0], bias_grad); }, {}};
    good.run(admm.get(), 500);
    check(msw_admm_freeze(admm.get()));

    training bad{
        [](float *const *) -> double { throw std::runtime_error("no more data"); }, {}};
    try {
        bad.run(admm.get(), 100);
    } catch (const std::runtime_error &e) {
        std::printf("caught behind C: %s\n", e.what());
        return std::string(e.what()) == "no more data" ? 0 : 1;
    }
    return 1;
} catch (const std::exception &e) {
    std::fprintf(stderr, "host: %s\n", e.what());
    return 1;
}
