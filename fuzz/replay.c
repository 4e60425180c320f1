/* SPDX-License-Identifier: MIT */
/*
 * replay - runs a fuzz target without libFuzzer: over the files of a folder, each of which is a case, and over mutations of
 * them for a second, which are one case more. What a mutation breaks, its number breaks again.
 */
#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "mutate.h"

#define REPLAY_LEN_MAX (1 << 20)
#define REPLAY_SECONDS 1
#define REPLAY_PATIENCE_S 20

/* The whole file in memory of exactly its length, so that reading behind the end is seen. */
static uint8_t *replay_read(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rb");
	uint8_t *all, *data = NULL;

	if (!file)
		return NULL;
	all = malloc(REPLAY_LEN_MAX);
	if (all) {
		*ret_len = fread(all, 1, REPLAY_LEN_MAX, file);
		data = malloc(*ret_len ? *ret_len : 1);
	}
	if (data)
		memcpy(data, all, *ret_len);
	free(all);
	fclose(file);
	return data;
}

static int replay_is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* All inputs of a folder, by name; ends the process if there is none or one cannot be read. */
static struct fuzz_input *replay_load(const char *folder, unsigned *ret_nr)
{
	struct dirent **entries = NULL;
	int nr = scandir(folder, &entries, replay_is_input, alphasort);
	struct fuzz_input *inputs = nr > 0 ? calloc((size_t)nr, sizeof(*inputs)) : NULL;

	for (int i = 0; inputs && i < nr; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		inputs[i].name = strdup(entries[i]->d_name);
		inputs[i].data = replay_read(path, &inputs[i].len);
		free(entries[i]);
		if (!inputs[i].data) {
			perror(path);
			exit(2);
		}
	}
	free(entries);
	if (!inputs) {
		fprintf(stderr, "replay: no inputs in %s\n", folder);
		exit(2);
	}
	*ret_nr = (unsigned)nr;
	return inputs;
}

static void replay_free(struct fuzz_input *inputs, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		free((char *)inputs[i].name);
		free(inputs[i].data);
	}
	free(inputs);
}

static void replay_mutation(const struct fuzz_input *inputs, unsigned nr, uint64_t number)
{
	struct fuzz_input input = fuzz_mutate(inputs, nr, number);

	LLVMFuzzerTestOneInput(input.data, input.len);
	free(input.data);
}

static double replay_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* In a process of its own, which says in shared memory how far it has come. The number of the first that failed, or 0. */
static uint64_t replay_mutations(const struct fuzz_input *inputs, unsigned nr, uint64_t *ret_nr_done)
{
	uint64_t *number = mmap(NULL, sizeof(*number), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double end = replay_now() + REPLAY_SECONDS;
	int status = 0;
	pid_t child = number == MAP_FAILED ? -1 : fork();

	if (child < 0) {
		perror("replay");
		exit(2);
	}
	if (child == 0) {
		alarm(REPLAY_SECONDS + REPLAY_PATIENCE_S); /* one that does not end is a finding, too */
		while (replay_now() < end)
			replay_mutation(inputs, nr, ++*number);
		replay_free((struct fuzz_input *)inputs, nr);
		exit(0);
	}
	waitpid(child, &status, 0);
	*ret_nr_done = *number;
	return status == 0 ? 0 : *number;
}

static int replay_all(const char *folder, const struct fuzz_input *inputs, unsigned nr)
{
	uint64_t nr_done, failed;

	printf("1..%u\n", nr + 1);
	for (unsigned i = 0; i < nr; i++) {
		LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].len);
		printf("ok %u - %s\n", i + 1, inputs[i].name);
		fflush(stdout);
	}
	failed = replay_mutations(inputs, nr, &nr_done);
	if (failed)
		printf("# again with the arguments %s %" PRIu64 "\n", folder, failed);
	printf("%sok %u - mutations\n", failed ? "not " : "", nr + 1);
	printf("# %" PRIu64 " executions: %u inputs, and mutations from 1 on\n", nr + nr_done, nr);
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct fuzz_input *inputs;
	unsigned nr;
	int status = 0;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: replay FOLDER [MUTATION]\n");
		return 2;
	}
	inputs = replay_load(argv[1], &nr);
	if (argc == 3)
		replay_mutation(inputs, nr, strtoull(argv[2], NULL, 10));
	else
		status = replay_all(argv[1], inputs, nr);
	replay_free(inputs, nr);
	return status;
}
