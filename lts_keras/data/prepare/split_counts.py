"""How many samples the photos of a shard give, by split."""

import collections

__all__ = ["SplitCounts"]


class SplitCounts:
    """Counts objects that have an expression, and photos by their number of expressions, for each split."""

    def __init__(self):
        self._refs = collections.Counter()
        self._photos = collections.defaultdict(collections.Counter)

    def add(self, objects):
        """Adds a photo; `objects` are pairs of a split and a number of expressions."""
        lengths = collections.Counter()
        for split, length in objects:
            if length:
                self._refs[split] += 1
                lengths[split] += length
        for split, length in lengths.items():
            self._photos[split][length] += 1

    def to_json(self):
        """Returns `{split: {"refs": int, "photos_by_expressions": {"1": int, ...}}}`, in order."""
        return {
            split: {
                "refs": self._refs[split],
                "photos_by_expressions": {str(length): photos[length] for length in sorted(photos)},
            }
            for split, photos in sorted(self._photos.items())
        }
