/* SPDX-License-Identifier: BSD-2-Clause */
#include "cnn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* darknet ends the program when a file is missing, and not always with a word. */
static bool is_readable(const char *path)
{
    FILE *file = fopen(path, "r");

    if (file == NULL)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    else
        fclose(file);
    return file != NULL;
}

network *cnn_load(const char *cfg, const char *weights)
{
    network *net;

    if (!is_readable(cfg) || (weights != NULL && !is_readable(weights)))
        return NULL;
    /* It only reads them. */
    net = load_network((char *)cfg, (char *)weights, 0);
    if (net->inputs == IMAGE_SIZE && net->outputs == CLASSES && net->subdivisions == 1)
        return net;
    fprintf(stderr, "%s: not from 28x28 images to 10 classes, or subdivided\n", cfg);
    free_network(net);
    return NULL;
}

static void shuffle(struct cnn *cnn)
{
    for (uint32_t i = cnn->images->count; i > 1; i--) {
        uint32_t other = (uint32_t)rand() % i, swapped = cnn->order[other];

        cnn->order[other] = cnn->order[i - 1];
        cnn->order[i - 1] = swapped;
    }
    cnn->next = 0;
}

bool cnn_new(struct cnn *cnn, const char *cfg, const struct dataset *images,
             unsigned seed)
{
    *cnn = (struct cnn){.images = images};
    srand(seed);
    cnn->net = cnn_load(cfg, NULL);
    cnn->order = malloc(images->count * sizeof *cnn->order);
    if (cnn->net != NULL && cnn->order == NULL)
        fputs("not enough memory\n", stderr);
    if (cnn->net == NULL || cnn->order == NULL) {
        cnn_free(cnn);
        return false;
    }
    for (uint32_t i = 0; i < images->count; i++)
        cnn->order[i] = i;
    shuffle(cnn);
    return true;
}

void cnn_free(struct cnn *cnn)
{
    if (cnn->net != NULL)
        free_network(cnn->net);
    free(cnn->order);
    *cnn = (struct cnn){0};
}

uint32_t cnn_epoch_steps(const struct cnn *cnn)
{
    return cnn->images->count / (uint32_t)cnn->net->batch;
}

void cnn_updates(struct cnn *cnn)
{
    network *net = cnn->net;
    const uint32_t batch = (uint32_t)net->batch;

    if (cnn->next + batch > cnn->images->count)
        shuffle(cnn);
    memset(net->truth, 0, batch * CLASSES * sizeof *net->truth);
    for (uint32_t i = 0; i < batch; i++) {
        const uint32_t image = cnn->order[cnn->next++];

        image_normalise(net->input + i * IMAGE_SIZE,
                        cnn->images->images + (size_t)image * IMAGE_SIZE);
        net->truth[i * CLASSES + cnn->images->labels[image]] = 1;
    }
    net->train = 1;
    *net->seen += batch;
    forward_network(net);
    backward_network(net);
}

void cnn_step(struct cnn *cnn, double rate)
{
    cnn->net->learning_rate = (float)rate;
    update_network(cnn->net);
}

int cnn_class(const float *scores)
{
    int best = 0;

    for (int i = 1; i < CLASSES; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

void cnn_classify(int *class, network *net, const struct dataset *images, uint32_t first)
{
    const uint32_t batch = (uint32_t)net->batch;
    float *scores;

    for (uint32_t i = 0; i < batch; i++) {
        const uint32_t image = first + i < images->count ? first + i : images->count - 1;

        image_normalise(net->input + i * IMAGE_SIZE,
                        images->images + (size_t)image * IMAGE_SIZE);
    }
    scores = network_predict(net, net->input);
    for (uint32_t i = 0; i < batch; i++)
        class[i] = cnn_class(scores + i * CLASSES);
}

double cnn_accuracy(network *net, const struct dataset *images)
{
    const uint32_t batch = (uint32_t)net->batch;
    int *class = calloc(batch, sizeof *class);
    uint32_t right = 0;

    if (class == NULL)
        return 0;
    for (uint32_t first = 0; first < images->count; first += batch) {
        cnn_classify(class, net, images, first);
        for (uint32_t i = 0; i < batch && first + i < images->count; i++)
            right += class[i] == images->labels[first + i];
    }
    free(class);
    return 100.0 * right / images->count;
}
