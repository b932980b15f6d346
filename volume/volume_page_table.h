/* The parts of the page that are tables of volumes. Pure; any thread. */
#pragma once

#include "volume/volume_page_view.h"

/* The volumes that the query asks for: the form, a page of them, the way to the others. */
void volume_page_print_volumes(struct volume_page_view *view, struct buffer *out);
void volume_page_print_damage(const struct volume_page_view *view, struct buffer *out);
