/* SPDX-License-Identifier: BSD-2-Clause */
/* IEEE half precision as integers: no compiler or processor support needed. */
#ifndef MSW_LIB_F16_H
#define MSW_LIB_F16_H

#include <stdint.h>

#define MSW__F16_MAX 65504.0f

/* Round to nearest, ties to even. Above MSW__F16_MAX the result may be infinite; a
 * NaN stays a NaN. */
uint16_t msw__f16_from(float value);
float msw__f16_to(uint16_t half); /* exact */

#endif /* MSW_LIB_F16_H */
