/* SPDX-License-Identifier: MIT */
/* cmd_list - `usplice list`: what this build has, what this machine lets it use, and why not the rest. */
#include "cli.h"
#include "json.h"
#include "option.h"
#include "probe_compare.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <usplice.h>

#define LIST_PARTS_MAX 256
#define LIST_TEXT_MAX 512
#define LIST_TEXT_COLUMN 26
#define LIST_COLUMNS 80

static const char *const list_kinds[USP_NR_PART_KINDS] = {
	[USP_PART_ENDPOINT] = "endpoints", [USP_PART_TRANSFORM] = "transforms", [USP_PART_FORMAT] = "formats",
	[USP_PART_DIGEST] = "digests",	   [USP_PART_LANE] = "lanes",		[USP_PART_FEATURE] = "features",
};

struct list_request {
	bool json, names, help;
	bool kinds[USP_NR_PART_KINDS]; /* those to show */
};

struct list {
	struct usp_part parts[LIST_PARTS_MAX];
	unsigned nr;
};

#define FIELD(member) offsetof(struct list_request, member)

static const struct option_row list_options[] = {
	{"json", 0, NULL, "write the list as JSON", option_flag, FIELD(json)},
	{"names", 0, NULL, "write only the names of what can be used here, one a\nline", option_flag, FIELD(names)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(help)},
	{.name = NULL},
};

static int list_help(void)
{
	fputs("usage: usplice list [OPTIONS] [KIND]...\n\n"
	      "List what this usplice has, with the libraries that it uses, and what is missing on\n"
	      "this machine, and why. KIND is endpoints, transforms, formats, digests, lanes or\n"
	      "features; without one all are listed.\n\n",
	      stdout);
	option_print(list_options);
	fputs("\nExit code: 0 done, 2 usage, 1 anything else.\n", stdout);
	return message_close_stdout();
}

/* --- The parts -------------------------------------------------------------------------------------------------- */

/* Ask once: each question may load a library, or make an experiment. */
static void list_ask(struct list *list)
{
	list->nr = 0;
	while (list->nr < LIST_PARTS_MAX - 1) {
		list->parts[list->nr] = (struct usp_part){.size = sizeof(struct usp_part)};
		if (usp_part_at(list->nr, &list->parts[list->nr]) < 0)
			break;
		list->nr++;
	}
	probe_compare_tell(&list->parts[list->nr++]); /* the command's own */
}

/* Call show for each part of a kind. nr counts those of the kind. */
static void list_each(const struct list *list, int kind, void (*show)(const struct usp_part *part, unsigned nr))
{
	unsigned i, nr = 0;

	for (i = 0; i < list->nr; i++) {
		if (list->parts[i].kind == (enum usp_part_kind)kind)
			show(&list->parts[i], nr++);
	}
}

/* --- For people --------------------------------------------------------------------------------------------------- */

/* Print words from the column of the text on, in lines of at most LIST_COLUMNS. */
static void list_wrap(const char *text, int column)
{
	int room = LIST_COLUMNS - LIST_TEXT_COLUMN, len, cut;

	while (*text != '\0') {
		printf("%*s", LIST_TEXT_COLUMN - column, "");
		len = (int)strlen(text);
		for (cut = len <= room ? len : room; cut < len && cut > 0 && text[cut] != ' ';)
			cut--;
		if (cut == 0)
			cut = len <= room ? len : room; /* a word that is too long */
		printf("%.*s\n", cut, text);
		text += cut + strspn(text + cut, " ");
		column = 0;
	}
}

static size_t list_add(char *text, size_t len, const char *separator, const char *word)
{
	if (len < LIST_TEXT_MAX)
		len += (size_t)snprintf(text + len, LIST_TEXT_MAX - len, "%s%s", separator, word);
	return len;
}

static void list_describe(const struct usp_part *part, char text[LIST_TEXT_MAX])
{
	size_t len = list_add(text, 0, "", part->summary ? part->summary : "");
	const char *const *option;

	if (part->modes == USP_READ)
		len = list_add(text, len, "; ", "a source only");
	else if (part->modes == USP_WRITE)
		len = list_add(text, len, "; ", "a sink only");
	for (option = part->options; option && *option; option++)
		len = list_add(text, len, option == part->options ? "; options " : ", ", *option);
	if (part->library && !part->missing) {
		len = list_add(text, len, "; ", part->library);
		if (part->version)
			len = list_add(text, len, ", ", part->version);
	}
	if (part->missing)
		list_add(text, len, "; MISSING: ", part->missing);
}

/* The first column: how it is written if that fits, else its name. */
static void list_show(const struct usp_part *part, unsigned nr)
{
	char text[LIST_TEXT_MAX];
	bool is_written = part->kind == USP_PART_ENDPOINT || part->kind == USP_PART_TRANSFORM;
	int column;

	(void)nr;
	column = printf("  %s", is_written ? part->form : part->name);
	list_describe(part, text);
	list_wrap(text, column);
}

static void list_show_all(const struct list_request *request, const struct list *list)
{
	struct utsname machine;
	int kind;

	printf("usplice %s", usp_version());
	if (uname(&machine) == 0)
		printf(" on %s %s, %s", machine.sysname, machine.release, machine.machine);
	putchar('\n');
	for (kind = 0; kind < USP_NR_PART_KINDS; kind++) {
		if (!request->kinds[kind])
			continue;
		printf("\n%s\n", list_kinds[kind]);
		list_each(list, kind, list_show);
	}
}

/* --- For programs -------------------------------------------------------------------------------------------------- */

static void list_name(const struct usp_part *part, unsigned nr)
{
	(void)nr;
	if (part->name && !part->missing)
		puts(part->name);
}

static void list_json_text(const char *key, const char *text)
{
	printf(",\"%s\":", key);
	json_put(stdout, text);
}

static void list_json(const struct usp_part *part, unsigned nr)
{
	const char *const *option;

	fputs(nr > 0 ? ",\n{\"name\":" : "\n{\"name\":", stdout);
	json_put(stdout, part->name);
	list_json_text("form", part->form);
	list_json_text("summary", part->summary);
	if (part->kind == USP_PART_ENDPOINT) {
		printf(",\"source\":%s,\"sink\":%s,\"options\":[", part->modes & USP_READ ? "true" : "false",
		       part->modes & USP_WRITE ? "true" : "false");
		for (option = part->options; option && *option; option++) {
			fputs(option == part->options ? "" : ",", stdout);
			json_put(stdout, *option);
		}
		putchar(']');
	}
	list_json_text("library", part->library);
	list_json_text("version", part->version);
	list_json_text("missing", part->missing);
	putchar('}');
}

static void list_json_all(const struct list_request *request, const struct list *list)
{
	struct utsname machine;
	int kind;

	fputs("{\"version\":", stdout);
	json_put(stdout, usp_version());
	list_json_text("kernel", uname(&machine) == 0 ? machine.release : NULL);
	list_json_text("machine", uname(&machine) == 0 ? machine.machine : NULL);
	for (kind = 0; kind < USP_NR_PART_KINDS; kind++) {
		if (!request->kinds[kind])
			continue;
		printf(",\"%s\":[", list_kinds[kind]);
		list_each(list, kind, list_json);
		putchar(']');
	}
	fputs("}\n", stdout);
}

/* --- The command -------------------------------------------------------------------------------------------------- */

/* Note the kinds that are asked for: an exit code. */
static int list_parse_kinds(struct list_request *request, char *const *names)
{
	int kind;

	for (kind = 0; kind < USP_NR_PART_KINDS; kind++)
		request->kinds[kind] = !names[0];
	for (; *names; names++) {
		for (kind = 0; kind < USP_NR_PART_KINDS && strcmp(list_kinds[kind], *names) != 0; kind++)
			;
		if (kind == USP_NR_PART_KINDS) {
			message_say("list: '%s' is none of endpoints, transforms, formats, digests, lanes and features",
				    *names);
			return CLI_USAGE;
		}
		request->kinds[kind] = true;
	}
	return CLI_DONE;
}

int cmd_list(int argc, char **argv)
{
	static struct list list; /* large */
	struct list_request request = {.json = false};
	int first = option_parse(list_options, argc, argv, &request), kind;

	if (first < 0)
		return CLI_USAGE;
	if (request.help)
		return list_help();
	if (request.json && request.names) {
		message_say("list: --json and --names exclude each other");
		return CLI_USAGE;
	}
	if (list_parse_kinds(&request, argv + first) != CLI_DONE)
		return CLI_USAGE;
	list_ask(&list);
	if (request.json)
		list_json_all(&request, &list);
	else if (!request.names)
		list_show_all(&request, &list);
	for (kind = 0; request.names && kind < USP_NR_PART_KINDS; kind++) {
		if (request.kinds[kind])
			list_each(&list, kind, list_name);
	}
	return message_close_stdout();
}
