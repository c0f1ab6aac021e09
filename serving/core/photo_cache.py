"""Encodings of photos seen lately: who types a second sentence waits for the second half of the network alone."""

import collections
import hashlib
import threading
import time
import weakref

import numpy as np

__all__ = ["ENCODE", "SEGMENT", "PhotoCache", "has_halves"]

ENCODE, SEGMENT = "encode_photo", "segment_encoded"
"""Signatures of the two halves: bytes of photos to features; features of one photo and sentences to answers."""

_PHOTO, _SENTENCES = "image_bytes", "expression"
_WHOLE = ("segment_expressions", "locate_and_segment", "serving_default")
_KEPT_SECONDS = 600.0


class PhotoCache:
    """Runs signatures of a servable, and keeps what its first half gave, keyed by the photo's content and the servable.

    A servable without the halves, and a request for several photos, run as they come. Safe to call from many threads;
    two that bring the same new photo at once both encode it.

    Args:
        max_bytes: int, of all encodings together; the longest unused go first. `0` keeps none and never splits.
        seconds: float. An encoding that nobody asked for so long is forgotten.
        clock: callable that gives seconds.
    """

    def __init__(self, max_bytes, seconds=_KEPT_SECONDS, clock=time.monotonic):
        self.max_bytes, self._seconds, self._clock = max_bytes, seconds, clock
        self._lock = threading.Lock()
        self._entries = collections.OrderedDict()  # (token, digest) -> (encoding, bytes, last use); oldest use first
        self._tokens = weakref.WeakKeyDictionary()
        # A finalizer may run wherever memory is given, within the lock too: it leaves word, and takes no lock.
        self._gone = collections.deque()
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    @property
    def bytes(self):
        """What all encodings take together."""
        with self._lock:
            self._sweep()
            return self._bytes

    def run(self, servable, signature_name, inputs, outputs, timeout=None):
        """As `Servable.run`.

        Args:
            servable: `Servable`.
            signature_name: str.
            inputs: dict of arrays by name.
            outputs: names of what is wanted.
            timeout: float, seconds for both halves together; `None` for no limit.

        Returns:
            dict of arrays by name.
        """
        if not self._applies(servable, signature_name, inputs):
            return servable.run(signature_name, inputs, outputs, timeout=timeout)
        deadline = None if timeout is None else self._clock() + timeout
        photo = inputs[_PHOTO]
        key = (self._token(servable), hashlib.sha256(photo[0]).digest())
        encoding = self._find(key)
        if encoding is None:
            names = list(servable.signatures[ENCODE].outputs)
            encoding = servable.run(ENCODE, {_PHOTO: photo}, names, timeout=timeout)
            self._keep(key, encoding)
        left = None if deadline is None else max(0.001, deadline - self._clock())
        return servable.run(SEGMENT, encoding | {_SENTENCES: inputs[_SENTENCES]}, outputs, timeout=left)

    def _applies(self, servable, signature_name, inputs):
        if not self.max_bytes or signature_name not in _WHOLE or not has_halves(servable, signature_name):
            return False
        photo, sentences = inputs[_PHOTO], inputs[_SENTENCES]
        # Rows that do not fit each other are for the graph to refuse, in its own words.
        same = signature_name != "serving_default" or len(sentences) == 1
        return len(photo) == 1 and len(sentences) > 0 and same

    def _token(self, servable):
        """Stands for the servable: a version that is loaded again starts anew, one that is gone leaves nothing."""
        with self._lock:
            if servable not in self._tokens:
                token = self._tokens[servable] = object()
                weakref.finalize(servable, self._gone.append, token)
            return self._tokens[servable]

    def _find(self, key):
        with self._lock:
            self._sweep()
            entry = self._entries.pop(key, None)
            if entry is None:
                self.misses += 1
                return None
            self.hits += 1
            self._entries[key] = (*entry[:2], self._clock())
            return entry[0]

    def _keep(self, key, encoding):
        size = sum(np.asarray(array).nbytes for array in encoding.values())
        if size > self.max_bytes:
            return
        with self._lock:
            self._sweep()
            self._remove(key)
            self._entries[key] = (encoding, size, self._clock())
            self._bytes += size
            while self._bytes > self.max_bytes:
                self._remove(next(iter(self._entries)))

    def _sweep(self):
        """Drops what is too old, and what servables that are gone had."""
        oldest = self._clock() - self._seconds
        while self._entries and next(iter(self._entries.values()))[2] < oldest:
            self._remove(next(iter(self._entries)))
        while self._gone:
            token = self._gone.popleft()
            for key in [key for key in self._entries if key[0] is token]:
                self._remove(key)

    def _remove(self, key):
        entry = self._entries.pop(key, None)
        self._bytes -= entry[1] if entry else 0


def has_halves(servable, signature_name="segment_expressions"):
    """Whether a servable can run a signature of photos and sentences in two halves."""
    signatures = servable.signatures
    if not {ENCODE, SEGMENT, signature_name} <= set(signatures):
        return False
    whole, encode, segment = (signatures[name] for name in (signature_name, ENCODE, SEGMENT))
    return (
        set(whole.inputs) == {_PHOTO, _SENTENCES}
        and set(encode.inputs) == {_PHOTO}
        and set(segment.inputs) == {*encode.outputs, _SENTENCES}
        and set(segment.outputs) >= set(whole.outputs)
    )
