/* SPDX-License-Identifier: MIT */
/* replay - runs a fuzz target over the files of a folder, without libFuzzer: so the corpus is a test. */
#include <dirent.h>
#include <string.h>

#include "fuzz.h"

#define REPLAY_LEN_MAX (1 << 20)

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

/* 0, or 1 if the file cannot be read. A finding does not return. */
static int replay_file(const char *folder, const char *name, int number)
{
	char path[4096];
	size_t len = 0;
	uint8_t *data;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	data = replay_read(path, &len);
	if (data)
		LLVMFuzzerTestOneInput(data, len);
	printf("%sok %d - %s\n", data ? "" : "not ", number, name);
	fflush(stdout);
	free(data);
	return data ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	int nr_entries = argc == 2 ? scandir(argv[1], &entries, replay_is_input, alphasort) : 0, status = 0;

	if (nr_entries <= 0) {
		fprintf(stderr, "usage: replay FOLDER (with inputs in it)\n");
		return 2;
	}
	printf("1..%d\n", nr_entries);
	for (int i = 0; i < nr_entries; i++) {
		status |= replay_file(argv[1], entries[i]->d_name, i + 1);
		free(entries[i]);
	}
	free(entries);
	return status;
}
