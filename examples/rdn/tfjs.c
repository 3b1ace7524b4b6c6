/* SPDX-License-Identifier: BSD-2-Clause */
#include "tfjs.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 4096, MOST_CHANNELS = 4096, LARGEST_KERNEL = 15, LARGEST_SCALE = 16 };

static bool fail(const char *about, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", about);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return false;
}

static bool no_memory(const char *about)
{
    return fail(about, "not enough memory");
}

/* Where the configuration has `key` it must be `expected`. */
static bool is_text(const json_t *config, const char *key, const char *expected)
{
    const char *text = json_string_value(json_object_get(config, key));

    return text != NULL && strcmp(text, expected) == 0;
}

/* An array of two equal whole numbers within 1 and `most`; 0: it is not. */
static size_t pair(const json_t *config, const char *key, size_t most)
{
    const json_t *both = json_object_get(config, key);
    const json_int_t first = json_integer_value(json_array_get(both, 0));

    if (json_array_size(both) != 2 || first < 1 || first > (json_int_t)most ||
        json_integer_value(json_array_get(both, 1)) != first)
        return 0;
    return (size_t)first;
}

static bool read_input(struct layer *l, const json_t *config)
{
    const json_t *shape = json_object_get(config, "batch_input_shape");

    if (json_array_size(shape) != 4 ||
        json_integer_value(json_array_get(shape, 3)) != IMAGE_CHANNELS)
        return fail(l->name, "does not take images of %d channels", IMAGE_CHANNELS);
    l->kind = LAYER_INPUT;
    l->channels = IMAGE_CHANNELS;
    l->scale = 1;
    return true;
}

static bool read_conv(struct layer *l, const json_t *config, const struct layer *from)
{
    const json_t *groups = json_object_get(config, "groups");
    const json_int_t filters = json_integer_value(json_object_get(config, "filters"));
    const size_t kernel = pair(config, "kernel_size", LARGEST_KERNEL);

    if (filters < 1 || filters > MOST_CHANNELS)
        return fail(l->name, "number of filters is not within 1 and %d", MOST_CHANNELS);
    if (kernel % 2 != 1)
        return fail(l->name, "kernel is not square, of odd size up to %d", LARGEST_KERNEL);
    if (pair(config, "strides", 1) != 1 || pair(config, "dilation_rate", 1) != 1 ||
        (groups != NULL && json_integer_value(groups) != 1))
        return fail(l->name, "strides, dilation or groups are not supported");
    if (!is_text(config, "padding", "same") &&
        !(kernel == 1 && is_text(config, "padding", "valid")))
        return fail(l->name, "padding is not \"same\"");
    if (!is_text(config, "activation", "linear"))
        return fail(l->name, "an activation inside a convolution is not supported");
    if (!json_is_true(json_object_get(config, "use_bias")))
        return fail(l->name, "has no bias");
    l->kind = LAYER_CONV;
    l->channels = (size_t)filters;
    l->kernel_height = l->kernel_width = kernel;
    l->input_channels = from->channels;
    l->scale = from->scale;
    return true;
}

static bool read_upsample(struct layer *l, const json_t *config, const struct layer *from)
{
    l->kind = LAYER_UPSAMPLE;
    l->channels = from->channels;
    l->factor = pair(config, "size", LARGEST_SCALE);
    l->scale = from->scale * l->factor;
    if (l->factor == 0 || l->scale > LARGEST_SCALE)
        return fail(l->name, "does not enlarge both sides alike, up to %d times",
                    LARGEST_SCALE);
    if (!is_text(config, "interpolation", "nearest"))
        return fail(l->name, "interpolation is not \"nearest\"");
    return true;
}

static bool read_joint(struct layer *l, const struct layer *layers)
{
    const struct layer *first = &layers[l->inputs[0]];

    l->scale = first->scale;
    l->channels = l->kind == LAYER_ADD ? first->channels : 0;
    for (size_t i = 0; i < l->input_count; i++) {
        const struct layer *from = &layers[l->inputs[i]];

        if (l->kind == LAYER_CONCATENATE)
            l->channels += from->channels;
        if (from->scale != l->scale ||
            (l->kind == LAYER_ADD && from->channels != l->channels))
            return fail(l->name, "its inputs do not fit each other");
    }
    return l->channels <= MOST_CHANNELS || fail(l->name, "too many channels");
}

static bool read_concatenate(struct layer *l, const json_t *config,
                             const struct layer *layers)
{
    const json_int_t axis = json_integer_value(json_object_get(config, "axis"));

    l->kind = LAYER_CONCATENATE;
    if (axis != 3 && axis != -1)
        return fail(l->name, "does not concatenate channels");
    return read_joint(l, layers);
}

/* What a layer is; its inputs are known. */
static bool read_class(struct layer *l, const json_t *json, const struct layer *layers)
{
    const json_t *config = json_object_get(json, "config");
    const char *class = json_string_value(json_object_get(json, "class_name"));
    const json_t *order = json_object_get(config, "data_format");
    const struct layer *from;

    if (class == NULL || !json_is_object(config))
        return fail(l->name, "has no class or configuration");
    if (order != NULL && !is_text(config, "data_format", "channels_last"))
        return fail(l->name, "data format is not \"channels_last\"");
    if (strcmp(class, "InputLayer") == 0)
        return l == layers && l->input_count == 0 ? read_input(l, config)
                                                  : fail(l->name, "a second input");
    if (l->input_count == 0)
        return fail(l->name, "has no input");
    from = &layers[l->inputs[0]];
    if (strcmp(class, "Concatenate") == 0)
        return read_concatenate(l, config, layers);
    if (strcmp(class, "Add") == 0) {
        l->kind = LAYER_ADD;
        return read_joint(l, layers);
    }
    if (l->input_count != 1)
        return fail(l->name, "has more than one input");
    if (strcmp(class, "Conv2D") == 0)
        return read_conv(l, config, from);
    if (strcmp(class, "UpSampling2D") == 0)
        return read_upsample(l, config, from);
    if (strcmp(class, "Activation") != 0)
        return fail(l->name, "layers of class %s are not supported", class);
    l->kind = LAYER_RELU;
    l->channels = from->channels;
    l->scale = from->scale;
    return is_text(config, "activation", "relu") ||
           fail(l->name, "activation is not \"relu\"");
}

/* [[[name, 0, 0, {}], ...]], of layers that came before; [] for an input. */
static bool read_inputs(struct layer *l, const json_t *json, const struct network *before)
{
    const json_t *calls = json_object_get(json, "inbound_nodes");
    const json_t *inputs = json_array_get(calls, 0);

    if (!json_is_array(calls) || json_array_size(calls) > 1)
        return fail(l->name, "is not used once");
    l->input_count = json_array_size(inputs);
    if (l->input_count == 0)
        return true;
    l->inputs = calloc(l->input_count, sizeof *l->inputs);
    if (l->inputs == NULL)
        return no_memory(l->name);
    for (size_t i = 0; i < l->input_count; i++) {
        const json_t *input = json_array_get(inputs, i);
        const char *name = json_string_value(json_array_get(input, 0));

        l->inputs[i] = name != NULL ? network_find(before, name) : before->count;
        if (l->inputs[i] == before->count)
            return fail(l->name, "input %s does not come before it",
                        name != NULL ? name : "without a name");
        if (json_integer_value(json_array_get(input, 1)) != 0 ||
            json_integer_value(json_array_get(input, 2)) != 0)
            return fail(l->name, "takes another output than the first");
    }
    return true;
}

static bool read_layer(struct network *net, const json_t *json, const char *path)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    struct layer *l = &net->layers[net->count];

    if (name == NULL || *name == '\0')
        return fail(path, "a layer has no name");
    if (network_find(net, name) != net->count)
        return fail(path, "two layers are called %s", name);
    l->name = strdup(name);
    if (l->name == NULL)
        return no_memory(path);
    if (!read_inputs(l, json, net) || !read_class(l, json, net->layers)) {
        net->count++; /* so that it is freed */
        return false;
    }
    net->count++;
    return true;
}

static bool read_topology(struct network *net, const json_t *root, const char *path)
{
    const json_t *model =
        json_object_get(json_object_get(root, "modelTopology"), "model_config");
    const json_t *config = json_object_get(model, "config");
    const json_t *layers = json_object_get(config, "layers");
    const json_t *outputs = json_object_get(config, "output_layers");
    const size_t count = json_array_size(layers);
    const char *output;

    if (!is_text(root, "format", "layers-model") ||
        (!is_text(model, "class_name", "Functional") &&
         !is_text(model, "class_name", "Model")))
        return fail(path, "not a layers model of TensorFlow.js with a functional network");
    if (count == 0 || count > MOST_LAYERS)
        return fail(path, "number of layers is not within 1 and %d", MOST_LAYERS);
    net->layers = calloc(count, sizeof *net->layers);
    if (net->layers == NULL)
        return no_memory(path);
    for (size_t i = 0; i < count; i++)
        if (!read_layer(net, json_array_get(layers, i), path))
            return false;
    output = json_string_value(json_array_get(json_array_get(outputs, 0), 0));
    if (json_array_size(outputs) != 1 || output == NULL ||
        network_find(net, output) != count - 1)
        return fail(path, "the last layer is not the only output");
    if (net->layers[count - 1].channels != IMAGE_CHANNELS)
        return fail(path, "its output is not an image of %d channels", IMAGE_CHANNELS);
    return true;
}

/* The bytes of all files of a group, one after the other. */
struct bytes {
    unsigned char *data;
    size_t size, used;
};

static bool append_file(struct bytes *all, const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = -1;

    if (file == NULL)
        return fail(path, "%s", strerror(errno));
    if (fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size > 0) {
        unsigned char *grown = realloc(all->data, all->size + (size_t)size);

        if (grown == NULL) {
            fclose(file);
            return no_memory(path);
        }
        all->data = grown;
        rewind(file);
        if (fread(all->data + all->size, 1, (size_t)size, file) != (size_t)size)
            size = -1;
    }
    fclose(file);
    if (size < 0)
        return fail(path, "cannot be read");
    all->size += (size_t)size;
    return true;
}

static bool read_shards(struct bytes *all, const json_t *paths, const char *model)
{
    const char *slash = strrchr(model, '/');
    const int folder = slash != NULL ? (int)(slash - model) + 1 : 0;

    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *name = json_string_value(json_array_get(paths, i));
        char path[4096];

        /* A model must not reach out of its folder. */
        if (name == NULL || *name == '\0' || *name == '.' || strchr(name, '/') != NULL)
            return fail(model, "weights are not in a file beside it");
        if (snprintf(path, sizeof path, "%.*s%s", folder, model, name) >= (int)sizeof path)
            return fail(model, "path is too long");
        if (!append_file(all, path))
            return false;
    }
    return true;
}

static float little_endian(const unsigned char *p)
{
    const uint32_t bits =
        p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool take_floats(float **out, size_t count, struct bytes *from, const char *name)
{
    if (*out != NULL)
        return fail(name, "is there twice");
    if ((from->size - from->used) / sizeof(float) < count)
        return fail(name, "its file is too short");
    *out = calloc(count, sizeof **out);
    if (*out == NULL)
        return no_memory(name);
    for (size_t i = 0; i < count; i++)
        (*out)[i] = little_endian(from->data + from->used + i * sizeof(float));
    from->used += count * sizeof(float);
    return true;
}

static bool has_shape(const json_t *weight, const size_t *expected, size_t rank)
{
    const json_t *shape = json_object_get(weight, "shape");
    bool same = json_array_size(shape) == rank;

    for (size_t i = 0; same && i < rank; i++)
        same = json_integer_value(json_array_get(shape, i)) == (json_int_t)expected[i];
    return same;
}

/* "LAYER/kernel" or "LAYER/bias". */
static bool read_weight(struct network *net, const json_t *weight, struct bytes *from,
                        const char *path)
{
    const char *name = json_string_value(json_object_get(weight, "name"));
    const char *slash = name != NULL ? strrchr(name, '/') : NULL;
    size_t shape[4];
    struct layer *l = net->layers;

    if (slash == NULL)
        return fail(path, "weights without a layer's name");
    while (l < net->layers + net->count && !(strlen(l->name) == (size_t)(slash - name) &&
                                             memcmp(l->name, name, strlen(l->name)) == 0))
        l++;
    if (l == net->layers + net->count || l->kind != LAYER_CONV)
        return fail(name, "weights of no layer that has weights");
    if (!is_text(weight, "dtype", "float32") ||
        json_object_get(weight, "quantization") != NULL)
        return fail(name, "is not plain float32");
    shape[0] = l->kernel_height;
    shape[1] = l->kernel_width;
    shape[2] = l->input_channels;
    shape[3] = l->channels;
    if (strcmp(slash, "/kernel") == 0 && has_shape(weight, shape, 4))
        return take_floats(&l->weights, layer_weight_count(l), from, name);
    if (strcmp(slash, "/bias") == 0 && has_shape(weight, &shape[3], 1))
        return take_floats(&l->bias, l->channels, from, name);
    return fail(name, "is not of the shape that its layer has");
}

static bool read_group(struct network *net, const json_t *group, const char *path)
{
    const json_t *weights = json_object_get(group, "weights");
    struct bytes all = {0};
    bool good = read_shards(&all, json_object_get(group, "paths"), path);

    for (size_t i = 0; good && i < json_array_size(weights); i++)
        good = read_weight(net, json_array_get(weights, i), &all, path);
    if (good && all.used != all.size)
        good = fail(path, "%zu bytes of weights are left over", all.size - all.used);
    free(all.data);
    return good;
}

static bool read_weights(struct network *net, const json_t *root, const char *path)
{
    const json_t *groups = json_object_get(root, "weightsManifest");

    for (size_t i = 0; i < json_array_size(groups); i++)
        if (!read_group(net, json_array_get(groups, i), path))
            return false;
    for (size_t i = 0; i < net->count; i++)
        if (net->layers[i].kind == LAYER_CONV &&
            (net->layers[i].weights == NULL || net->layers[i].bias == NULL))
            return fail(net->layers[i].name, "its weights are missing");
    return true;
}

bool tfjs_load(struct network *net, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    bool good;

    *net = (struct network){0};
    if (root == NULL)
        return fail(path, "%s", error.text);
    good = read_topology(net, root, path) && read_weights(net, root, path);
    json_decref(root);
    if (!good)
        network_free(net);
    return good;
}
