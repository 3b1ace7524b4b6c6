/* SPDX-License-Identifier: BSD-2-Clause */
/** @file base.h  Export macro, status codes, names of all handles, context.
 *
 * Rules that hold for the whole library
 *
 * Errors       Whatever can fail returns an msw_status: MSW_OK (0) or a negative code.
 *              A failing constructor leaves *out NULL; any other failing call leaves
 *              its objects as they were unless it says otherwise. Detail of a failing
 *              constructor goes to the context's log callback. The library never
 *              aborts, prints, exits, reads the environment or changes process-wide
 *              state.
 * Ownership    _new gives one reference, _free releases one; _free(NULL) is fine. An
 *              object keeps alive what it uses: the order of freeing does not matter.
 *              Arrays, strings and option structs handed in are copied or used before
 *              the call returns, never kept, unless said otherwise.
 * Structs      Every struct that crosses the interface starts with its size. Fill it
 *              with its _init macro, then set the fields you need. 0 means the default
 *              for every field. A field that this library does not know must be 0
 *              (MSW_E_VERSION).
 * Threads      Contexts, plans, unified weights, GEMM and convolution kernels do not
 *              change after creation: use them from any number of threads. A tensor,
 *              solver, reader or writer belongs to one thread at a time. Any thread
 *              may call _ref and _free. Callbacks, but for the memory hooks, run on
 *              the thread that called the library, with no lock held.
 * Layout       Arrays are row-major float32; strides and leading dimensions count
 *              elements, not bytes. A weight tensor is seen as its GEMM view, a matrix
 *              of outputs x reduction elements (msw/plan.h).
 */
#ifndef MSW_BASE_H
#define MSW_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(MSW_STATIC)
#  ifdef MSW_BUILDING
#    define MSW_API __declspec(dllexport)
#  else
#    define MSW_API __declspec(dllimport)
#  endif
#elif defined(__GNUC__) && defined(MSW_BUILDING)
#  define MSW_API __attribute__((visibility("default")))
#else
#  define MSW_API
#endif

#ifdef __GNUC__
#  define MSW_NODISCARD __attribute__((warn_unused_result))
#else
#  define MSW_NODISCARD
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Every code, its pinned value and its text. Values never change and are
 * never reused; new ones are only appended.
 */
#define MSW_STATUS_MAP(X)                                       \
    X(OK,         0, "success")                                 \
    X(E_INVAL,   -1, "invalid argument")                        \
    X(E_NOMEM,   -2, "out of memory")                           \
    X(E_RANGE,   -3, "size or index out of range")              \
    X(E_STATE,   -4, "call not allowed in this state")          \
    X(E_VERSION, -5, "option needs a newer library")            \
    X(E_NUMERIC, -6, "NaN or infinity in input")                \
    X(E_HOST,    -7, "host callback failed")                    \
    X(E_IO,      -8, "read or write failed")                    \
    X(E_FORMAT,  -9, "not a valid container")                   \
    X(E_CORRUPT, -10, "checksum mismatch")                      \
    X(E_LIMIT,   -11, "refused by a configured limit")          \
    X(E_NOTFOUND, -12, "no such name")                          \
    X(E_UNSUPPORTED, -13, "not supported by this build or machine") \
    X(E_DIVERGED, -14, "training diverged")                     \
    X(E_EXISTS,  -15, "name already in use")

typedef enum msw_status {
#define MSW_STATUS_ENUM(name, value, text) MSW_##name = value,
    MSW_STATUS_MAP(MSW_STATUS_ENUM)
#undef MSW_STATUS_ENUM
    MSW_STATUS_FORCE_INT = 0x7fffffff
} msw_status;

/** Text for a status; never NULL, static storage. Thread-safety: safe. */
MSW_API const char *msw_status_text(msw_status status);

/** Run-time version, 0x00MMmmpp; compare with MSW_VERSION of msw/version.h.
 * Thread-safety: safe. */
MSW_API uint32_t msw_version(void);

/* Every opaque handle is named here, once, so that each header can mention the
 * others without a repeated typedef (which C99 does not allow). */

/** Settings shared by the objects made from it; its functions are below. */
typedef struct msw_context msw_context;
typedef struct msw_tensor msw_tensor;   /* msw/tensor.h */
typedef struct msw_plan msw_plan;       /* msw/plan.h */
typedef struct msw_unified msw_unified; /* msw/unified.h */
typedef struct msw_admm msw_admm;       /* msw/admm.h */
typedef struct msw_budget msw_budget;   /* msw/budget.h */
typedef struct msw_permutation msw_permutation; /* msw/permutation.h */
typedef struct msw_gemm msw_gemm;       /* msw/gemm.h */
typedef struct msw_conv msw_conv;       /* msw/conv.h */
typedef struct msw_wisdom msw_wisdom;   /* msw/wisdom.h */
typedef struct msw_reader msw_reader;   /* msw/file.h */
typedef struct msw_writer msw_writer;   /* msw/file.h */

/**
 * Memory hooks: both functions or neither. They may be called from any thread.
 * @c align is a power of two, at most 64. @c free is never called with NULL.
 */
typedef struct msw_allocator {
    void *(*alloc)(size_t size, size_t align, void *user); /**< NULL: no memory */
    void (*free)(void *ptr, size_t size, void *user); /**< size as given to alloc */
    void *user;
} msw_allocator;

/** Nanoseconds since any fixed moment, never going back. Times kernel candidates. */
typedef uint64_t msw_clock(void *user);

/** Instruction set levels, for msw_context_options.cpu_mask. */
#define MSW_CPU_C      1u /**< portable C; always allowed */
#define MSW_CPU_AVX2   2u /**< AVX2, FMA, BMI2 */
#define MSW_CPU_AVX512 4u /**< AVX2 level and AVX-512 F, BW, DQ, VL */

/** Levels of the log callback. */
#define MSW_LOG_ERROR   0
#define MSW_LOG_WARNING 1
#define MSW_LOG_INFO    2

typedef struct msw_context_options {
    size_t size;             /**< set by the init macro */
    msw_allocator allocator; /**< zeroed: malloc and free */

    /** One line of text without a line feed, valid during the call. NULL: silent.
     * Runs on the thread that called the library, which for a context shared by
     * threads means on any of them. */
    void (*log)(int level, const char *text, void *user);
    void *log_user;

    /** Bytes that objects of this context may hold together; beyond it every
     * allocation fails with MSW_E_LIMIT. 0: no limit. */
    uint64_t memory_limit;

    /** MSW_CPU_* levels to allow; 0: all that the machine has. MSW_CPU_C alone
     * runs the C reference. A level the machine lacks is ignored, and a level is
     * used only together with those below it. */
    uint32_t cpu_mask;

    /**
     * 0 or 1: everything runs on the caller's thread; no thread is started.
     * N > 1: an OpenMP team of N. Built without OpenMP: the caller's thread,
     * logged once and shown by msw_context_threads(). Not used when
     * parallel_for is set. Never changes the BLAS's own threads. At most 1024.
     */
    uint32_t threads;

    /**
     * Run task(i, arg) exactly once for every i in [0, count), in any order, on
     * any of the host's threads; return when all have ended. Return 0, or a
     * negative value when they could not all be run (MSW_E_HOST). NULL: see
     * threads. Results do not depend on the order or on the number of threads.
     */
    int (*parallel_for)(size_t count, void (*task)(size_t index, void *arg),
                        void *arg, void *user);
    void *parallel_user;

    msw_clock *clock;        /**< NULL: the system's monotonic clock */
    void *clock_user;
} msw_context_options;

MSW_API void msw_context_options_init_sized(msw_context_options *o, size_t size);
#define msw_context_options_init(o) \
    msw_context_options_init_sized((o), sizeof(*(o)))

/**
 * Make a context. @p options may be NULL for the defaults and need only live
 * until this call returns. MSW_E_INVAL: only one of the memory hooks, or too
 * many threads. Thread-safety: safe.
 */
MSW_API msw_status msw_context_new(msw_context **out,
                                   const msw_context_options *options) MSW_NODISCARD;

/** One reference more; returns @p ctx. Thread-safety: safe. */
MSW_API msw_context *msw_context_ref(msw_context *ctx);

/** Release one reference. NULL is allowed. Thread-safety: safe. */
MSW_API void msw_context_free(msw_context *ctx);

/* What is in effect, which may be less than what was asked for. The texts live
 * as long as the context. Thread-safety of all: safe. */

/** Size of the OpenMP team; 1 without one, 0 when parallel_for is set. */
MSW_API uint32_t msw_context_threads(const msw_context *ctx);
/** Highest level in use: "c", "avx2" or "avx512". */
MSW_API const char *msw_context_isa(const msw_context *ctx);
/** The linked BLAS as named at build time; "built-in" when none is usable. */
MSW_API const char *msw_context_blas(const msw_context *ctx);
/** Bytes held now by the context and the objects made from it. */
MSW_API uint64_t msw_context_memory(const msw_context *ctx);

#ifdef __cplusplus
}
#endif
#endif /* MSW_BASE_H */
