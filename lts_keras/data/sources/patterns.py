"""Files that a source names by patterns."""

from pathlib import Path

from lts_keras.data.schema import DataError
from lts_keras.data.sources.fields import short

__all__ = ["find_files"]


def find_files(config, root):
    """Returns the sorted paths of the files below `root` that fit a pattern of `config.files`.

    Raises:
        DataError: a pattern that is none, or an absolute one.
    """
    found = set()
    for pattern in config.files:
        try:
            found.update(path for path in Path(root).glob(pattern) if path.is_file())
        except (ValueError, IndexError, NotImplementedError) as error:
            raise DataError(
                f"data.sources of {config.name}: files: a pattern is relative to data.root, as data/val-*.parquet. "
                f"Received: {short(pattern)}"
            ) from error
    return sorted(found)
