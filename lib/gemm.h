/* SPDX-License-Identifier: BSD-2-Clause */
/* What gemm.c, the packers and the kernels of each instruction set share. */
#ifndef MSW_LIB_GEMM_H
#define MSW_LIB_GEMM_H

#include "internal.h"

/* X where a convolution has it: not a matrix, but its rows anywhere, and its columns in
 * runs. */
typedef struct msw__gather {
    const float *x;
    const size_t *row;  /* of each row of X: where its column 0 is, from x */
    size_t run, pitch;  /* so many columns lie together; the next run begins `pitch` on */
    size_t runs, image; /* so many runs are an image; the next one begins `image` on */
} msw__gather;

/* Where column n is, from column 0. */
static inline size_t msw__gather_column(const msw__gather *g, size_t n)
{
    const size_t run = n / g->run;

    return run / g->runs * g->image + run % g->runs * g->pitch + n % g->run;
}

/* One product, checked, as the kernels see it. Rows of W are in the order of the plan's
 * view. Either the columns of x and y lie together (x_column == y_column == 1) or, across,
 * the rows do (x_row == y_row == 1). */
typedef struct msw__product {
    const float *x;
    size_t x_row, x_column;
    float *y;
    size_t y_row, y_column;
    size_t n;
    const float *bias;    /* in view order, with MSW__MAX_STRIP zeros at the end */
    const uint32_t *rows; /* row of y for each row of the view; NULL: the same */
    float low, high;      /* the activation as a clamp: -inf, inf when there is none */
    bool beta;
    bool across;          /* the rows lie together, not the columns */
    const msw__gather *gather; /* X, instead of x; only for the wide kernels; or NULL */
} msw__product;

/* The wide packing
 *
 * W is cut into strips of up to 8 rows that lie in one block row, and slices of up to 16
 * columns that lie in one block column. A product goes panel by panel of `width` columns
 * of X. For each stage, which is a set of slices that fits the first-level cache, it
 *   - copies the rows of X that the stage uses into the panel buffer, zeros where a slice
 *     is ragged;
 *   - builds tables: for each group of 4 rows of X, all 16 signed sums, in the order of
 *     the bits of the index, a set bit meaning minus;
 *   - runs the strips: sums are kept in registers, and between stages in a buffer.
 *
 * A unified block is then one look-up and one multiplication for 4 weights. A slice that
 * too few unified rows use gets no table: its unified blocks are spelled out as free ones.
 * Pruned blocks leave nothing behind, nor does a unified block of magnitude 0.
 *
 * The code of a stage is a sequence of 32-bit words, for each strip that has something to
 * do, those of equal counts together (the processor then predicts their loops):
 *
 *   strip number | MSW__STRIP_FIRST | MSW__STRIP_LAST
 *   first row of the view
 *   rows in use << 24 | free records << 12 | table records
 *   table record    magnitude, place of its first table, one word per group: the index
 *                   for row r of the strip in bits 4r to 4r + 3
 *   free record     place of its first row of the panel buffer, `columns` times
 *                   `strip_rows` weights, column by column
 *
 * Places are byte offsets for panels of full width. */
enum { MSW__MAX_STRIP = 8, MSW__MAX_SLICE = 16, MSW__GROUP = 4, MSW__ENTRIES = 16 };
enum { MSW__HEADER_WORDS = 3, MSW__MAX_RECORDS = 4095 };
#define MSW__STRIP_FIRST 0x80000000u
#define MSW__STRIP_LAST  0x40000000u
#define MSW__STRIP_MASK  0x3fffffffu
#define MSW__NO_COLUMN UINT32_MAX

/* What a kernel wants of its packing. */
typedef struct msw__wide_traits {
    uint32_t width;       /* columns of X in a panel */
    uint32_t strip_rows;  /* at most */
    uint32_t sum_rows;    /* at least this many rows of sums are kept for a strip */
    uint32_t table_rows;  /* unified rows from which on a table of one group pays */
    size_t stage_bytes;   /* tables and panel buffer of a stage */

    /* The cost model: nanoseconds for a panel of full width, of one look-up, one
     * product, one table of a group, loading a row of x, storing a row of y; and the
     * share of it for a panel of which a quarter or half is in use. */
    double lookup, product, build, load, store, quarter, half;
} msw__wide_traits;

typedef struct msw__stage {
    size_t column;                    /* its first entry of msw__wide.column, */
    size_t table;                     /* ... of msw__wide.table, */
    size_t code;                      /* ... of msw__wide.code */
    uint32_t slices, tables, strips;  /* tables: slices that have them */
} msw__stage;

typedef struct msw__chunk { /* rows of W that are computed together */
    size_t stage, stage_count;
    uint32_t first_strip, strip_count;
} msw__chunk;

typedef struct msw__wide {
    uint32_t width, strip_rows;
    uint32_t columns, groups;  /* of a slice */
    msw__chunk *chunks;
    msw__stage *stages;
    uint32_t *column;          /* row of x for each row of the panel buffer */
    uint16_t *table;           /* which slices of the stage have tables */
    uint32_t *code;
    size_t chunk_count, stage_count, column_count, table_count, code_count;
    size_t table_bytes, panel_bytes, sum_bytes; /* of a slab, for full width */
    uint64_t lookups, products;                 /* for one column of X */
} msw__wide;

msw_status msw__wide_pack(msw__wide *out, msw_context *ctx, const msw_unified *u,
                          const msw__wide_traits *traits) MSW_NODISCARD;
void msw__wide_free(msw__wide *w, msw_context *ctx);
uint64_t msw__wide_bytes(const msw__wide *w);

static inline size_t msw__wide_slab(const msw__wide *w)
{
    return w->table_bytes + w->panel_bytes + w->sum_bytes;
}

/* Chunk @p chunk of the panel that begins at column @p column. */
typedef void msw__wide_kernel(const msw__wide *w, size_t chunk, const msw__product *p,
                              size_t column, char *slab);
msw__wide_kernel msw__wide_c;

/* What can run a product. Those before the BLAS have a packing. */
typedef enum msw__gemm_kind {
    MSW__GEMM_WIDE, MSW__GEMM_NARROW, MSW__GEMM_BLAS, MSW__GEMM_KINDS
} msw__gemm_kind;

/* The kernels of a context: the best of each class that its processor levels allow. */
typedef struct msw__gemm_table {
    msw__wide_kernel *kernel[MSW__GEMM_BLAS];  /* NULL: none of this kind */
    const msw__wide_traits *traits[MSW__GEMM_BLAS];
    double blas_call, blas_weight, blas; /* nanoseconds: of a call, of reading a weight,
                                            of a product in one column */
} msw__gemm_table;

void msw__gemm_table_init(msw__gemm_table *t, uint32_t cpu);

/* The handle */

/* Times in seconds as tuned, for calls of about n columns. */
typedef struct msw__gemm_timing {
    size_t n;
    double seconds[MSW__GEMM_KINDS]; /* of those that there are */
} msw__gemm_timing;

enum { MSW__TIMINGS = 5 };

struct msw_gemm {
    msw__refs refs;
    msw_context *ctx;
    size_t rows, columns;
    float *bias;    /* in view order, MSW__MAX_STRIP zeros at the end */
    uint32_t *row;  /* row of y for each row of the view; NULL: the same */
    float low, high;
    msw__gemm_table table;
    msw__wide packs[MSW__GEMM_BLAS]; /* without chunks: not kept */
    float *dense;   /* for the BLAS, as the tensor's view without permutations; or NULL */
    bool tuned;
    msw__gemm_timing timings[MSW__TIMINGS];
    size_t timing_count;
};

typedef struct msw__gemm_choice_made {
    msw__gemm_kind kind;
    const char *reason;
    double predicted, measured, dense; /* as in msw_gemm_info */
} msw__gemm_choice_made;

/* gemm.c. The call is checked. */
msw_status msw__gemm_run_as(const msw_gemm *g, msw__gemm_kind kind,
                            const msw_gemm_call *c) MSW_NODISCARD;

/* The same with the wide kernel, on such an X; only y and the workspace of the call count,
 * and its layout is by columns. */
msw_status msw__gemm_run_gathered(const msw_gemm *g, const msw__gather *x,
                                  const msw_gemm_call *c) MSW_NODISCARD;

/* gemm_choice.c */

/* When the handle is made: the dense copy where it is wanted, and tuning. */
msw_status msw__gemm_choose(msw_gemm *g, const msw_unified *u,
                            const msw_gemm_options *o) MSW_NODISCARD;
/* What runs for n columns. */
msw__gemm_choice_made msw__gemm_choice(const msw_gemm *g, size_t n);
/* Is there a packing, or a dense copy? */
bool msw__gemm_has(const msw_gemm *g, msw__gemm_kind kind);
const char *msw__gemm_kernel_name(const msw_gemm *g, msw__gemm_kind kind);
uint64_t msw__gemm_packed_bytes(const msw_gemm *g);

#endif /* MSW_LIB_GEMM_H */
