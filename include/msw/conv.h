/* SPDX-License-Identifier: BSD-2-Clause */
/** @file conv.h  2-D convolution with weights in unified-block form.
 *
 * A correlation, as in every deep-learning framework:
 *
 *   y[b][o][p][q] = activation(bias[o] + sum over i, h, w of
 *       W[o][i][h][w] x[b][i][p stride_h + h dilation_h - pad_top]
 *                          [q stride_w + w dilation_w - pad_left])
 *
 * with zeros outside x; or its transpose (options.transposed), which puts in each place
 * of y what a convolution of the same geometry would have read there:
 *
 *   y[b][o][p stride_h + h dilation_h - pad_top][q stride_w + w dilation_w - pad_left]
 *       gets W[o][i][h][w] x[b][i][p][q]
 *
 * W[o][i] has outputs first here, too. Kernel size, channels and groups come from the
 * plan of the weights (msw/plan.h); fully connected weights act as a 1x1 convolution. It
 * runs as msw_gemm over bands of output pixels, straight from a padded copy of x, or from
 * x itself; there is no im2col matrix. Groups with few outputs, depthwise layers among
 * them, have kernels of their own.
 */
#ifndef MSW_CONV_H
#define MSW_CONV_H

#include <msw/base.h>
#include <msw/gemm.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msw_image {
    MSW_IMAGE_NCHW = 0, /**< [batch][channel][row][column] */
    MSW_IMAGE_NHWC = 1  /**< [batch][row][column][channel] */
} msw_image;

typedef struct msw_conv_options {
    size_t size;
    uint32_t image;                    /**< msw_image, of x and of y */
    uint32_t activation;               /**< msw_activation */
    uint32_t stride_h, stride_w;       /**< 0: 1 */
    uint32_t dilation_h, dilation_w;   /**< 0: 1 */
    uint32_t pad_top, pad_bottom, pad_left, pad_right;
    const float *bias;                 /**< one per output channel, copied; NULL: none */
    size_t bias_count;                 /**< output channels; MSW_E_INVAL otherwise */
    size_t expected_pixels;            /**< output pixels per call (batch * height *
                                            width), to choose kernels by; 0: many */
    uint64_t max_bytes;                /**< as in msw_gemm_options */
    uint32_t fallback, tune;           /**< as in msw_gemm_options */
    uint32_t transposed;               /**< 1: transposed */
    /** Transposed: rows and columns of y at the bottom and the right that are there
     * besides (output_padding). Less than the stride or the dilation. */
    uint32_t output_pad_h, output_pad_w;
    uint32_t reserved;                 /**< 0 */
    msw_wisdom *wisdom;                /**< as in msw_gemm_options */
} msw_conv_options;

/** One convolution: y = activation(conv(x) + bias + beta y). Strides in elements. */
typedef struct msw_conv_call {
    size_t size;
    const float *x;
    float *y;             /**< must not overlap x */
    size_t batch;         /**< 0 is fine, also with NULL for x and y */
    size_t height, width; /**< of x */
    /** Between channels (NCHW) or pixels (NHWC) of x and y, so that a slice of a
     * larger array can be read or written; 0: contiguous. A stride with nothing to
     * separate, a single channel, pixel or image, is not looked at. */
    size_t ldx, ldy;
    /** Between images; 0: ld times channels (NCHW) or pixels (NHWC). */
    size_t batch_stride_x, batch_stride_y;
    void *workspace;      /**< msw_conv_workspace() bytes, 64-byte aligned; NULL: the
                               context's allocator */
    size_t workspace_bytes;
    uint32_t beta;        /**< 0: y is overwritten, also NaN; 1: added to */
    uint32_t reserved;    /**< 0 */
} msw_conv_call;

/** Batch normalisation as y = gamma (x - mean) / sqrt(variance + epsilon) + beta;
 * gamma or beta NULL: 1 or 0. */
typedef struct msw_batch_norm {
    size_t size;
    size_t channels;     /**< length of each array: the outputs */
    const float *gamma, *beta, *mean, *variance;
    double epsilon;      /**< >= 0, as the framework has it: 1e-5, 1e-3, ... */
} msw_batch_norm;

MSW_API void msw_conv_options_init_sized(msw_conv_options *o, size_t size);
MSW_API void msw_conv_call_init_sized(msw_conv_call *c, size_t size);
MSW_API void msw_batch_norm_init_sized(msw_batch_norm *b, size_t size);
#define msw_conv_options_init(o) msw_conv_options_init_sized((o), sizeof(*(o)))
#define msw_conv_call_init(c) msw_conv_call_init_sized((c), sizeof(*(c)))
#define msw_batch_norm_init(b) msw_batch_norm_init_sized((b), sizeof(*(b)))

/** Pack @p u, which is not kept. @p options NULL: the defaults. Thread-safety: safe. */
MSW_API msw_status msw_conv_new(msw_conv **out, msw_context *ctx, const msw_unified *u,
                                const msw_conv_options *options) MSW_NODISCARD;

/** One reference more; returns @p conv. Thread-safety: safe. */
MSW_API msw_conv *msw_conv_ref(msw_conv *conv);
/** Release one reference. NULL is allowed. Thread-safety: safe. */
MSW_API void msw_conv_free(msw_conv *conv);

/**
 * Height and width of y: floor((in + pads - dilation (kernel - 1) - 1) / stride) + 1;
 * transposed: (in - 1) stride - pads + dilation (kernel - 1) + output_pad + 1.
 * MSW_E_RANGE: the kernel does not fit into the padded image, or nothing is left of y.
 * Thread-safety: safe.
 */
MSW_API msw_status msw_conv_get_output(size_t *out_height, size_t *out_width,
                                       const msw_conv *conv, size_t height,
                                       size_t width) MSW_NODISCARD;

/**
 * One convolution. No byte outside the arrays is read or written. MSW_E_RANGE: a
 * stride or the workspace is too small, the kernel does not fit, or a size
 * overflows. MSW_E_INVAL: a NULL array, a misaligned workspace. MSW_E_HOST:
 * parallel_for failed, and y may be written in part. Allocates only when workspace
 * is NULL. Thread-safety: safe, each call with its own y and workspace.
 */
MSW_API msw_status msw_conv_run(const msw_conv *conv,
                                const msw_conv_call *call) MSW_NODISCARD;

/** Bytes that suffice for calls of this size; SIZE_MAX: too many, or the kernel does
 * not fit. Thread-safety: safe. */
MSW_API size_t msw_conv_workspace(const msw_conv *conv, size_t batch, size_t height,
                                  size_t width);

/** What runs for calls of this size, and why; times are not filled in.
 * Thread-safety: safe. */
MSW_API msw_status msw_conv_get_info(msw_gemm_info *out, const msw_conv *conv, size_t batch,
                                     size_t height, size_t width) MSW_NODISCARD;

/**
 * Fold a batch normalisation that follows a layer into its weights and bias, in
 * place. Fold before unifying: afterwards every output has a scale of its own and a
 * block no longer has one magnitude. @p weights as @p kind says (msw_weights);
 * @p bias has one value per output and is both read and written. MSW_E_INVAL: the
 * channels do not match; MSW_E_NUMERIC: variance + epsilon is not positive or a
 * result is not finite, nothing is changed. Thread-safety: as the tensor.
 */
MSW_API msw_status msw_conv_fold_batch_norm(msw_tensor *weights, float *bias, uint32_t kind,
                                            const msw_batch_norm *norm) MSW_NODISCARD;

#ifdef __cplusplus
}
#endif
#endif /* MSW_CONV_H */
