/* SPDX-License-Identifier: MIT */
/* test_stages - files over files as the source of a pump: a hop for each file, and the sum. */
#include "support.h"

#define LEN ((size_t)10 * PAGE)

/* A stage that passes the bufs of the file below on as they are, and says so. */
static ssize_t look_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = usp_file_splice_read(in->below, &in->below->pos, pipe, len, flags);

	(void)pos;
	if (ret > 0)
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, (size_t)ret, "looked at");
	return ret;
}

static const struct usp_file_ops look_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "look",
	.splice_read = look_splice_read,
	.poll_fd = usp_stack_poll_fd,
	.release = usp_stack_release,
};

/* A stage that makes two bytes of each. */
static ssize_t double_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	size_t slot = usp_pipe_slot_bytes(pipe), half = (len < slot ? len : slot) / 2;
	struct usp_folio *folio = usp_folio_new(2 * half);
	struct iovec iov = {.iov_base = folio->base, .iov_len = half};
	ssize_t ret = usp_file_read_iter(in->below, &(struct usp_iter){.iov = &iov, .nr_segs = 1, .count = half},
					 &in->below->pos, flags);
	struct usp_buf buf = {.ops = &usp_folio_buf_ops, .store = folio};

	(void)pos;
	if (ret <= 0) {
		usp_folio_put(folio);
		return ret;
	}
	memcpy(folio->base + ret, folio->base, (size_t)ret);
	buf.len = 2 * (size_t)ret;
	usp_pipe_push(pipe, &buf, 1);
	usp_file_account(in, USP_READ, USP_REWRITTEN, buf.len, "doubled");
	return (ssize_t)buf.len;
}

static const struct usp_file_ops double_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "double",
	.splice_read = double_splice_read,
	.poll_fd = usp_stack_poll_fd,
	.release = usp_stack_release,
};

/* Put a stage over *file. Like every stage of its kind it is a stream. */
static void put_over(struct usp_file **file, const struct usp_file_ops *ops)
{
	struct usp_file *stage;

	assert_int_equal(usp_stack_new(ops, *file, USP_READ, ops->name, NULL, &stage), 0);
	stage->traits &= ~USP_FILE_SEEKABLE;
	*file = stage;
}

static struct usp_pump *new_pump(struct usp_file *source, struct usp_file *sink, unsigned flags)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = flags};
	struct usp_pump *pump;

	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	return pump;
}

static struct usp_hop hop_of(const struct usp_pump *pump, unsigned index, const char *from, const char *to)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	assert_int_equal(usp_pump_hop(pump, index, &hop), 0);
	assert_string_equal(hop.from, from);
	assert_string_equal(hop.to, to);
	return hop;
}

static struct usp_route_total total_of(const struct usp_pump *pump)
{
	struct usp_route_total total = {.size = sizeof(total)};

	usp_pump_total(pump, &total);
	return total;
}

static void each_file_of_a_chain_has_a_hop_the_lowest_first(void **state)
{
	struct mock *below = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct usp_file *source = usp_file_get(below->file);
	const char *name = usp_file_spec(below->file);
	struct usp_pump *pump;
	struct usp_hop hop;

	(void)state;
	below->size = (int64_t)LEN;
	put_over(&source, &look_ops);
	put_over(&source, &look_ops);
	pump = new_pump(source, sink->file, 0);
	assert_int_equal(usp_pump_nr_hops(pump), 4);
	assert_int_equal(usp_pump_check(pump), 0);
	assert_int_equal(hop_of(pump, 0, name, "look").expected, USP_COPIED);
	assert_int_equal(hop_of(pump, 1, "look", "look").expected, USP_BY_REFERENCE);
	assert_int_equal(hop_of(pump, 2, "look", "pipe").expected, USP_BY_REFERENCE);
	assert_int_equal(usp_pump_run(pump), 0);
	assert_int_equal(hop_of(pump, 0, name, "look").bytes[USP_COPIED], LEN);
	assert_int_equal(hop_of(pump, 2, "look", "pipe").bytes[USP_BY_REFERENCE], LEN);
	hop = hop_of(pump, 3, "pipe", usp_file_spec(sink->file));
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], LEN);
	assert_int_equal(usp_pump_hop(pump, 4, &hop), -EINVAL);
	assert_int_equal(total_of(pump).copied, LEN);
	assert_int_equal(total_of(pump).by_reference, 0);
	assert_int_equal(below->file->pos, LEN);
	drop(&source); /* the accounts outlive the files */
	assert_int_equal(hop_of(pump, 0, name, "look").bytes[USP_COPIED], LEN);
	usp_pump_free(pump);
	mock_close(below);
	mock_close(sink);
}

static void a_copy_below_a_stage_refuses_a_run_without_copies(void **state)
{
	struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct usp_file *source = usp_file_get(below->file);
	struct usp_pump *pump;

	(void)state;
	below->size = (int64_t)LEN;
	put_over(&source, &look_ops);
	pump = new_pump(source, sink->file, USP_PUMP_REQUIRE_ZERO_COPY);
	assert_int_equal(usp_pump_run(pump), -USP_EWOULDCOPY);
	assert_int_equal(below->nr_calls, 0);
	usp_pump_free(pump);
	drop(&source);
	mock_close(below);
	mock_close(sink);
}

static void computed_bytes_are_neither_copied_nor_by_reference(void **state)
{
	struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
	struct mock *sinks[2] = {mock_open(&mock_drop_ops, USP_WRITE, 0), mock_open(&mock_copy_ops, USP_WRITE, 0)};
	struct usp_file *source = usp_file_get(below->file);
	struct usp_pump *pump;

	(void)state;
	below->size = (int64_t)LEN;
	put_over(&source, &double_ops);
	put_over(&source, &look_ops);
	pump = new_pump(source, sinks[0]->file, 0);
	assert_int_equal(usp_pump_add_sink(pump, sinks[1]->file), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	assert_int_equal(hop_of(pump, 1, "double", "look").bytes[USP_REWRITTEN], 2 * LEN);
	assert_int_equal(total_of(pump).rewritten, 2 * LEN); /* of the sink that drops */
	assert_int_equal(total_of(pump).copied, 2 * LEN);    /* of the other one */
	assert_int_equal(total_of(pump).by_reference, 0);
	usp_pump_free(pump);
	drop(&source);
	mock_close(below);
	mock_close(sinks[0]);
	mock_close(sinks[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(each_file_of_a_chain_has_a_hop_the_lowest_first),
		CASE(a_copy_below_a_stage_refuses_a_run_without_copies),
		CASE(computed_bytes_are_neither_copied_nor_by_reference),
	};

	return cmocka_run_group_tests_name("stages", tests, NULL, NULL);
}
