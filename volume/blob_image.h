/* Pictures that are asked for in another size than they are stored in. Source: spec/volume-http.md
 * 12. Loop thread. */
#pragma once

#include "volume/blob.h"

/* Whether the URL asks for that, of what is called a picture. The needle must be there. */
bool blob_image_is_wanted(struct blob *blob);
/* The same of one that is too big to be read unasked: only the URL's extension counts. False, too,
 * if what is wanted has been made before. Needs all of the needle but its data. */
bool blob_image_wants_whole(struct blob *blob);
/* Makes the picture the content and then calls `next`, or answers itself that it cannot be. False:
 * the content is to go out as it is. */
bool blob_image_start(struct blob *blob, void (*next)(struct blob *blob));
