/* SPDX-License-Identifier: BSD-2-Clause */
/** @file msw.h  All of libmsw. */
#ifndef MSW_MSW_H
#define MSW_MSW_H

#include <msw/version.h>
#include <msw/base.h>
#include <msw/tensor.h>
#include <msw/plan.h>
#include <msw/unified.h>
#include <msw/permutation.h>
#include <msw/admm.h>
#include <msw/budget.h>
#include <msw/gemm.h>
#include <msw/wisdom.h>
#include <msw/conv.h>
#include <msw/file.h>

#endif /* MSW_MSW_H */
