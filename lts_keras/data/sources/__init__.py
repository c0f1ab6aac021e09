"""Readers of data sets, one module a kind, all into the schema of `lts_keras.data.schema`."""

from lts_keras.data.sources.base import Entry, Fingerprint, PhotoError, Source
from lts_keras.data.sources.open import open_source, open_sources, read_source, source_files

__all__ = [
    "Entry",
    "Fingerprint",
    "PhotoError",
    "Source",
    "open_source",
    "open_sources",
    "read_source",
    "source_files",
]
