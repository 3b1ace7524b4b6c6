/* SPDX-License-Identifier: BSD-2-Clause */
/* The direct kernel (../direct.h), for the vectors that the including file has defined:
 *
 *   vector, LANES               and zero_v, set1_v, add_v, fma_v (a * b + c), min_v, max_v
 *                               (the second where one is NaN)
 *   mask, mask_of(n)            of the first n lanes, and load_mask
 *   store_lanes(p, a, n)        the first n lanes
 *   VECTORS_4                   vectors of pixels at a time with 4 rows
 *   KERNEL                      name of the function
 */
#include "direct.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 64")

enum { MAX_VECTORS = 4 };

/* A vector of neighbouring pixels of an output row. */
typedef struct spot {
    size_t x, y;  /* place in a plane, in an output */
    size_t lanes; /* in use */
    mask use;
} spot;

INLINE void store_spot(const msw__direct_unit *u, const spot *s, uint32_t row, vector sum)
{
    float *y = u->y + row * u->ldy + s->y;
    vector value = add_v(sum, set1_v(u->bias[row]));

    if (u->beta)
        value = add_v(value, load_mask(y, s->use));
    store_lanes(y, min_v(set1_v(u->high), max_v(set1_v(u->low), value)), s->lanes);
}

/* R rows of NV spots. */
INLINE void run_spots(const int R, const int NV, const msw__direct_unit *u, const spot *s)
{
    vector sum[4 * MAX_VECTORS];

    UNROLL for (int i = 0; i < R * NV; i++)
        sum[i] = zero_v();
    for (size_t t = 0; t < u->taps; t++) {
        const float *x = u->x + u->place[u->element[t]], *w = u->weights + t * (size_t)R;
        vector xv[MAX_VECTORS];

        UNROLL for (int v = 0; v < NV; v++)
            xv[v] = load_mask(x + s[v].x, s[v].use);
        UNROLL for (int r = 0; r < R; r++) {
            const vector wv = set1_v(w[r]);
            UNROLL for (int v = 0; v < NV; v++)
                sum[r * NV + v] = fma_v(wv, xv[v], sum[r * NV + v]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        if ((uint32_t)r < u->outputs)
            UNROLL for (int v = 0; v < NV; v++)
                store_spot(u, &s[v], (uint32_t)r, sum[r * NV + v]);
}

#define DEFINE_SPOTS(R, NV)                                                 \
    static void spots_##R##_##NV(const msw__direct_unit *u, const spot *s)  \
    {                                                                       \
        run_spots(R, NV, u, s);                                             \
    }
#define DEFINE_ROWS(R) \
    DEFINE_SPOTS(R, 1) DEFINE_SPOTS(R, 2) DEFINE_SPOTS(R, 3) DEFINE_SPOTS(R, 4)

DEFINE_ROWS(1)
DEFINE_ROWS(2)
DEFINE_ROWS(4)

typedef void spots_function(const msw__direct_unit *u, const spot *s);

static spots_function *const functions[][MAX_VECTORS] = {
    {spots_1_1, spots_1_2, spots_1_3, spots_1_4},
    {spots_2_1, spots_2_2, spots_2_3, spots_2_4},
    {spots_4_1, spots_4_2, spots_4_3, spots_4_4},
};

void KERNEL(const msw__direct_unit *u)
{
    spots_function *const *run = functions[u->rows / 2];
    const size_t most = u->rows == 4 ? VECTORS_4 : MAX_VECTORS;
    spot s[MAX_VECTORS];
    size_t count = 0;

    for (size_t i = 0; i < u->height; i++)
        for (size_t j = 0; j < u->width; j += LANES) {
            const size_t left = u->width - j, lanes = left < LANES ? left : LANES;

            s[count++] = (spot){i * u->pitch + j, i * u->width + j, lanes, mask_of(lanes)};
            if (count == most) {
                run[most - 1](u, s);
                count = 0;
            }
        }
    if (count)
        run[count - 1](u, s);
}
