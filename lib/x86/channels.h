/* SPDX-License-Identifier: BSD-2-Clause */
/* The depthwise kernel (../depthwise.h), for the vectors that taps.h wants, and
 * DEPTHWISE_KERNEL, its name. */

/* NP pixels, of the channels from c on. */
INLINE void run_pixels(const int NP, const msw__depthwise_unit *u, size_t pixel, size_t c,
                       size_t lanes)
{
    const float *x = u->x + pixel * u->step_x + c;
    float *y = u->y + pixel * u->step_y + c;
    const mask use = mask_of(lanes);
    const vector bias = load_mask(u->bias + c, use);
    vector sum[8];

    UNROLL for (int i = 0; i < NP; i++)
        sum[i] = zero_v();
    for (size_t h = 0; h < u->count_h; h++) {
        const float *w = u->weights + h * u->row + c, *from = x + h * u->step_h;

        for (size_t v = 0; v < u->count_w; v++, w += u->channels, from += u->step_w) {
            const vector wv = load_mask(w, use);
            UNROLL for (int i = 0; i < NP; i++)
                sum[i] = fma_v(wv, load_mask(from + (size_t)i * u->step_x, use), sum[i]);
        }
    }
    UNROLL for (int i = 0; i < NP; i++, y += u->step_y) {
        vector value = add_v(sum[i], bias);

        if (u->beta)
            value = add_v(value, load_mask(y, use));
        store_lanes(y, min_v(set1_v(u->high), max_v(set1_v(u->low), value)), lanes);
    }
}

void DEPTHWISE_KERNEL(const msw__depthwise_unit *u)
{
    enum { MANY = 8, SOME = 2 };

    for (size_t c = 0; c < u->channels; c += LANES) {
        const size_t left = u->channels - c, lanes = left < LANES ? left : LANES;
        size_t i = 0;

        for (; i + MANY <= u->pixels; i += MANY)
            run_pixels(MANY, u, i, c, lanes);
        for (; i + SOME <= u->pixels; i += SOME)
            run_pixels(SOME, u, i, c, lanes);
        for (; i < u->pixels; i++)
            run_pixels(1, u, i, c, lanes);
    }
}
