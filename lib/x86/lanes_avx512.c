/* SPDX-License-Identifier: BSD-2-Clause */
#define LANE_KERNELS msw__lanes_avx512
#include "../lanes_body.h"
