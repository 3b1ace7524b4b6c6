// SPDX-License-Identifier: BSD-2-Clause
// libmsw for C++: handles that free themselves, a status that throws. Copy what you need.
#pragma once

#include <msw/msw.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace msw {

template <class T, void (*free_handle)(T *)> struct deleter {
    void operator()(T *p) const { free_handle(p); }
};
template <class T, void (*free_handle)(T *)>
using handle = std::unique_ptr<T, deleter<T, free_handle>>;
using context = handle<msw_context, msw_context_free>;
using tensor = handle<msw_tensor, msw_tensor_free>;
using plan = handle<msw_plan, msw_plan_free>;
using budget = handle<msw_budget, msw_budget_free>;
using admm = handle<msw_admm, msw_admm_free>;
using unified = handle<msw_unified, msw_unified_free>;
using gemm = handle<msw_gemm, msw_gemm_free>;
using conv = handle<msw_conv, msw_conv_free>;
using writer = handle<msw_writer, msw_writer_free>;
using reader = handle<msw_reader, msw_reader_free>;

inline void check(msw_status status, const std::string &what)
{
    if (status)
        throw std::runtime_error(what + ": " + msw_status_text(status));
}

// make<context>("context", msw_context_new, nullptr) is msw_context_new(&out, nullptr).
template <class H, class New, class... Args>
H make(const std::string &what, New make_handle, Args... args)
{
    typename H::pointer out;
    check(make_handle(&out, args...), what);
    return H(out);
}

} // namespace msw
