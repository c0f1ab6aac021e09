"""Opens the sources that a configuration names, each with the reader of its kind."""

import importlib
from pathlib import Path

from lts_keras.data.sources.patterns import find_files

__all__ = ["open_source", "open_sources", "read_source", "source_files"]

_CLASSES = {
    "scenes": "ScenesSource",
    "refer": "ReferSource",
    "coco": "CocoSource",
    "parquet": "ParquetSource",
    "manifest": "ManifestSource",
}


def open_source(config, root):
    """Opens the source that a section of `data.sources` describes.

    Raises:
        DataError: an annotation file is missing, damaged or of another layout.
    """
    module = importlib.import_module(f"lts_keras.data.sources.{config.kind}")
    return getattr(module, _CLASSES[config.kind])(config, root)


def source_files(config, root):
    """Paths that a section names or, by a pattern, finds now, without opening them."""
    if config.kind == "parquet":
        return find_files(config, root)
    if config.kind == "refer":
        return sorted((Path(root) / config.folder / config.dataset).glob("*"))
    return []


def open_sources(data):
    """Opens all sources of a `DataConfig`, as a tuple.

    Ids are local to a file. Where several sections have one name, the ref ids of all but the first have the name of
    their file in front, so that a section that is added leaves the ids of the others as they were.

    Raises:
        DataError: as `open_source`.
    """
    sources, seen = [], set()
    for index, section in enumerate(data.sources):
        source = open_source(section, data.root)
        if (source.name, source.ref_space) in seen:
            source.ref_prefix = f"{source.relative(source.files[0]) if source.files else index}:"
        seen.add((source.name, source.ref_space))
        sources.append(source)
    return tuple(sources)


def read_source(config, root):
    """Yields every `Photo` of a source, in its order.

    Raises:
        DataError: an annotation or a photo cannot be used.
    """
    source = open_source(config, root)
    for entry in source.entries():
        yield source.read(entry.key)
