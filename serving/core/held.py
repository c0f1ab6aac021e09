"""A loaded version that is not closed under the requests that run in it."""

import threading

__all__ = ["Held"]


class Held:
    """Counts who uses a servable; closes it once it is retired and nobody does.

    Args:
        servable: `Servable`.
        identity: what its folder was when it was loaded.
        closed: callable without arguments, called after the close.
    """

    def __init__(self, servable, identity, closed=lambda: None):
        self.servable = servable
        self.identity = identity
        self._closed = closed
        self._uses = 0
        self._retired = False
        self._lock = threading.Lock()

    def acquire(self):
        """Returns whether the servable may be used until `release`; not so once it is retired."""
        with self._lock:
            if self._retired:
                return False
            self._uses += 1
            return True

    def release(self):
        """Ends one use."""
        with self._lock:
            self._uses -= 1
            last = self._retired and not self._uses
        if last:
            self._close()

    def retire(self):
        """No further use; requests that run are not waited for here."""
        with self._lock:
            last = not self._retired and not self._uses
            self._retired = True
        if last:
            self._close()

    def _close(self):
        # Giving back the memory of a large model takes a while, which the last request's answer should not wait for. No
        # daemon: a process that ends in the middle of it would be aborted.
        threading.Thread(target=self._run_close, name="model-unload", daemon=False).start()

    def _run_close(self):
        self.servable.close()
        self._closed()
