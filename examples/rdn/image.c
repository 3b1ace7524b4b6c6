/* SPDX-License-Identifier: BSD-2-Clause */
#include "image.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include "memory.h"

enum { CHANNELS = 3, LARGEST_SIDE = 1 << 15 };

struct image image_new(size_t height, size_t width)
{
    return (struct image){height, width, allocate_floats(height * width * CHANNELS)};
}

void image_free(struct image *image)
{
    free(image->pixels);
    *image = (struct image){0};
}

static bool fail(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    return false;
}

static void from_bytes(struct image *image, const unsigned char *bytes)
{
    for (size_t i = 0; i < image->height * image->width * CHANNELS; i++)
        image->pixels[i] = bytes[i];
}

static bool load_png(struct image *image, const char *path)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    const png_color white = {255, 255, 255};
    unsigned char *bytes;
    bool good = false;

    if (!png_image_begin_read_from_file(&png, path))
        return fail(path, png.message);
    png.format = PNG_FORMAT_RGB;
    if (png.width > LARGEST_SIDE || png.height > LARGEST_SIDE) {
        png_image_free(&png);
        return fail(path, "too large");
    }
    bytes = allocate(PNG_IMAGE_SIZE(png), 1);
    if (png_image_finish_read(&png, &white, bytes, 0, NULL)) {
        *image = image_new(png.height, png.width);
        from_bytes(image, bytes);
        good = true;
    } else {
        fail(path, png.message);
    }
    free(bytes);
    return good;
}

struct jpeg_errors {
    struct jpeg_error_mgr manager;
    jmp_buf back;
};

static void leave_jpeg(j_common_ptr jpeg)
{
    (*jpeg->err->output_message)(jpeg);
    longjmp(((struct jpeg_errors *)jpeg->err)->back, 1);
}

/* `bytes` belongs to the caller, who frees it however this ends. */
static bool decode_jpeg(struct image *image, unsigned char **bytes, FILE *file)
{
    struct jpeg_errors errors;
    struct jpeg_decompress_struct jpeg;

    jpeg.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = leave_jpeg;
    if (setjmp(errors.back)) {
        jpeg_destroy_decompress(&jpeg);
        return false;
    }
    jpeg_create_decompress(&jpeg);
    jpeg_stdio_src(&jpeg, file);
    jpeg_read_header(&jpeg, TRUE);
    jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg);
    *bytes = allocate((size_t)jpeg.output_width * jpeg.output_height, CHANNELS);
    while (jpeg.output_scanline < jpeg.output_height) {
        unsigned char *row =
            *bytes + (size_t)jpeg.output_scanline * jpeg.output_width * CHANNELS;

        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    *image = image_new(jpeg.output_height, jpeg.output_width);
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
    from_bytes(image, *bytes);
    return true;
}

static bool load_jpeg(struct image *image, const char *path)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    bool good;

    if (file == NULL)
        return fail(path, strerror(errno));
    good = decode_jpeg(image, &bytes, file);
    free(bytes);
    fclose(file);
    return good || fail(path, "not a JPEG image that can be read");
}

bool image_load(struct image *image, const char *path)
{
    const char *end = strrchr(path, '.');

    *image = (struct image){0};
    if (end != NULL && (strcmp(end, ".jpg") == 0 || strcmp(end, ".jpeg") == 0))
        return load_jpeg(image, path);
    return load_png(image, path);
}

static float limited(float value)
{
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

bool image_save(const struct image *image, const char *path)
{
    const size_t count = image->height * image->width * CHANNELS;
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)image->width,
                     .height = (png_uint_32)image->height,
                     .format = PNG_FORMAT_RGB};
    unsigned char *bytes = allocate(count, 1);
    bool good;

    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)(limited(image->pixels[i]) + 0.5f);
    good = png_image_write_to_file(&png, path, 0, bytes, 0, NULL);
    free(bytes);
    return good || fail(path, png.message);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void image_paste(struct image *to, size_t row, size_t column, const struct image *from)
{
    const size_t rows = row < to->height ? smaller(from->height, to->height - row) : 0;
    const size_t columns = column < to->width ? smaller(from->width, to->width - column) : 0;

    for (size_t y = 0; y < rows; y++)
        memcpy(to->pixels + ((row + y) * to->width + column) * CHANNELS,
               from->pixels + y * from->width * CHANNELS,
               columns * CHANNELS * sizeof(float));
}

struct image image_crop(const struct image *from, size_t row, size_t column, size_t height,
                        size_t width)
{
    struct image crop = image_new(height, width);

    for (size_t y = 0; y < height; y++)
        memcpy(crop.pixels + y * width * CHANNELS,
               from->pixels + ((row + y) * from->width + column) * CHANNELS,
               width * CHANNELS * sizeof(float));
    return crop;
}

static double cubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* Rows to columns, and their number from `from` to `to`; twice, it resizes an image. */
static void resize_rows(float *out, const float *in, size_t from, size_t to, size_t width)
{
    const double scale = (double)from / (double)to, reach = scale > 1 ? scale : 1;

    for (size_t y = 0; y < to; y++) {
        const double centre = ((double)y + 0.5) * scale - 0.5;
        const long first = (long)ceil(centre - 2 * reach);
        const long last = (long)floor(centre + 2 * reach);

        for (size_t x = 0; x < width; x++) {
            double sum[CHANNELS] = {0}, weights = 0;

            for (long i = first; i <= last; i++) {
                const double weight = cubic(((double)i - centre) / reach);
                const size_t row = i < 0 ? 0 : smaller((size_t)i, from - 1);

                weights += weight;
                for (size_t c = 0; c < CHANNELS; c++)
                    sum[c] += weight * in[(row * width + x) * CHANNELS + c];
            }
            for (size_t c = 0; c < CHANNELS; c++)
                out[(x * to + y) * CHANNELS + c] = (float)(sum[c] / weights);
        }
    }
}

struct image image_resize(const struct image *from, size_t height, size_t width)
{
    struct image turned = image_new(from->width, height), to = image_new(height, width);

    resize_rows(turned.pixels, from->pixels, from->height, height, from->width);
    resize_rows(to.pixels, turned.pixels, from->width, width, height);
    image_free(&turned);
    for (size_t i = 0; i < height * width * CHANNELS; i++)
        to.pixels[i] = limited(to.pixels[i]);
    return to;
}

double image_psnr(const struct image *a, const struct image *b, size_t edge)
{
    double sum = 0, count = 0;

    for (size_t y = edge; y + edge < a->height; y++)
        for (size_t i = edge * CHANNELS; i < (a->width - edge) * CHANNELS; i++) {
            const size_t at = y * a->width * CHANNELS + i;
            const double difference =
                (double)limited(a->pixels[at]) - (double)limited(b->pixels[at]);

            sum += difference * difference;
            count++;
        }
    return 10 * log10(255.0 * 255.0 * count / sum);
}
