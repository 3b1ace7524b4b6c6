/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mpi-compress: the training of ../fashion on several ranks. Every rank has the weights
 * and the solver; each mini-batch is divided among them.
 */
#include "ranks.h"

#include "../fashion/compression.h"

#include <inttypes.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Updates a few steps apart do not settle: momentum is still carrying the last one out. */
enum { UPDATES_PER_EPOCH = 8, LEAST_STEPS = 40, MOST_RANKS = WORKERS };

struct job {
    struct dataset training, test;
    struct values weights;
    struct trainer trainer;
    struct recipe recipe;
    struct compression compression;
    int dense_epochs;
    const char *name;
};

static bool first_rank(void)
{
    return ranks_rank() == 0;
}

/* What goes wrong on one rank ends all. */
static void must_do(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "rank %d: %s failed\n", ranks_rank(), what);
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    exit(EXIT_FAILURE);
}

/* Each rank looks at every n-th part of the images. */
static double accuracy(struct job *job)
{
    const uint32_t n = (uint32_t)ranks_count(), rank = (uint32_t)ranks_rank();
    const uint32_t first = job->test.count * rank / n;
    const uint32_t end = job->test.count * (rank + 1) / n;
    struct dataset part = {end - first, job->test.images + (size_t)first * IMAGE_SIZE,
                           job->test.labels + first};
    double correct = trainer_accuracy(&job->trainer, &part) * part.count;

    ranks_sum(&correct, 1, MSW_REAL_DOUBLE, NULL);
    return correct / job->test.count;
}

/* Dense training is the host's own loop: the sum of the gradients is all it needs. */
static void train_dense(struct job *job)
{
    struct trainer *t = &job->trainer;
    const int steps = job->dense_epochs * trainer_epoch_steps(t);
    const float rate = t->learning_rate;

    for (int step = 0; step < steps; step++) {
        trainer_gradient(t);
        ranks_sum(t->gradient.all, PARAMETER_VALUES, MSW_REAL_FLOAT, NULL);
        for (int i = 0; i < PARAMETER_VALUES; i++)
            t->gradient.all[i] /= (float)ranks_count();
        t->learning_rate = cosine_rate(rate, step, steps);
        trainer_step(t);
    }
    t->learning_rate = rate;
    memset(t->velocity.all, 0, PARAMETER_VALUES * sizeof(float));
}

/* One line for each rank, and false when they differ. */
static bool print_hashes(const struct job *job)
{
    uint64_t own, all[MOST_RANKS];
    bool same = true;

    if (!compression_check(&job->compression, msw_admm_hash(&own, job->compression.admm),
                           "hash"))
        return false;
    MPI_Allgather(&own, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, MPI_COMM_WORLD);
    for (int i = 0; i < ranks_count(); i++) {
        if (first_rank())
            printf("hash.%d %016" PRIx64 "\n", i, all[i]);
        same = same && all[i] == all[0];
    }
    return same;
}

static void print_residuals(const struct compression *c)
{
    for (int i = 0; i < LAYERS; i++)
        printf("residual %.3f\n", msw_admm_residual(c->admm, c->recipe->layer[i].parameter,
                                                    MSW_RESIDUAL_PRIMAL));
}

static void print_accuracy(struct job *job, const char *of)
{
    const double percent = accuracy(job);

    if (first_rank())
        printf("accuracy.%s %.2f\n", of, percent);
}

static void compress(struct job *job)
{
    struct compression *c = &job->compression;

    must_do(compression_new(c, &job->trainer, &job->recipe), "the solver");
    c->host.allreduce = ranks_sum;
    c->host.rank = (uint32_t)ranks_rank();
    c->host.rank_count = (uint32_t)ranks_count();
    c->quiet = !first_rank();
    must_do(callbacks_admm(c), "ADMM");
    if (first_rank())
        print_residuals(c);
    must_do(compression_check(c, msw_admm_freeze_ranks(c->admm, &c->host), "freeze"),
            "freezing");
    print_accuracy(job, "projected");
    must_do(callbacks_retrain(c), "retraining");
    print_accuracy(job, "retrained");
    must_do(print_hashes(job), "comparing the ranks");
    if (first_rank())
        must_do(compression_print_layers(c) && compression_save(c, job->name), "saving");
    compression_free(c);
}

static bool parse(struct job *job, int argc, char **argv)
{
    if (argc != 2 && argc != 5 && argc != 6)
        return false;
    job->name = argv[1];
    job->dense_epochs = argc > 2 ? atoi(argv[2]) : 6;
    job->recipe = default_recipe;
    job->recipe.admm_epochs = argc > 2 ? atoi(argv[3]) : 6;
    job->recipe.retrain_epochs = argc > 2 ? atoi(argv[4]) : 4;
    return job->dense_epochs > 0 && job->recipe.admm_epochs > 0 &&
           job->recipe.retrain_epochs > 0;
}

static void plan_updates(struct job *job)
{
    const int epochs = job->recipe.admm_epochs;
    const int most = epochs * trainer_epoch_steps(&job->trainer) / LEAST_STEPS;
    const int wanted = UPDATES_PER_EPOCH * epochs;

    must_do(most > 0, "training: too few images for the updates:");
    job->recipe.updates = wanted < most ? wanted : most;
}

/* All ranks with the same seeds: the same weights at first, the same mini-batches. */
static void set_up(struct job *job, const char *folder)
{
    const int parts = WORKERS / ranks_count();

    must_do(dataset_load(&job->training, folder, "train") &&
            dataset_load(&job->test, folder, "t10k"), "reading the images");
    must_do(values_new(&job->weights) &&
            trainer_new(&job->trainer, &job->training, &job->weights, 1), "memory");
    network_initialise(&job->weights, 1);
    plan_updates(job);
    job->trainer.first_part = ranks_rank() * parts;
    job->trainer.parts = parts;
}

int main(int argc, char **argv)
{
    static struct job job;

    MPI_Init(&argc, &argv);
    must_do(ranks_open(), "memory");
    if (!parse(&job, argc, argv) || WORKERS % ranks_count() != 0) {
        if (first_rank())
            fprintf(stderr, "usage: mpirun -n 1|2|%d mpi-compress FILE "
                    "[DENSE ADMM RETRAINING [FOLDER]]\n", MOST_RANKS);
        MPI_Finalize();
        return 2;
    }
    set_up(&job, argc > 5 ? argv[5] : DATA_FOLDER);
    if (first_rank())
        printf("ranks %d\n", ranks_count());
    train_dense(&job);
    print_accuracy(&job, "dense");
    compress(&job);
    trainer_free(&job.trainer);
    values_free(&job.weights);
    dataset_free(&job.test);
    dataset_free(&job.training);
    ranks_close();
    MPI_Finalize();
    return EXIT_SUCCESS;
}
