/* Pictures that are part of the program. */
#pragma once

extern const unsigned char static_icon_favicon[370]; /* .ico */
extern const unsigned char static_icon_logo[456];    /* .png, 50 by 50 */
