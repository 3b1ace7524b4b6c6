/* SPDX-License-Identifier: BSD-2-Clause */
/* What products with one column could take at best: the look-ups alone, as the AVX-512
 * kernel makes them, with all that they read in the first-level cache, and free weights
 * multiplied as they come from wherever they fit. Tables, output and the call come on
 * top. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#if defined __x86_64__ && defined __GNUC__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512dq,fma")))
#define INLINE static inline AVX512 __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* As in lib/gemm.h: an index has 8 rows for both groups of 4 units, 256 weights. */
enum { UNITS = 4, STRIPS = 64, INDEX = 16, ENTRIES = 16, RECORD = 64, ROWS = 8 };
enum { LOOKED_UP = 256 };

typedef struct work {
    uint32_t *index;
    float *magnitudes, *tables, *sums, *weights;
    size_t records; /* of free weights */
} work;

INLINE __m512 spread(const int WORDS, const float *m)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3);

    if (WORDS == 1)
        return _mm512_set1_ps(*m);
    return _mm512_permutexvar_ps(lane, _mm512_castps128_ps512(_mm_loadu_ps(m)));
}

/* WORDS magnitudes for the 64 weights of a unit. */
INLINE void look_up(const int WORDS, const work *w)
{
    const float *m = w->magnitudes;
    __m512 first[UNITS], second[UNITS];

    UNROLL for (int u = 0; u < UNITS; u++) {
        first[u] = _mm512_load_ps(w->tables + 2 * u * ENTRIES);
        second[u] = _mm512_load_ps(w->tables + (2 * u + 1) * ENTRIES);
    }
    for (int i = 0; i < STRIPS; i++) {
        __m512i index = _mm512_load_si512(w->index + i * INDEX);
        __m512 sum = _mm512_load_ps(w->sums + i * INDEX);

        __asm__("" : "+v"(index)); /* not loaded again for each use */
        UNROLL for (int u = 0; u < UNITS; u++, m += WORDS) {
            const __m512i of_unit = _mm512_srli_epi32(index, 8u * (unsigned)u);
            const __m512 found = _mm512_permutex2var_ps(first[u], of_unit, second[u]);

            sum = _mm512_fmadd_ps(spread(WORDS, m), found, sum);
        }
        _mm512_store_ps(w->sums + i * INDEX, sum);
    }
}

static AVX512 void look_up_8x8(const work *w)
{
    look_up(1, w);
}

static AVX512 void look_up_4x4(const work *w)
{
    look_up(4, w);
}

static AVX512 void multiply(const work *w)
{
    const float *from = w->weights;

    for (size_t i = 0; i < w->records; i++, from += RECORD) {
        float *to = w->sums + i % STRIPS * ROWS;
        __m256 even = _mm256_load_ps(to), odd = _mm256_setzero_ps();

        UNROLL for (int c = 0; c < RECORD / ROWS; c += 2) {
            even = _mm256_fmadd_ps(_mm256_load_ps(from + c * ROWS),
                                   _mm256_set1_ps(w->tables[c]), even);
            odd = _mm256_fmadd_ps(_mm256_load_ps(from + (c + 1) * ROWS),
                                  _mm256_set1_ps(w->tables[c + 1]), odd);
        }
        _mm256_store_ps(to, _mm256_add_ps(even, odd));
    }
}

typedef void loop(const work *w);

/* Seconds of one run: the least of samples of 50 us or more. */
static double time_loop(const settings *s, loop *run, const work *w)
{
    const double end = now(true) + s->seconds;
    double begin = now(false), least;
    int calls;

    for (int i = 0; i < 10; i++)
        run(w);
    least = (now(false) - begin) / 10;
    calls = 1 + (int)(50e-6 / (least + 1e-9));
    do {
        double t;

        begin = now(false);
        for (int i = 0; i < calls; i++)
            run(w);
        t = (now(false) - begin) / calls;
        least = t < least ? t : least;
    } while (now(true) < end);
    return least;
}

static void *array(size_t bytes)
{
    void *p = checked(aligned_alloc(64, (bytes + 63) / 64 * 64));

    memset(p, 0, bytes);
    return p;
}

static work make_work(size_t records)
{
    work w = {.index = array(STRIPS * INDEX * sizeof(uint32_t)),
              .magnitudes = array(STRIPS * UNITS * 4 * sizeof(float)),
              .tables = array(2 * UNITS * ENTRIES * sizeof(float)),
              .sums = array(STRIPS * INDEX * sizeof(float)),
              .weights = array((records + 1) * RECORD * sizeof(float)), .records = records};
    uint32_t seed = 7;

    for (int i = 0; i < STRIPS * INDEX; i++) /* bit 4 chooses the second group */
        w.index[i] = (random_next(&seed) & 0x0f0f0f0fu) |
                     (i % INDEX < ROWS ? 0 : 0x10101010u);
    for (int i = 0; i < 2 * UNITS * ENTRIES; i++)
        w.tables[i] = random_float(&seed);
    return w; /* magnitudes and weights are 0: the sums stay finite */
}

static void free_work(work *w)
{
    free(w->index);
    free(w->magnitudes);
    free(w->tables);
    free(w->sums);
    free(w->weights);
}

typedef struct limit {
    cell c;
    double must; /* as in goals.c */
} limit;

static const limit limits[] = {
    {{512, 512, 1, 8, 8, 0, 100}, 6.5},  {{2048, 2048, 1, 8, 8, 0, 100}, 11},
    {{4096, 4096, 1, 8, 8, 0, 100}, 18}, {{512, 512, 1, 4, 4, 0, 100}, 5},
    {{4096, 4096, 1, 4, 4, 0, 100}, 12}, {{2048, 2048, 1, 8, 8, 50, 40}, 1},
};

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma");
}

void run_limits(const settings *s, const rival *rivals, size_t count)
{
    settings here = *s;
    msw_context *ctx = make_context(s, 1);
    work w = make_work(0);
    double lookups_8x8, lookups_4x4, unified_2048 = 0;

    if (!supported())
        fail("--limits needs AVX-512");
    here.hot = true;
    lookups_8x8 = time_loop(s, look_up_8x8, &w) / STRIPS / LOOKED_UP;
    lookups_4x4 = time_loop(s, look_up_4x4, &w) / STRIPS / LOOKED_UP;
    free_work(&w);
    printf("%-14s %-5s %-9s %9s %8s %8s %9s %10s\n", "M K N", "block", "mix", "look-ups",
           "free", "msw us", "rival us", "wanted us");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const cell *c = &limits[i].c;
        const double size = (double)c->m * (double)c->k;
        const unsigned rest = 100 - c->pruned - c->unified;
        const double lookups = c->block_rows == 8 ? lookups_8x8 : lookups_4x4;
        const result r = measure_cell(ctx, &here, c, rivals, rest ? 0 : count);
        const double rival_time = rest ? unified_2048 : r.rival;

        if (c->m == 2048)
            unified_2048 = r.own;
        w = make_work((size_t)(size * rest / 100 / RECORD));
        printf("%4zu %4zu %zu    %2ux%-2u %3u/%3u/%-2u %8.2f %8.2f %8.2f "
               "%9.2f %10.2f  %s\n",
               c->m, c->k, c->n, c->block_rows, c->block_columns, c->pruned, c->unified,
               rest, 1e6 * lookups * size * c->unified / 100,
               rest ? 1e6 * time_loop(s, multiply, &w) : 0, 1e6 * r.own,
               1e6 * rival_time, 1e6 * rival_time / limits[i].must,
               rest ? "0/100/0" : r.rival_name);
        fflush(stdout);
        free_work(&w);
    }
    msw_context_free(ctx);
}

#else

void run_limits(const settings *s, const rival *rivals, size_t count)
{
    (void)s;
    (void)rivals;
    (void)count;
    fail("--limits needs AVX-512");
}

#endif
