"""Writes a model's features and coarse masks for every sentence of prepared data, as a refiner takes them (table 3)."""

import concurrent.futures
import hashlib
import json
from pathlib import Path

import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.data.features.files import write_sentence
from lts_keras.data.features.folder import HEADER_FILE, INDEX_FILE, FeatureHeader, open_features
from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.schema import DataError
from lts_keras.data.text import Tokenizer
from lts_keras.layers.locator import NoLocator
from lts_keras.prediction.fused import fused_and_prior
from lts_keras.prediction.network import float32_twin
from lts_keras.utils.files import atomic_write, sweep

__all__ = ["write_features"]

_THREADS = 4


def write_features(model, data_dir, splits, folder, name="LTS", progress=print):
    """Writes the fused features (16 bits) and the prior of an `LTS` for every sentence of some splits.

    Killed and started again, it leaves out the sentences whose files are there; the index comes last.

    Args:
        model: `LTS` with a vocabulary and a locator. A model without segmentation has its prior as its mask, so that
            the coarse masks are its answers.
        data_dir: folder of prepared data.
        splits: list of str, each of them in the data.
        folder: path of the folder to write.
        name: str, which model and data it is. A folder of another name is left as it is.
        progress: function that takes a line of text.

    Returns:
        `FeatureFolder`.

    Raises:
        ConfigError: the model has no prior.
        DataError: the folder holds another model's features, or a split is not in the data.
    """
    if isinstance(model.locator, NoLocator):
        raise ConfigError("model.locator: a model without a locator has no coarse mask to refine. Received: null")
    folder, threshold = Path(folder), float(model.threshold)
    grid = model.image_size // 8
    header = FeatureHeader(
        2 * model.fusion.fusion_dim, grid, model.image_size, getattr(model, "image_resize", "letterbox"),
        threshold=threshold, model=name,
    )  # fmt: skip
    _begin(folder, header)
    model = float32_twin(model)
    forward = tf.function(lambda *inputs: fused_and_prior(model, *inputs), reduce_retracing=True)
    dataset = evaluation_dataset(
        data_dir,
        Tokenizer(model.vocabulary, model.max_tokens),
        splits=splits,
        image_size=model.image_size,
        image_resize=header.image_resize,
    )
    lines, written = {}, 0
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for batch in dataset:
            keys = [_key(batch, row) for row in range(len(batch["ref_id"]))]
            files = {row: _file(key) for row, key in enumerate(keys)}
            new = {row: file for row, file in files.items() if not (folder / file).is_file()}
            if new:
                fused, prior = (value.numpy() for value in forward(*(batch[one] for one in _INPUTS)))
                # A sentence that an object has twice is one file.
                unique = {file: row for row, file in new.items()}
                paths, rows = [folder / file for file in unique], list(unique.values())
                list(pool.map(write_sentence, paths, fused[rows], prior[rows]))
                written += len(unique)
            before = len(lines)
            lines |= {files[row]: _line(files[row], key) for row, key in enumerate(keys)}
            if len(lines) // 1000 > before // 1000:
                progress(f"features of {len(lines)} sentences, {written} of them new")
    atomic_write(folder / INDEX_FILE, "".join(lines[file] for file in sorted(lines)))
    opened = open_features(folder)
    size = sum(path.stat().st_size for path in set(opened.files.values())) / 2**20
    progress(f"{len(lines)} sentences of {', '.join(splits)}, {written} of them new, {size:,.0f} MiB in {folder}")
    return opened


_INPUTS = ("image", "token_ids", "image_index")


def _begin(folder, header):
    """Writes the header, or finds the same one there."""
    path = folder / HEADER_FILE
    if path.is_file():
        found = FeatureHeader.read(path)
        if found != header:
            raise DataError(
                f"{path}: features of another model, data or threshold: {found.model or 'without a name'}. Give "
                "another folder, or remove this one"
            )
        sweep(folder)
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder}: neither empty nor a folder of features; give another one")
    atomic_write(path, json.dumps(header.to_json(), indent=1) + "\n")


def _key(batch, row):
    return tuple(batch[name][row].numpy().decode("utf-8") for name in ("dataset", "ref_id", "expression"))


def _file(key):
    """A name that the sentence alone decides, so that a later run finds it; few files in each folder."""
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    return f"{name[:2]}/{name}.npz"


def _line(file, key):
    dataset, ref_id, expression = key
    value = {"file": file, "dataset": dataset, "ref_id": ref_id, "expression": expression}
    return json.dumps(value, ensure_ascii=False) + "\n"
