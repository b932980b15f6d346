/* Where `kelp export` puts needles: a tar file, or plain files in a folder. Main thread; blocks. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

struct export_sink;

/* "-": a tar on standard output; "x.tar": a tar file, under its name once it is whole; a folder,
 * or a name that ends in "/": files in it. KELP_E_INVALID for anything else. */
int export_sink_open(struct export_sink **ret, const char *output, struct error *err);
/* `name` is sanitized (export_name.h). KELP_E_EXISTS when such a file is in the folder already;
 * the sink may be used further then, and after no other failure. */
int export_sink_add(struct export_sink *sink, const char *name, struct slice data, uint64_t modified,
                    struct error *err);
/* Completes the output if is_whole, else removes an unfinished tar; frees the sink. NULL is fine. */
int export_sink_close(struct export_sink *sink, bool is_whole, struct error *err);
