/* SPDX-License-Identifier: MIT */
/* copy - one call for one source and one sink. */
#include <usplice.h>

int usp_copy_files(struct usp_file *from, struct usp_file *to, const struct usp_pump_params *params,
		   struct usp_route_total *ret_total)
{
	struct usp_pump *pump;
	int ret = usp_pump_new(from, params, &pump);

	if (ret < 0)
		return ret;
	ret = usp_pump_add_sink(pump, to);
	if (ret == 0)
		ret = usp_pump_run(pump);
	if (ret_total)
		usp_pump_total(pump, ret_total);
	usp_pump_free(pump);
	return ret;
}

int usp_copy(const char *from, const char *to, const struct usp_pump_params *params, struct usp_route_total *ret_total)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *source, *sink;
	int ret = usp_open(from, &to_read, &source, NULL), late;

	if (ret < 0)
		return ret;
	to_write.source = source;
	ret = usp_open(to, &to_write, &sink, NULL);
	if (ret == 0) {
		ret = usp_copy_files(source, sink, params, ret_total);
		late = usp_file_close(sink);
		ret = ret < 0 ? ret : late;
	}
	usp_file_put(source);
	return ret;
}
