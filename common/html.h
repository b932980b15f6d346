/* Text in HTML pages. Pure; any thread. */
#pragma once

#include "common/buffer.h"

/* Appends the text with & < > " ' as entities, as Go's template package writes them. */
void html_append_escaped(struct buffer *out, struct slice text);
