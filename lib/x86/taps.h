/* SPDX-License-Identifier: BSD-2-Clause */
/* The direct kernel (../direct.h), for the vectors that the including file has defined:
 *
 *   vector, LANES               and zero_v, set1_v, load_v, store_v, add_v, fma_v
 *                               (a * b + c), min_v, max_v (the second where one is NaN)
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

/* What the stores do, where they cannot change it. */
typedef struct finish {
    vector low, high;
    bool beta;
} finish;

INLINE void store_spot(const bool FULL, const finish *f, const spot *s, float *y,
                       vector bias, vector sum)
{
    vector value = add_v(sum, bias);

    if (f->beta)
        value = add_v(value, load_mask(y, s->use));
    value = min_v(f->high, max_v(f->low, value));
    if (FULL)
        store_v(y, value);
    else
        store_lanes(y, value, s->lanes);
}

/* R rows of NV spots; FULL: all lanes of all of them are in use. */
INLINE void run_spots(const int R, const int NV, const bool FULL,
                      const msw__direct_unit *u, const spot *s)
{
    const finish f = {set1_v(u->low), set1_v(u->high), u->beta};
    const uint32_t outputs = u->outputs;
    vector sum[4 * MAX_VECTORS];

    UNROLL for (int i = 0; i < R * NV; i++)
        sum[i] = zero_v();
    for (size_t t = 0; t < u->taps; t++) {
        const float *x = u->x + u->place[u->element[t]], *w = u->weights + t * (size_t)R;
        vector xv[MAX_VECTORS];

        UNROLL for (int v = 0; v < NV; v++)
            xv[v] = FULL ? load_v(x + s[v].x) : load_mask(x + s[v].x, s[v].use);
        UNROLL for (int r = 0; r < R; r++) {
            const vector wv = set1_v(w[r]);
            UNROLL for (int v = 0; v < NV; v++)
                sum[r * NV + v] = fma_v(wv, xv[v], sum[r * NV + v]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        if ((uint32_t)r < outputs) {
            const vector bias = set1_v(u->bias[r]);
            float *y = u->y + (size_t)r * u->ldy;
            UNROLL for (int v = 0; v < NV; v++)
                store_spot(FULL, &f, &s[v], y + s[v].y, bias, sum[r * NV + v]);
        }
}

#define DEFINE_SPOTS(R, NV)                                                          \
    static void spots_##R##_##NV(const msw__direct_unit *u, const spot *s, bool full) \
    {                                                                                \
        if (full)                                                                    \
            run_spots(R, NV, true, u, s);                                            \
        else                                                                         \
            run_spots(R, NV, false, u, s);                                           \
    }
#define DEFINE_ROWS(R) \
    DEFINE_SPOTS(R, 1) DEFINE_SPOTS(R, 2) DEFINE_SPOTS(R, 3) DEFINE_SPOTS(R, 4)

DEFINE_ROWS(1)
DEFINE_ROWS(2)
DEFINE_ROWS(4)

typedef void spots_function(const msw__direct_unit *u, const spot *s, bool full);

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
    bool full = true;

    for (size_t i = 0; i < u->height; i++)
        for (size_t j = 0; j < u->width; j += LANES) {
            const size_t left = u->width - j, lanes = left < LANES ? left : LANES;

            s[count++] = (spot){i * u->pitch + j, i * u->width + j, lanes,
                                mask_of(lanes)};
            full = full && lanes == LANES;
            if (count == most) {
                run[most - 1](u, s, full);
                count = 0;
                full = true;
            }
        }
    if (count)
        run[count - 1](u, s, full);
}
