/* Gives memory back that only the start of a process needed. */
#pragma once

/* Any thread; takes a millisecond or so. */
void memory_trim(void);
