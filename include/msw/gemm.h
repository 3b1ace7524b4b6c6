/* SPDX-License-Identifier: BSD-2-Clause */
/** @file gemm.h  Product of a unified-block matrix W (M x K) with dense activations.
 *
 * Pruned blocks are skipped; a unified block needs one multiplication per magnitude
 * and shares sums of activations between rows; free blocks run densely. Results are
 * those of float32 arithmetic: |error| <= 1e-6 sum |w x| against exact sums.
 *
 * W is the GEMM view of the plan (msw/plan.h) without its permutations: row r of Y
 * is output r of the tensor, and reduction element k of X is column k of the view in
 * the plan's reduction order. The library applies the permutations itself. A plan
 * with groups has no single matrix: use msw_conv.
 */
#ifndef MSW_GEMM_H
#define MSW_GEMM_H

#include <msw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msw_layout {
    MSW_LAYOUT_COLUMNS = 0, /**< Y = W X: X is K x N, Y is M x N, row-major */
    MSW_LAYOUT_ROWS = 1     /**< Y = X W^T: X is N x K, Y is N x M, row-major */
} msw_layout;
typedef enum msw_activation {
    MSW_ACTIVATION_NONE = 0, MSW_ACTIVATION_RELU = 1, MSW_ACTIVATION_RELU6 = 2
} msw_activation;
/** May a dense copy of W (M * K * 4 bytes) run on the BLAS where that is faster? */
typedef enum msw_fallback {
    /** As NEVER under a memory limit; else as BLAS where the copy fits max_bytes. */
    MSW_FALLBACK_DEFAULT = 0,
    MSW_FALLBACK_NEVER = 1,
    MSW_FALLBACK_BLAS = 2     /**< MSW_E_LIMIT when the copy does not fit max_bytes */
} msw_fallback;

/** Where the weights that a handle runs on are (msw_reader_gemm() in msw/file.h). */
typedef enum msw_placement {
    MSW_PLACEMENT_PACKED = 0,   /**< packed from weights */
    MSW_PLACEMENT_IN_PLACE = 1, /**< where they lie in a reader's buffer, nothing copied */
    MSW_PLACEMENT_COPIED = 2,   /**< in a copy of a file's packed form */
    MSW_PLACEMENT_REPACKED = 3  /**< packed anew: a file's packed form is for other kernels */
} msw_placement;

/** The enums above go into uint32_t. */
typedef struct msw_gemm_options {
    size_t size;
    size_t expected_n;  /**< columns per call; 0: keep packings for small and large N */
    const float *bias;  /**< one per row of W, copied; NULL: none */
    size_t bias_count;  /**< M; MSW_E_INVAL otherwise */
    uint64_t max_bytes; /**< of all packings together (MSW_E_LIMIT), not those that run
                             in place; 0: no bound */
    uint32_t activation, fallback;
    uint32_t tune;      /**< 1: time the candidates now, by the context's clock */
    uint32_t reserved;  /**< 0 */
    msw_wisdom *wisdom; /**< times of earlier tuning (msw/wisdom.h); NULL: none */
} msw_gemm_options;

/** One product: Y = activation(W X + bias + beta Y). Leading dimensions in elements. */
typedef struct msw_gemm_call {
    size_t size;
    const float *x;
    size_t ldx;         /**< at least N (columns) or K (rows) */
    float *y;           /**< must not overlap x */
    size_t ldy;         /**< at least N (columns) or M (rows) */
    size_t n;           /**< columns (or rows) of activations; 0 is fine */
    void *workspace;    /**< msw_gemm_workspace() bytes, 64-byte aligned; NULL: the
                             context's allocator */
    size_t workspace_bytes;
    uint32_t layout;    /**< msw_layout */
    uint32_t beta;      /**< 0: y is overwritten, also NaN; 1: added to */
} msw_gemm_call;

/** The texts live as long as the handle. */
typedef struct msw_gemm_info {
    size_t size;
    const char *kernel; /**< "lut_wide avx512", ..., "blas" */
    const char *reason; /**< why it was chosen */
    const char *isa;
    uint64_t bytes_packed, bytes_dense; /**< held; bytes_dense: the fallback's copy */
    double predicted;       /**< seconds per call by the cost model; 0: not known */
    double measured;        /**< the same as tuned; 0: not tuned */
    double dense;           /**< measured for the BLAS; 0: not tuned */
    uint32_t deterministic; /**< 1: bitwise the same for any thread count or hook */
    uint32_t reserved;
    uint64_t bytes_mapped;  /**< used of a reader's buffer; not part of bytes_packed */
    const char *placement_reason; /**< why the weights are there */
    uint32_t placement;     /**< msw_placement */
    uint32_t reserved2;
} msw_gemm_info;

MSW_API void msw_gemm_options_init_sized(msw_gemm_options *o, size_t size);
MSW_API void msw_gemm_call_init_sized(msw_gemm_call *c, size_t size);
MSW_API void msw_gemm_info_init_sized(msw_gemm_info *i, size_t size);
#define msw_gemm_options_init(o) msw_gemm_options_init_sized((o), sizeof(*(o)))
#define msw_gemm_call_init(c) msw_gemm_call_init_sized((c), sizeof(*(c)))
#define msw_gemm_info_init(i) msw_gemm_info_init_sized((i), sizeof(*(i)))

/**
 * Pack @p u, which is not kept. @p options NULL: the defaults. MSW_E_UNSUPPORTED:
 * the plan has groups. Thread-safety: safe.
 */
MSW_API msw_status msw_gemm_new(msw_gemm **out, msw_context *ctx, const msw_unified *u,
                                const msw_gemm_options *options) MSW_NODISCARD;

/** One reference more; returns @p gemm. Thread-safety: safe. */
MSW_API msw_gemm *msw_gemm_ref(msw_gemm *gemm);
/** Release one reference. NULL is allowed. Thread-safety: safe. */
MSW_API void msw_gemm_free(msw_gemm *gemm);

/**
 * One product. No byte outside the arrays is read or written. MSW_E_RANGE: a
 * leading dimension or the workspace is too small, or a size overflows.
 * MSW_E_INVAL: a NULL array, a misaligned workspace. Allocates only when workspace
 * is NULL. Thread-safety: safe, each call with its own y and workspace.
 */
MSW_API msw_status msw_gemm_run(const msw_gemm *gemm,
                                const msw_gemm_call *call) MSW_NODISCARD;

/** Bytes that suffice for @p n columns in any layout; SIZE_MAX: too many.
 * Thread-safety: safe. */
MSW_API size_t msw_gemm_workspace(const msw_gemm *gemm, size_t n);

/** What runs for @p n columns, and why. Thread-safety: safe. */
MSW_API msw_status msw_gemm_get_info(msw_gemm_info *out, const msw_gemm *gemm,
                                     size_t n) MSW_NODISCARD;

#ifdef __cplusplus
}
#endif
#endif /* MSW_GEMM_H */
