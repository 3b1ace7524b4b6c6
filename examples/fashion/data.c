/* SPDX-License-Identifier: BSD-2-Clause */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* More images than this is a damaged header, not a data set. */
enum { MAX_COUNT = 1000000 };

static bool fail(const char *path, const char *reason)
{
    fprintf(stderr, "%s: %s\n", path, reason);
    return false;
}

/* Why zlib could not deliver what was asked for. */
static const char *zlib_reason(gzFile file)
{
    int code = Z_OK;

    gzerror(file, &code);
    switch (code) {
    case Z_ERRNO: return strerror(errno);
    case Z_DATA_ERROR: return "the compressed data is damaged";
    case Z_MEM_ERROR: return "not enough memory";
    default: return "the file ends too early";
    }
}

static bool read_exactly(gzFile file, const char *path, void *out, unsigned size)
{
    return gzread(file, out, size) == (int)size || fail(path, zlib_reason(file));
}

/* Reading past the last byte makes zlib compare the checksum, too. */
static bool read_end(gzFile file, const char *path)
{
    char extra;
    int code = Z_OK;
    int got = gzread(file, &extra, 1);

    gzerror(file, &code);
    if (got > 0)
        return fail(path, "more data than the header announces");
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
        return fail(path, zlib_reason(file));
    return true;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

/* Header of an IDX file: type (8 = unsigned byte) and rank, then the dimensions. */
static bool read_header(gzFile file, const char *path, uint8_t rank, uint32_t *count)
{
    uint8_t header[16];

    if (!read_exactly(file, path, header, 4u + 4u * rank))
        return false;
    if (header[0] != 0 || header[1] != 0 || header[2] != 8 || header[3] != rank)
        return fail(path, "not an IDX file of unsigned bytes");
    *count = big_endian(header + 4);
    if (*count == 0 || *count > MAX_COUNT)
        return fail(path, "impossible number of items");
    if (rank == 3 &&
        (big_endian(header + 8) != IMAGE_SIDE || big_endian(header + 12) != IMAGE_SIDE))
        return fail(path, "the images are not 28x28");
    return true;
}

static uint8_t *read_items(gzFile file, const char *path, uint8_t rank, uint32_t *count)
{
    unsigned item = rank == 3 ? IMAGE_SIZE : 1;
    uint8_t *bytes;

    if (!read_header(file, path, rank, count))
        return NULL;
    bytes = malloc((size_t)*count * item);
    if (bytes == NULL)
        fail(path, "not enough memory");
    else if (read_exactly(file, path, bytes, *count * item) && read_end(file, path))
        return bytes;
    free(bytes);
    return NULL;
}

static uint8_t *load(const char *path, uint8_t rank, uint32_t *count)
{
    gzFile file;
    uint8_t *bytes;

    errno = 0;
    file = gzopen(path, "rb");
    if (file == NULL) {
        fail(path, errno != 0 ? strerror(errno) : "not enough memory");
        return NULL;
    }
    bytes = read_items(file, path, rank, count);
    gzclose(file);
    return bytes;
}

static bool load_images(struct dataset *set, const char *path)
{
    set->images = load(path, 3, &set->count);
    return set->images != NULL;
}

static bool load_labels(struct dataset *set, const char *path)
{
    uint32_t count;

    set->labels = load(path, 1, &count);
    if (set->labels == NULL)
        return false;
    if (count != set->count)
        return fail(path, "not as many labels as there are images");
    for (uint32_t i = 0; i < count; i++)
        if (set->labels[i] >= CLASSES)
            return fail(path, "a label is not in 0..9");
    return true;
}

bool dataset_load(struct dataset *set, const char *folder, const char *part)
{
    char images[4096], labels[4096];
    int length =
        snprintf(images, sizeof images, "%s/%s-images-idx3-ubyte.gz", folder, part);

    *set = (struct dataset){0};
    snprintf(labels, sizeof labels, "%s/%s-labels-idx1-ubyte.gz", folder, part);
    if (length < 0 || (size_t)length >= sizeof images)
        return fail(folder, "the path is too long");
    if (load_images(set, images) && load_labels(set, labels))
        return true;
    dataset_free(set);
    return false;
}

void dataset_free(struct dataset *set)
{
    free(set->images);
    free(set->labels);
    *set = (struct dataset){0};
}

/* A view of some images of another set. */
static struct dataset slice(const struct dataset *set, uint32_t first, uint32_t count)
{
    return (struct dataset){count, set->images + (size_t)first * IMAGE_SIZE,
                            set->labels + first};
}

bool split_load(struct split *split, const char *folder, bool tuning)
{
    struct dataset *whole = &split->whole;

    *split = (struct split){.tuning = tuning};
    if (!dataset_load(whole, folder, "train"))
        return false;
    if (tuning) {
        uint32_t held_out = whole->count / 12;

        split->training = slice(whole, 0, whole->count - held_out);
        split->evaluation = slice(whole, whole->count - held_out, held_out);
        return true;
    }
    split->training = *whole;
    if (dataset_load(&split->evaluation, folder, "t10k"))
        return true;
    dataset_free(whole);
    return false;
}

void split_free(struct split *split)
{
    if (!split->tuning)
        dataset_free(&split->evaluation);
    dataset_free(&split->whole);
    *split = (struct split){0};
}

static float normalised(uint8_t grey)
{
    /* Mean and standard deviation of the 60,000 training images. */
    return ((float)grey / 255.0f - 0.2860f) / 0.3530f;
}

void image_normalise(float *out, const uint8_t *image)
{
    for (int i = 0; i < IMAGE_SIZE; i++)
        out[i] = normalised(image[i]);
}

void image_augment(float *out, const uint8_t *image, int dx, int dy, bool mirror)
{
    for (int y = 0; y < IMAGE_SIDE; y++) {
        int from_y = y + dy;

        for (int x = 0; x < IMAGE_SIDE; x++) {
            int from_x = (mirror ? IMAGE_SIDE - 1 - x : x) + dx;
            bool inside =
                from_x >= 0 && from_x < IMAGE_SIDE && from_y >= 0 && from_y < IMAGE_SIDE;

            *out++ = normalised(inside ? image[from_y * IMAGE_SIDE + from_x] : 0);
        }
    }
}
