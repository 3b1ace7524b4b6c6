/* SPDX-License-Identifier: BSD-2-Clause */
/* What gemm.c, the packers and the kernels of each instruction set share. */
#ifndef MSW_LIB_GEMM_H
#define MSW_LIB_GEMM_H

#include "buffer.h"
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

/* A packing is W in the order in which a kernel consumes it. W is cut into chunks of rows;
 * a product goes chunk by chunk and panel by panel, of up to `width` columns of X. For
 * each stage of a chunk, which is a set of columns of W whose tables fit the first-level
 * cache, the kernel
 *   - copies the rows of X that the stage uses into the panel buffer, zeros where there is
 *     no row for a place (it may leave out those that only look-ups use);
 *   - builds tables: for each group of 4 rows of X, all 16 signed sums, in the order of
 *     the bits of the index, a set bit meaning minus;
 *   - runs the code of the stage: for each strip of rows of W that has something to do, a
 *     header and records. Sums are kept in registers, and between stages in a buffer.
 *
 * A unified block is then one look-up and one multiplication for 4 weights. Where too few
 * unified rows use a table, it is not built, and the blocks are spelled out as free ones.
 * Pruned blocks leave nothing behind, nor does a unified block of magnitude 0.
 *
 * The wide packing (pack_wide.c) is for kernels whose vectors run along the columns of X
 *
 * A strip is up to 8 rows of one block row, a slice up to 16 columns of one block column;
 * strips of equal counts stand together (the processor then predicts their loops).
 *
 *   strip number | MSW__STRIP_FIRST | MSW__STRIP_LAST
 *   first row of the view
 *   rows in use << 24 | free records << 12 | table records
 *   table record    magnitude, place of its first table unless the strip has a record for
 *                   each table of the stage, one word per group: the index for row r of
 *                   the strip in bits 4r to 4r + 3
 *   free record     place of its first row of the panel buffer, which ascend; `columns`
 *                   times `strip_rows` weights, column by column
 *
 * Places are byte offsets for panels of full width.
 *
 * The narrow packing (pack_narrow.c) is for few columns: vectors run along the rows of W
 *
 * A strip is up to 8 rows, one in each lane: `bands` block rows, row r of block row b in
 * lane b + bands r. A unit is 8 columns, two groups; where `paired`, both lie in one block
 * column. A stage is up to 4 units, and its tables live in registers; the sums of all
 * strips of a chunk stay in the buffer until the last stage. The code of a
 * stage, of which a chunk has at least one:
 *
 *   number of quads; of look-ups for each unit; of free records for each unit
 *   quads           strips; for each 64 bytes; for each the magnitudes of all units. Byte j
 *                   of a row's 4 bytes is its index for unit j; the 8 rows for the first
 *                   groups, then for the second ones, with bit 4 set
 *   look-ups        strips; for each magnitudes; for each a byte for each row: the index in
 *                   the first group (low bits) and in the second
 *   free records    strips; for each 8 weights for each column of the unit
 *
 * Look-ups and free records are those of the first unit, then those of the next.
 *
 * Strips are numbers in the chunk, and ascend. Before the 64 bytes of quads, and before free
 * weights, there are zeros up to a multiple of 64 bytes from the first word of all code.
 * Magnitudes are one per band and, unless paired, all for the first group come first. A
 * panel buffer has, unit by unit, 8 rows of X for each column. */
enum { MSW__MAX_STRIP = 16, MSW__MAX_SLICE = 16, MSW__GROUP = 4, MSW__ENTRIES = 16 };
enum { MSW__WIDE_STRIP = 8, MSW__WIDE_HEADER = 3, MSW__MAX_RECORDS = 4095 };
enum { MSW__NARROW_LANES = 8, MSW__UNIT = 8, MSW__UNITS = 4, MSW__UNIT_GROUPS = 2 };
enum { MSW__SLICE_NO_PANEL = 0x8000, MSW__SLICE_MASK = 0x7fff };
/* Versions of the two packings as files have them (doc/format.md): a change of what is
 * described above takes a new one, and check_wide.c or check_narrow.c to match. */
enum { MSW__WIDE_LAYOUT = 2, MSW__NARROW_LAYOUT = 2 };
#define MSW__STRIP_FIRST 0x80000000u
#define MSW__STRIP_LAST  0x40000000u
#define MSW__STRIP_MASK  0x3fffffffu
#define MSW__NO_COLUMN UINT32_MAX

/* Words of the narrow packing. */
enum {
    MSW__QUADS, MSW__LOOKUPS_OF, MSW__FREE_OF = MSW__LOOKUPS_OF + MSW__UNITS,
    MSW__NARROW_HEADER = MSW__FREE_OF + MSW__UNITS
};
enum {
    MSW__QUAD_INDEX = MSW__UNIT_GROUPS * MSW__NARROW_LANES,
    MSW__LOOKUP_INDEX = MSW__NARROW_LANES / 4,
    MSW__FREE_WEIGHTS = MSW__UNIT * MSW__NARROW_LANES,
    MSW__NARROW_LINE = 16
};

static inline size_t msw__narrow_align(size_t place)
{
    return (place + MSW__NARROW_LINE - 1) / MSW__NARROW_LINE * MSW__NARROW_LINE;
}

static inline size_t msw__narrow_panel_bytes(size_t width)
{
    return MSW__UNITS * MSW__UNIT * width * sizeof(float);
}

/* Floats for the sums of a column: whole vectors of 16, and one more, so that those of all
 * columns do not compete for the same places of the cache. */
static inline size_t msw__narrow_sum_lanes(size_t strips, size_t lanes)
{
    return msw__narrow_align(strips * lanes) + MSW__NARROW_LINE;
}

/* The cost model: nanoseconds. */
typedef struct msw__gemm_cost {
    double lookup, product, record, visit; /* of these counts of a packing (below), */
    double build, load, store;             /* of a table, a row of x, a row of y */
    double panel;
    double unpaired; /* narrow: more for a look-up of two blocks */
} msw__gemm_cost;

/* What a kernel wants of its packing. */
typedef struct msw__gemm_traits {
    uint32_t width;       /* columns of X in a panel */
    uint32_t strip_rows;  /* at most */
    uint32_t table_rows;  /* unified rows from which on a table of one group pays */
    size_t stage_bytes;   /* wide: tables and panel buffer of a stage */

    msw__gemm_cost cost[3]; /* of a full panel, and of one up to a half, a quarter in use */
} msw__gemm_traits;

/* These two lie in files as they are in memory. */
typedef struct msw__stage {
    uint64_t column;                  /* its first entry of msw__packing.column, */
    uint64_t table;                   /* ... of msw__packing.table, */
    uint64_t code;                    /* ... of msw__packing.code */
    uint32_t slices, tables, strips;  /* slices or units; those that have tables; wide:
                                         strips with something to do */
    uint32_t finished;                /* wide: of these, those that do not come again;
                                         narrow: 0 */
} msw__stage;

typedef struct msw__chunk { /* rows of W that are computed together */
    uint64_t stage, stage_count;
    uint64_t first_row, row_count; /* of the view */
    uint32_t first_strip, strip_count;
} msw__chunk;

typedef struct msw__packing {
    uint32_t width, strip_rows;
    uint32_t columns, groups;  /* of a slice or unit */
    uint32_t span;             /* narrow: no strip lies across a multiple of so many rows */
    uint32_t bands;            /* ... block rows in a strip, */
    bool paired;               /* the groups of a unit share a block, */
    bool skips;                /* some record has lanes of pruned blocks */
    bool in_order;             /* column[] of a slice or unit ascends by 1; narrow: while
                                  there are any */
    uint32_t lane[MSW__NARROW_LANES]; /* narrow: lane of each row of a strip */
    bool borrowed;             /* the arrays are somebody else's, and not written */
    msw__chunk *chunks;
    msw__stage *stages;
    uint32_t *column;          /* row of x for each row of the panel buffer */
    uint16_t *table;           /* which slices or units of the stage have tables; wide:
                                  | MSW__SLICE_NO_PANEL where only look-ups use it */
    uint32_t *code;
    size_t chunk_count, stage_count, column_count, table_count, code_count;
    size_t table_bytes, panel_bytes, sum_bytes; /* of a slab, for full width */
    uint64_t lookups, products; /* for one column of X; narrow: blocks of 8 x 8 */
    uint64_t records, visits;   /* visits: strips, once for each stage that uses them;
                                   narrow: stages */
} msw__packing;

msw_status msw__wide_pack(msw__packing *out, msw_context *ctx, const msw_unified *u,
                          const msw__gemm_traits *traits) MSW_NODISCARD;
msw_status msw__narrow_pack(msw__packing *out, msw_context *ctx, const msw_unified *u,
                            const msw__gemm_traits *traits) MSW_NODISCARD;
void msw__packing_free(msw__packing *w, msw_context *ctx);
uint64_t msw__packing_bytes(const msw__packing *w);

static inline size_t msw__packing_slab(const msw__packing *w)
{
    return w->table_bytes + w->panel_bytes + w->sum_bytes;
}

/* Chunk @p chunk of the panel that begins at column @p column. */
typedef void msw__gemm_kernel(const msw__packing *w, size_t chunk, const msw__product *p,
                              size_t column, char *slab);
msw__gemm_kernel msw__wide_c, msw__narrow_c;

/* gemm_narrow_c.c: one panel of the narrow packing */
typedef struct msw__narrow_run {
    const msw__packing *w;
    const msw__chunk *chunk;
    const msw__product *p;
    size_t column, width;   /* of the panel, how many are in use, */
    size_t columns;         /* and how many there are in its buffers */
    size_t lanes;           /* floats for each strip */
    size_t next;            /* ... and from the sums of one column to those of the next */
    float *panel, *sums;
} msw__narrow_run;

/* How many the strip has that begins at this row of the view. */
static inline uint32_t msw__narrow_rows(const msw__packing *w, const msw__chunk *c,
                                        uint32_t row)
{
    const uint32_t left = (uint32_t)(c->first_row + c->row_count) - row;
    const uint32_t span = w->span == w->strip_rows ? w->span : w->span - row % w->span;
    const uint32_t rows = w->strip_rows < span ? w->strip_rows : span;

    return rows < left ? rows : left;
}

msw__narrow_run msw__narrow_begin(const msw__packing *w, size_t chunk, const msw__product *p,
                                  size_t column, size_t columns, size_t lanes, char *slab);
/* A stage without tables, lane by lane: lanes of pruned blocks are left out, not multiplied
 * by zero, so that NaN and infinities go nowhere else. Adds to the first lanes of sums. */
void msw__narrow_stage_c(const msw__narrow_run *r, const msw__stage *s);
/* A finished strip: the first lanes of sums, for each column in use. */
void msw__narrow_store(const msw__narrow_run *r, uint32_t row, uint32_t rows,
                       const float *sums);

/* What can run a product. Those before the BLAS have a packing. */
typedef enum msw__gemm_kind {
    MSW__GEMM_WIDE, MSW__GEMM_NARROW, MSW__GEMM_BLAS, MSW__GEMM_KINDS
} msw__gemm_kind;

/* The kernels of a context: the best of each class that its processor levels allow. */
typedef struct msw__gemm_table {
    msw__gemm_kernel *kernel[MSW__GEMM_BLAS];  /* NULL: none of this kind */
    const msw__gemm_traits *traits[MSW__GEMM_BLAS];
    double call;               /* the cost model: what any of them adds to a call */
} msw__gemm_table;

void msw__gemm_table_init(msw__gemm_table *t, uint32_t cpu);

/* What a handle is made of: weights, or packings that are there. */
typedef struct msw__weights {
    const msw_plan *plan;
    const msw_unified *u;      /* NULL: only packings, and no dense copy then */
    const msw__packing *packs; /* MSW__GEMM_BLAS of each group, checked and borrowed;
                                  NULL: none */
    msw__buffer *buffer;       /* where these are: the handle takes a reference */
    const uint8_t *classes;    /* without u, where there is wisdom */
    uint32_t placement;        /* as in msw_gemm_info */
    const char *placement_reason;
} msw__weights;

msw__weights msw__weights_of(const msw_unified *u);

/* The handle */

/* Times in seconds as tuned, for calls of about n columns. */
typedef struct msw__gemm_timing {
    size_t n;
    double seconds[MSW__GEMM_KINDS]; /* 0: not measured */
} msw__gemm_timing;

enum { MSW__TIMINGS = 4 };

struct msw_gemm {
    msw__refs refs;
    msw_context *ctx;
    size_t rows, columns;
    float *bias;    /* in view order, MSW__MAX_STRIP zeros at the end */
    uint32_t *row;  /* row of y for each row of the view; NULL: the same */
    float low, high;
    msw__gemm_table table;
    msw__packing packs[MSW__GEMM_BLAS]; /* without chunks: not kept */
    msw__buffer *buffer;         /* where borrowed packings are */
    uint32_t placement;
    const char *placement_reason;
    float *dense;   /* for the BLAS, as the tensor's view without permutations; or NULL */
    bool biased;    /* bias holds more than zeros */
    bool gathers;   /* X is not a matrix: other than the wide kernels need a copy */
    bool tuned;
    msw__gemm_timing timings[MSW__TIMINGS];
    size_t timing_count;
    size_t expected_n;      /* 0: any number may come */
    msw__gemm_kind expected; /* what runs for it */
};

typedef struct msw__gemm_choice_made {
    msw__gemm_kind kind;
    const char *reason;
    double predicted, measured, dense; /* as in msw_gemm_info */
} msw__gemm_choice_made;

/* gemm.c. Where @p gathers, X is mostly going to be a msw__gather. With a @p cpu that is
 * not the context's, what it packs is for another machine, and cannot be run. */
msw_status msw__gemm_new(msw_gemm **out, msw_context *ctx, const msw__weights *w,
                         const msw_gemm_options *options, bool gathers,
                         uint32_t cpu) MSW_NODISCARD;
msw_status msw__gemm_take_options(msw_gemm_options *o, const msw_gemm_options *options,
                                  size_t rows) MSW_NODISCARD;
/* The call is checked. */
msw_status msw__gemm_run_as(const msw_gemm *g, msw__gemm_kind kind,
                            const msw_gemm_call *c) MSW_NODISCARD;

/* The same with the wide kernel, on such an X; only y and the workspace of the call count,
 * and its layout is by columns. */
msw_status msw__gemm_run_gathered(const msw_gemm *g, const msw__gather *x,
                                  const msw_gemm_call *c) MSW_NODISCARD;

/* gemm_dense.c: a handle's dense copy (NULL where there is none), and the product by it */
msw_status msw__gemm_make_dense(msw_gemm *g, const msw_unified *u) MSW_NODISCARD;
void msw__gemm_drop_dense(msw_gemm *g);
void msw__gemm_run_dense(const msw_gemm *g, const msw_gemm_call *c);

/* gemm_choice.c */

/* When the handle is made: the dense copy where it is wanted, and tuning. */
msw_status msw__gemm_choose(msw_gemm *g, const msw__weights *w,
                            const msw_gemm_options *o) MSW_NODISCARD;
/* What runs for n columns, and why. */
msw__gemm_kind msw__gemm_kind_for(const msw_gemm *g, size_t n);
msw__gemm_choice_made msw__gemm_choice(const msw_gemm *g, size_t n);
/* Seconds by the cost model, of a kernel that there is. */
double msw__gemm_predict(const msw_gemm *g, msw__gemm_kind kind, size_t n);
/* Is there a packing, or a dense copy? */
bool msw__gemm_has(const msw_gemm *g, msw__gemm_kind kind);
const char *msw__gemm_kernel_name(const msw_gemm *g, msw__gemm_kind kind);
/* What it holds of its own, and what it uses of a buffer. */
uint64_t msw__gemm_packed_bytes(const msw_gemm *g);
uint64_t msw__gemm_borrowed_bytes(const msw_gemm *g);

/* gemm_tune.c: fill in a timing for n columns, by measuring what the handle has or from
 * memory (false: not known). */
msw_status msw__gemm_time(const msw_gemm *g, msw__gemm_timing *t, size_t n) MSW_NODISCARD;
bool msw__gemm_recall(msw__gemm_timing *t, const msw_wisdom *wisdom, const msw__weights *w,
                      size_t n);
msw_status msw__gemm_remember(const msw__gemm_timing *t, msw_wisdom *wisdom,
                              const msw__weights *w) MSW_NODISCARD;

#endif /* MSW_LIB_GEMM_H */
