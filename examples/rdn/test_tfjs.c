/* SPDX-License-Identifier: BSD-2-Clause */
/* test-tfjs FOLDER: write a tiny network there as TensorFlow.js would, with every kind of
 * layer, read it, and see that what is not understood is refused by name. The network
 * stays in the folder. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tfjs.h"

enum { LONGEST = 16384 };

#define CONV(name, from, filters, size, padding)                                           \
    "{\"class_name\":\"Conv2D\",\"name\":\"" name "\",\"config\":{\"filters\":" filters      \
    ",\"kernel_size\":[" size "," size "],\"strides\":[1,1],\"dilation_rate\":[1,1],"        \
    "\"groups\":1,\"padding\":\"" padding "\",\"data_format\":\"channels_last\","            \
    "\"activation\":\"linear\",\"use_bias\":true},\"inbound_nodes\":[[[\"" from              \
    "\",0,0,{}]]]},"
#define WEIGHT(name, shape)                                                                \
    "{\"name\":\"" name "\",\"shape\":" shape ",\"dtype\":\"float32\"}"

static const char good[] =
    "{\"format\":\"layers-model\",\"modelTopology\":{\"model_config\":{"
    "\"class_name\":\"Functional\",\"config\":{\"layers\":["
    "{\"class_name\":\"InputLayer\",\"name\":\"in\",\"config\":"
    "{\"batch_input_shape\":[null,null,null,3]},\"inbound_nodes\":[]},"
    CONV("first", "in", "6", "3", "same")
    "{\"class_name\":\"Activation\",\"name\":\"relu\",\"config\":"
    "{\"activation\":\"relu\"},\"inbound_nodes\":[[[\"first\",0,0,{}]]]},"
    "{\"class_name\":\"Concatenate\",\"name\":\"both\",\"config\":{\"axis\":3},"
    "\"inbound_nodes\":[[[\"first\",0,0,{}],[\"relu\",0,0,{}]]]},"
    CONV("mix", "both", "6", "1", "valid")
    "{\"class_name\":\"Add\",\"name\":\"sum\",\"config\":{},"
    "\"inbound_nodes\":[[[\"mix\",0,0,{}],[\"first\",0,0,{}]]]},"
    "{\"class_name\":\"UpSampling2D\",\"name\":\"up\",\"config\":{\"size\":[2,2],"
    "\"data_format\":\"channels_last\",\"interpolation\":\"nearest\"},"
    "\"inbound_nodes\":[[[\"sum\",0,0,{}]]]},"
    "{\"class_name\":\"Conv2D\",\"name\":\"last\",\"config\":{\"filters\":3,"
    "\"kernel_size\":[5,5],\"strides\":[1,1],\"dilation_rate\":[1,1],\"groups\":1,"
    "\"padding\":\"same\",\"data_format\":\"channels_last\",\"activation\":\"linear\","
    "\"use_bias\":true},\"inbound_nodes\":[[[\"up\",0,0,{}]]]}"
    "],\"input_layers\":[[\"in\",0,0]],\"output_layers\":[[\"last\",0,0]]}}},"
    "\"weightsManifest\":[{\"paths\":[\"a.bin\",\"b.bin\"],\"weights\":["
    WEIGHT("first/kernel", "[3,3,3,6]") "," WEIGHT("first/bias", "[6]") ","
    WEIGHT("mix/kernel", "[1,1,12,6]") "," WEIGHT("mix/bias", "[6]") ","
    WEIGHT("last/kernel", "[5,5,6,3]") "," WEIGHT("last/bias", "[3]") "]}]}";

enum { FIRST = 3 * 3 * 3 * 6, MIX = 12 * 6, LAST = 5 * 5 * 6 * 3 };
enum { WEIGHTS = FIRST + 6 + MIX + 6 + LAST + 3, IN_A = 100 };

/* What must be refused: the first place where `from` stands, replaced, and a word that the
 * message must have. */
static const struct {
    const char *from, *to, *word;
} bad[] = {
    {"layers-model", "graph-model", "layers model"},
    {"Functional", "Sequential", "functional"},
    {"null,3]", "null,4]", "channels"},
    {"Conv2D", "Dense", "Dense"},
    {"Conv2D", "InputLayer", "second input"},
    {"\"filters\":6", "\"filters\":0", "filters"},
    {"\"filters\":6", "\"filters\":100000000000", "filters"},
    {"\"filters\":6", "\"filters\":7", "fit each other"},
    {"\"kernel_size\":[3,3]", "\"kernel_size\":[3,5]", "kernel"},
    {"\"kernel_size\":[3,3]", "\"kernel_size\":[4,4]", "kernel"},
    {"\"strides\":[1,1]", "\"strides\":[2,2]", "strides"},
    {"\"dilation_rate\":[1,1]", "\"dilation_rate\":[2,2]", "dilation"},
    {"\"groups\":1", "\"groups\":3", "groups"},
    {"\"padding\":\"same\"", "\"padding\":\"valid\"", "padding"},
    {"channels_last", "channels_first", "channels_last"},
    {"\"linear\"", "\"relu\"", "activation"},
    {"\"use_bias\":true", "\"use_bias\":false", "bias"},
    {"{\"activation\":\"relu\"}", "{\"activation\":\"tanh\"}", "relu"},
    {"\"axis\":3", "\"axis\":1", "channels"},
    {"\"size\":[2,2]", "\"size\":[2,3]", "enlarge"},
    {"\"size\":[2,2]", "\"size\":[99,99]", "enlarge"},
    {"nearest", "bilinear", "nearest"},
    {"[[[\"in\",0,0,{}]]]", "[[[\"up\",0,0,{}]]]", "before"},
    {"[[[\"in\",0,0,{}]]]", "[[[7,0,0,{}]]]", "before"},
    {"[[[\"in\",0,0,{}]]]", "[[[\"in\",0,1,{}]]]", "another output"},
    {"[[[\"in\",0,0,{}]]]", "[]", "no input"},
    {"[[[\"in\",0,0,{}]]]", "[[[\"in\",0,0,{}]],[[\"in\",0,0,{}]]]", "once"},
    {"\"name\":\"relu\"", "\"name\":\"first\"", "first"},
    {"\"name\":\"relu\"", "\"title\":\"relu\"", "no name"},
    {"[[\"last\",0,0]]", "[[\"sum\",0,0]]", "output"},
    {"\"filters\":3", "\"filters\":2", "image"},
    {"\"a.bin\"", "\"../a.bin\"", "beside"},
    {"\"a.bin\"", "\"none.bin\"", "none.bin"},
    {"\"a.bin\",\"b.bin\"", "\"a.bin\"", "short"},
    {"\"a.bin\",\"b.bin\"", "\"a.bin\",\"b.bin\",\"b.bin\"", "left over"},
    {"[3,3,3,6]", "[3,3,6,3]", "shape"},
    {"first/kernel", "third/kernel", "third"},
    {"first/kernel", "relu/kernel", "relu"},
    {"first/kernel", "first/gamma", "shape"},
    {"first/kernel", "kernel", "without a layer"},
    {"mix/kernel", "first/kernel", "shape"},
    {"mix/bias", "first/bias", "twice"},
    {"float32\"}", "uint8\"}", "float32"},
    {"float32\"}", "float32\",\"quantization\":{\"dtype\":\"uint8\"}}", "float32"},
    {"\"weightsManifest\":[", "\"weightsManifest\":[],\"x\":[", "missing"},
    {"\"format\"", "format", "expected"},
};

static int failures;

static void check(bool condition, const char *what)
{
    if (!condition) {
        failures++;
        printf("FAIL %s\n", what);
    }
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

/* Weight number i of the files. */
static float weight(size_t i)
{
    return (float)((int)(i * 37 % 41) - 20) / 64;
}

static void write_weights(void)
{
    unsigned char bytes[WEIGHTS * sizeof(float)];

    for (size_t i = 0; i < WEIGHTS; i++) {
        const float w = weight(i);
        uint32_t bits;

        memcpy(&bits, &w, sizeof bits);
        for (int k = 0; k < 4; k++)
            bytes[4 * i + (size_t)k] = (unsigned char)(bits >> 8 * k);
    }
    write_file("a.bin", bytes, IN_A);
    write_file("b.bin", bytes + IN_A, sizeof bytes - IN_A);
}

static bool has_weights(const struct layer *l, size_t first, size_t count)
{
    bool same = layer_weight_count(l) == count;

    for (size_t i = 0; same && i < count; i++)
        same = l->weights[i] == weight(first + i);
    for (size_t i = 0; same && i < l->channels; i++)
        same = l->bias[i] == weight(first + count + i);
    return same;
}

static void test_good(void)
{
    struct network net;

    check(tfjs_load(&net, "model.json"), "reads the network");
    if (net.count != 8) {
        check(false, "has 8 layers");
        return;
    }
    check(net.layers[0].kind == LAYER_INPUT && net.layers[2].kind == LAYER_RELU &&
              net.layers[3].kind == LAYER_CONCATENATE && net.layers[5].kind == LAYER_ADD &&
              net.layers[6].kind == LAYER_UPSAMPLE && net.layers[7].kind == LAYER_CONV,
          "kinds of layers");
    check(net.layers[3].channels == 12 && net.layers[3].inputs[1] == 2 &&
              net.layers[6].factor == 2 && net.layers[7].scale == 2 &&
              net.layers[7].kernel_height == 5,
          "geometry");
    check(has_weights(&net.layers[1], 0, FIRST) &&
              has_weights(&net.layers[4], FIRST + 6, MIX) &&
              has_weights(&net.layers[7], FIRST + 6 + MIX + 6, LAST),
          "weights");
    network_free(&net);
}

/* What was said on stderr since the last time. */
static const char *said(void)
{
    static char text[LONGEST];
    FILE *file = fopen("stderr.txt", "r");
    size_t size = 0;

    fflush(stderr);
    if (file != NULL) {
        size = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[size] = '\0';
    if (freopen("stderr.txt", "w", stderr) == NULL)
        exit(EXIT_FAILURE);
    return text;
}

static void refuse(const char *text, size_t size, const char *word)
{
    struct network net;
    const char *message;

    write_file("bad.json", text, size);
    said();
    if (tfjs_load(&net, "bad.json")) {
        check(false, word);
        printf("     accepted\n");
        network_free(&net);
        return;
    }
    message = said();
    check(net.count == 0 && net.layers == NULL, "leaves nothing");
    if (strstr(message, word) == NULL) {
        check(false, word);
        printf("     was: %s", message);
    }
}

static void test_bad(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[LONGEST];
        const char *at = strstr(good, bad[i].from);

        check(at != NULL, bad[i].from);
        if (at == NULL)
            continue;
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, bad[i].to,
                 at + strlen(bad[i].from));
        refuse(text, strlen(text), bad[i].word);
    }
    for (size_t size = 0; size < sizeof good - 1; size += 97)
        refuse(good, size, "bad.json");
}

int main(int argc, char **argv)
{
    if (argc != 2 || (mkdir(argv[1], 0777) != 0 && errno != EEXIST)) {
        fputs("usage: test-tfjs FOLDER\n", stderr);
        return 2;
    }
    if (chdir(argv[1]) != 0) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    write_file("model.json", good, sizeof good - 1);
    write_weights();
    test_good();
    test_bad();
    remove("bad.json");
    printf("reader: %d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
