"""Where prepared data lies: in the work directory, or where another `lts prepare` made it (`data.prepared`)."""

from pathlib import Path

from lts_keras.data.prepare.code import text_code
from lts_keras.data.prepare.records import read_manifest
from lts_keras.data.schema import DataError

__all__ = ["data_folder", "described_data", "is_of_other_code"]


def data_folder(config, workdir):
    """Returns the folder of the shards, `manifest.json` and `vocabulary.txt`; it need not be there yet.

    Args:
        config: `Config`.
        workdir: work directory.

    Raises:
        DataError: `data.prepared` holds no prepared data, or data of other sources than the configuration names.
    """
    prepared = config.data.prepared
    if prepared is None:
        return Path(workdir) / "data"
    folder = next((one for one in (prepared, prepared / "data") if (one / "manifest.json").is_file()), None)
    if folder is None:
        raise DataError(f"data.prepared: {prepared}: no prepared data there; run `lts prepare --workdir` of it first")
    if "sources" in config.data.model_fields_set:
        _compare(described_data(config), read_manifest(folder).get("data", {}), folder)
    return folder


def described_data(config):
    """What of the section `data` decides the records and the vocabulary, as plain values; no place on this machine."""
    return config.data.model_dump(mode="json", include={"sources", "vocabulary_min_count"})


def is_of_other_code(data_dir):
    """Whether other code than this made words of the expressions of prepared data: its vocabulary may not fit."""
    return read_manifest(data_dir).get("code", {}).get("text") != text_code()


def _compare(wanted, found, folder):
    theirs, ours = found.get("vocabulary_min_count"), wanted["vocabulary_min_count"]
    if ours != theirs:
        raise DataError(f"data.prepared: {folder} was made with vocabulary_min_count: {theirs}. Received: {ours}")
    ours, theirs = wanted["sources"], found.get("sources", [])
    for index in range(max(len(ours), len(theirs))):
        if index >= len(ours) or index >= len(theirs):
            raise DataError(
                f"data.prepared: {folder} was made from {len(theirs)} sources. Received: {len(ours)} in data.sources"
            )
        for key in sorted({*ours[index], *theirs[index]}):
            if ours[index].get(key) != theirs[index].get(key):
                raise DataError(
                    f"data.prepared: {folder} was made from other sources: data.sources[{index}].{key} was "
                    f"{theirs[index].get(key)!r}. Received: {ours[index].get(key)!r}"
                )
