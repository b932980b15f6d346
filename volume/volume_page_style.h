/* The style and the script of the page, as they stand in it. */
#pragma once

extern const char volume_page_style[], volume_page_script[];
