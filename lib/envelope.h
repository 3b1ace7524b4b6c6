/* SPDX-License-Identifier: BSD-2-Clause */
/* The group envelope: a relaxation of "so many blocks pruned and so many unified" that is
 * convex, and its proximal map. Plain functions of arrays: nothing here allocates or fails. */
#ifndef MSW_LIB_ENVELOPE_H
#define MSW_LIB_ENVELOPE_H

#include <stddef.h>

/* A block v is the sum of two orthogonal parts: sign(v) m, of squared norm g = a - c, and the
 * rest r, of squared norm c. Pruned both are zero, unified r is. With at most @p kept blocks
 * not pruned and @p free of them free, the envelope of the indicator times 1/2 ||z||^2 is
 *
 *   E(z) = min 1/2 sum_b c_b(z) / u_b + g_b(z) / w_b
 *          over 0 <= u_b <= w_b <= 1, sum u_b <= free, sum w_b <= kept
 *
 * and the z that minimises lambda E(z) + 1/2 ||z - v||^2 keeps u / (u + lambda) of the rest
 * and w / (w + lambda) of the other part. Times 1 + lambda these two factors go from 1 for a
 * small lambda to 0 or 1, the labels of the joint projection, for a large one. */
typedef struct msw__envelope_block {
    float whole, rest, mean; /* sqrt(a), sqrt(c), sqrt(g), as finite floats; of the last two
                                msw__envelope() makes the factors, with 1 + lambda */
} msw__envelope_block;

/* free <= kept <= count, lambda > 0. Serial; some dozen passes where only one of the classes
 * is asked for, some hundred where both are. */
void msw__envelope(msw__envelope_block *blocks, size_t count, size_t free, size_t kept,
                   double lambda);

#endif /* MSW_LIB_ENVELOPE_H */
