/* SPDX-License-Identifier: BSD-2-Clause */
/** @file file.h  One file holds a whole model.
 *
 * A container of named unified tensors, named plain tensors (biases, batch norm,
 * whatever the host needs) and host metadata (key and value), all of it listable.
 * Little-endian on every machine, versioned, every byte covered by a CRC-32C or
 * checked; doc/format.md has it byte for byte. A checksum is no authentication.
 *
 * Names and keys are UTF-8 texts of 1 to 1023 bytes without control characters,
 * unique among the tensors or among the keys. They are never used as paths.
 *
 * A writer collects; nothing is written before msw_writer_save() or one of its
 * siblings. The same contents give the same bytes, always. A reader checks header
 * and index on opening and each tensor in full when it is first asked for: nothing
 * is allocated on the word of an unchecked number, and no file can make the library
 * do worse than return MSW_E_FORMAT, MSW_E_CORRUPT, MSW_E_UNSUPPORTED (a later
 * version's), MSW_E_LIMIT or MSW_E_NOMEM.
 *
 * A reader or writer belongs to one thread at a time.
 */
#ifndef MSW_FILE_H
#define MSW_FILE_H

#include <msw/base.h>
#include <msw/conv.h>
#include <msw/gemm.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How floats are stored. The last two, which round, are for MSW_ENCODING_TRANSPORT. */
typedef enum msw_dtype {
    MSW_DTYPE_F32 = 0,
    MSW_DTYPE_F16 = 1,
    MSW_DTYPE_UNIFORM = 2, /**< the nearest multiple of a step, up to 32767 times */
    MSW_DTYPE_LOG = 3      /**< an f32 of which only some bits of the mantissa are kept */
} msw_dtype;

/** What a payload is made for. */
typedef enum msw_encoding {
    MSW_ENCODING_PLAIN = 0,    /**< quick to load: floats and bits as they are */
    MSW_ENCODING_TRANSPORT = 1, /**< small: coded by an adaptive range coder, without
                                  loss beyond what the msw_dtype rounds */
    MSW_ENCODING_PACKED = 2    /**< ready to run: as the kernels of one kind of processor
                                  read it, and back to weights without loss. Unified
                                  weights, all f32 */
} msw_encoding;

typedef enum msw_entry_kind { MSW_ENTRY_UNIFIED = 0, MSW_ENTRY_TENSOR = 1 } msw_entry_kind;

/**
 * The host's own storage instead of a file. Each function returns the number of
 * bytes moved, at least 1 and possibly fewer than asked for, or a negative value
 * on error (MSW_E_IO); a read may return 0 at the end. More than asked for is
 * MSW_E_HOST.
 */
typedef struct msw_io {
    size_t size;
    void *user;
    int64_t (*read_at)(uint64_t offset, void *data, size_t size, void *user);
    uint64_t (*length)(void *user);          /**< bytes that can be read */
    int64_t (*write)(const void *data, size_t size, void *user); /**< in order */
} msw_io;

typedef struct msw_store_options {
    size_t size;
    uint32_t magnitudes;   /**< msw_dtype of the magnitudes of unified blocks */
    uint32_t free_weights; /**< msw_dtype of free weights, or of a plain tensor */
    uint32_t encoding;     /**< msw_encoding */

    /** For MSW_DTYPE_UNIFORM either a step > 0 (kept as an f32) or the bits, 2 to 15,
     * of the largest multiple, a free weight's sign included: the step is then what
     * just reaches the largest value. For MSW_DTYPE_LOG bits of the mantissa, 0 to 7:
     * the relative error is at most 2^-(bits + 1). 0 otherwise. */
    uint32_t magnitude_bits, free_bits;
    uint32_t reserved;     /**< 0 */
    double magnitude_step, free_step;

    /** For MSW_ENCODING_PACKED: columns per call, as in msw_gemm_options; 0: any. */
    size_t expected_n;
    /** ... and the processors it is for, the highest of these MSW_CPU_* levels; 0: such
     * as this one. */
    uint32_t cpu;
    uint32_t reserved2;    /**< 0 */
} msw_store_options;

/** What storing in fewer bits changed. */
typedef struct msw_store_info {
    size_t size;
    uint64_t values, changed;  /**< floats stored, and those that changed */
    uint64_t underflows;       /**< changed to zero */
    double max_error;          /**< largest |stored - given| */
    double relative_error;     /**< ||stored - given|| / ||given|| over all weights */
    uint64_t bytes;            /**< of the payload */
} msw_store_info;

/** The texts live as long as the reader. */
typedef struct msw_entry {
    size_t size;
    const char *name;
    size_t shape[4];             /**< unused entries 0 */
    uint64_t bytes;              /**< of its payload in the file */
    uint32_t kind;               /**< msw_entry_kind */
    uint32_t rank;
    uint32_t magnitudes;         /**< msw_dtype */
    uint32_t free_weights;       /**< msw_dtype; of a plain tensor: all its values */
    uint32_t block_rows, block_columns; /**< 0 for a plain tensor */
    uint32_t encoding;           /**< msw_encoding */
    uint32_t magnitude_bits, free_bits; /**< of MSW_DTYPE_LOG */
    double magnitude_step, free_step;   /**< of MSW_DTYPE_UNIFORM */
    /** Of MSW_ENCODING_PACKED, 0 where there is none: packings for many and for few
     * columns. Their layout: version, columns of a panel << 16, rows of a strip << 24. */
    uint32_t wide_layout, narrow_layout;
    uint32_t merge_levels; /**< the highest level of its nodes (msw/unified.h); 0: none of
                                its blocks is merged */
    uint32_t reserved;     /**< 0 */
} msw_entry;

typedef struct msw_reader_options {
    size_t size;
    /** For msw_reader_open_buffer(): called once when the buffer is no longer used,
     * neither by the reader nor by handles that run from it, by whichever thread frees
     * the last of them. NULL: the host knows by itself. */
    void (*release)(const void *data, void *user);
    void *release_user;
    /** Not 0: skip the checksums of tensors, because the host knows that the file is
     * as it was written. Everything else is checked all the same, so that damage gives
     * other weights or an error, and nothing worse. */
    uint32_t trusted;
    uint32_t reserved; /**< 0 */
} msw_reader_options;

MSW_API void msw_io_init_sized(msw_io *io, size_t size);
MSW_API void msw_store_options_init_sized(msw_store_options *o, size_t size);
MSW_API void msw_store_info_init_sized(msw_store_info *i, size_t size);
MSW_API void msw_entry_init_sized(msw_entry *e, size_t size);
MSW_API void msw_reader_options_init_sized(msw_reader_options *o, size_t size);
#define msw_io_init(io) msw_io_init_sized((io), sizeof(*(io)))
#define msw_store_options_init(o) msw_store_options_init_sized((o), sizeof(*(o)))
#define msw_store_info_init(i) msw_store_info_init_sized((i), sizeof(*(i)))
#define msw_entry_init(e) msw_entry_init_sized((e), sizeof(*(e)))
#define msw_reader_options_init(o) msw_reader_options_init_sized((o), sizeof(*(o)))

/* Writing */

/** An empty model. Thread-safety: safe. */
MSW_API msw_status msw_writer_new(msw_writer **out, msw_context *ctx) MSW_NODISCARD;
/** NULL is allowed. */
MSW_API void msw_writer_free(msw_writer *writer);

/**
 * Add weights under @p name; they are encoded now and not kept. @p options NULL:
 * plain, all f32. MSW_E_EXISTS: the name is taken. MSW_E_RANGE: a value is too large for
 * f16 (above 65504) or has too many steps: nothing is added. The plan, permutations
 * included, is stored with them. MSW_E_UNSUPPORTED: in the packed form, for processors that
 * this build has no kernels for, and on machines that are not little-endian.
 */
MSW_API msw_status msw_writer_add_unified(msw_writer *writer, const char *name,
                                          const msw_unified *u,
                                          const msw_store_options *options) MSW_NODISCARD;
/** The same for a plain tensor, of which only options.free_weights is used. NaN and
 * infinities are allowed in f32, otherwise MSW_E_NUMERIC. */
MSW_API msw_status msw_writer_add_tensor(msw_writer *writer, const char *name,
                                         const msw_tensor *tensor,
                                         const msw_store_options *options) MSW_NODISCARD;
/**
 * Add all that @p reader has, tensors and metadata: unified weights as @p options say
 * (NULL: plain), so that a file in the transport form becomes one that is ready to run, or
 * the other way round. Plain tensors keep their values, in the transport form where
 * @p options say that. In the packed form, weights with groups of up to 4 outputs, which
 * no kernel runs in that form, are stored plain. On failure the writer has none of it.
 * MSW_E_EXISTS: a name or key is taken. Other errors are those of reading and of adding.
 */
MSW_API msw_status msw_writer_add_all(msw_writer *writer, msw_reader *reader,
                                      const msw_store_options *options) MSW_NODISCARD;
/** A key and any bytes as its value; copied. MSW_E_EXISTS: the key is taken. */
MSW_API msw_status msw_writer_add_metadata(msw_writer *writer, const char *key,
                                           const void *value, size_t size) MSW_NODISCARD;
/** What storing a tensor changed. MSW_E_NOTFOUND: no such name. */
MSW_API msw_status msw_writer_get_loss(msw_store_info *out, const msw_writer *writer,
                                       const char *name) MSW_NODISCARD;

/** Bytes of the file as it would be written now. */
MSW_API uint64_t msw_writer_bytes(const msw_writer *writer);

/**
 * Write the file at @p path, atomically: a new file beside it is written, synced
 * and renamed over it, so that @p path holds either its old contents or all of the
 * new, also after a crash. The writer may be used again afterwards.
 */
MSW_API msw_status msw_writer_save(msw_writer *writer, const char *path) MSW_NODISCARD;
/** Write to the host's storage; atomicity is the host's. */
MSW_API msw_status msw_writer_write(msw_writer *writer, const msw_io *io) MSW_NODISCARD;
/** Write to memory. MSW_E_RANGE: @p size is less than msw_writer_bytes(). */
MSW_API msw_status msw_writer_write_buffer(msw_writer *writer, void *data,
                                           size_t size) MSW_NODISCARD;
/** Detail of the last failing call; "" when none. Valid until the next call. */
MSW_API const char *msw_writer_error(const msw_writer *writer);

/* Reading */

/** Open a file. It stays open, and is not mapped, until the reader is freed. */
MSW_API msw_status msw_reader_open(msw_reader **out, msw_context *ctx, const char *path,
                                   const msw_reader_options *options) MSW_NODISCARD;
/** Read from memory, any alignment, used in place and never written. It must stay
 * until the reader is freed and with it what msw_reader_gemm() and msw_reader_conv() made
 * in place, or until options.release is called. When opening fails, release is not
 * called. */
MSW_API msw_status msw_reader_open_buffer(msw_reader **out, msw_context *ctx,
                                          const void *data, size_t size,
                                          const msw_reader_options *options) MSW_NODISCARD;
/** Read from the host's storage; @p io is copied, needs read_at and length. */
MSW_API msw_status msw_reader_open_io(msw_reader **out, msw_context *ctx, const msw_io *io,
                                      const msw_reader_options *options) MSW_NODISCARD;
/** NULL is allowed. */
MSW_API void msw_reader_free(msw_reader *reader);

/** Number of tensors, in the order they were added. */
MSW_API size_t msw_reader_count(const msw_reader *reader);
/** MSW_E_RANGE: no such entry. */
MSW_API msw_status msw_reader_get_entry(msw_entry *out, const msw_reader *reader,
                                        size_t index) MSW_NODISCARD;
/** Number of an entry, for msw_reader_get_entry(). MSW_E_NOTFOUND: no such name. */
MSW_API msw_status msw_reader_find(size_t *out, const msw_reader *reader,
                                   const char *name) MSW_NODISCARD;

/** Load weights, with a plan of their own. The result is independent of the reader.
 * MSW_E_NOTFOUND: no such name; MSW_E_INVAL: it is a plain tensor. MSW_E_UNSUPPORTED:
 * it has the packed form, and this machine is not little-endian. */
MSW_API msw_status msw_reader_unified(msw_unified **out, msw_reader *reader,
                                      const char *name) MSW_NODISCARD;
/** Load a plain tensor, into a new owned one. MSW_E_INVAL: it is a unified one. */
MSW_API msw_status msw_reader_tensor(msw_tensor **out, msw_reader *reader,
                                     const char *name) MSW_NODISCARD;

/**
 * A product that runs on weights in the file: @p options and errors as in
 * msw_gemm_new(), with the reader's context.
 *
 * In the packed form (MSW_ENCODING_PACKED), in a buffer whose address is a multiple of
 * 64, and with the packings that this machine's kernels read best, it runs in place: no
 * weight is copied, and what is allocated is the handle, the bias and the order of the
 * outputs. Every index is checked first, also where the reader is trusted. From a file or
 * msw_io, or a buffer at another address, one copy of the packed bytes is made. For other
 * machines, and for MSW_FALLBACK_BLAS, weights are unpacked and packed anew; in the other
 * forms they are loaded and packed. msw_gemm_info.placement says which, and
 * placement_reason why; options.max_bytes = 1 refuses all but the first (MSW_E_LIMIT).
 * In place and as a copy options.expected_n does not choose packings: the file has.
 *
 * A handle that runs in place keeps the reader's buffer in use, but not the reader.
 * MSW_E_NOTFOUND: no such name. MSW_E_INVAL: it is a plain tensor. MSW_E_UNSUPPORTED:
 * the plan has groups, or the packed form is that of another version of the library.
 */
MSW_API msw_status msw_reader_gemm(msw_gemm **out, msw_reader *reader, const char *name,
                                   const msw_gemm_options *options) MSW_NODISCARD;
/** The same for a convolution. In place, or as a copy, run those that msw_conv_new() makes
 * of products: not transposed, and with more than 4 outputs to a group. */
MSW_API msw_status msw_reader_conv(msw_conv **out, msw_reader *reader, const char *name,
                                   const msw_conv_options *options) MSW_NODISCARD;

MSW_API size_t msw_reader_metadata_count(const msw_reader *reader);
/** Key number @p index; NULL: no such. Lives as long as the reader. */
MSW_API const char *msw_reader_metadata_key(const msw_reader *reader, size_t index);
/** The value of a key; it lives as long as the reader, and a zero byte that does not
 * count follows it. MSW_E_NOTFOUND: no such key. */
MSW_API msw_status msw_reader_get_metadata(const void **value, size_t *size,
                                           const msw_reader *reader,
                                           const char *key) MSW_NODISCARD;
/** Detail of the last failing call; "" when none. Valid until the next call. */
MSW_API const char *msw_reader_error(const msw_reader *reader);

#ifdef __cplusplus
}
#endif
#endif /* MSW_FILE_H */
