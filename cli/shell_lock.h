/* The cluster's admin lock. Main thread. */
#pragma once

#include "cli/shell_session.h"

/* Leases the lock, waiting for another holder; renews it until released. */
int shell_lock_acquire(struct shell *shell, struct error *err);
/* Gives it back; nothing to give back is fine. */
void shell_lock_release(struct shell *shell);
bool shell_lock_is_held(struct shell *shell);
