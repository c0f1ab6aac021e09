"""`lts export`: from the trained preset to everything that is served or handed on."""

import json
from pathlib import Path

from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.records import MANIFEST_FILE, find_shards, parse_record, read_records
from lts_keras.data.schema import DataError
from lts_keras.data.text import Tokenizer
from lts_keras.export import ExportError
from lts_keras.export.loss import LossCheck
from lts_keras.export.model_card import write_model_card
from lts_keras.export.parity import check_saved_model
from lts_keras.export.saved_model import export_saved_model
from lts_keras.export.warm_up import drawn_photo
from lts_keras.models.trained import trained_model
from lts_keras.prediction.network import float32_twin
from lts_keras.prediction.predictor import Predictor
from lts_keras.utils.files import atomic_folder

__all__ = ["export"]

_PHOTOS = 3
_EXPRESSIONS = 3


def export(config, workdir, progress=print):
    """Writes `export/` from `train/preset/`: `saved_model/`, ONNX files, `model_card.md`, `parity.json`.

    The folder appears whole, after the SavedModel and the ONNX file were found to answer as the Keras model does;
    otherwise the one that was there stays.

    Args:
        config: `Config`.
        workdir: path of the work directory.
        progress: function that takes a line of text.

    Returns:
        Path of the folder.

    Raises:
        ExportError: if the answers differ, one of less precision loses too much, or a stock server could not load the
            graph.
        WeightsError: if there is no preset.
        ConfigError: keys of `model` that contradict the preset.
        DataError: if the preset has no vocabulary.
    """
    workdir = Path(workdir)
    model = float32_twin(trained_model(config, workdir))
    if model.vocabulary is None:
        raise DataError(f"{workdir / 'train' / 'preset'}: the model has no vocabulary, so it cannot read expressions")
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    predictor = Predictor(model, config.export.batch_sizes[-1], config.export.max_photo_pixels)
    with atomic_folder(workdir / "export") as folder:
        progress(f"writing the SavedModel, batch sizes {', '.join(map(str, config.export.batch_sizes))}")
        export_saved_model(model, tokenizer, folder / "saved_model", config.export)
        # `Predictor` refuses a sentence without a word, the served graph answers it; the network does the same in both.
        wordless = (drawn_photo(model.image_size, model.image_size), ["?"])
        samples = [*find_samples(data_folder(config, workdir), model.image_size), wordless]
        precision, data_dir = config.export.precision, data_folder(config, workdir)
        report = check_saved_model(folder / "saved_model", predictor, samples, precision) | {"precision": precision}
        sign = "=" if precision == "float32" else "near the"
        progress(f"SavedModel {sign} Keras model on {report['expressions']} expressions, {report['pixels']} pixels")
        loss_check = LossCheck(model, config, data_dir, progress)
        if precision != "float32":
            report["loss"] = loss_check(folder / "saved_model")
        if config.export.onnx:
            report |= _export_onnx(model, folder, config, data_dir, loss_check, progress)
        (folder / "parity.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        write_model_card(folder / "model_card.md", model, config, workdir, report)
    return workdir / "export"


def _export_onnx(model, folder, config, data_dir, loss_check, progress):
    from lts_keras.export.onnx.files import write_onnx_files

    try:
        return write_onnx_files(model, folder, config, data_dir, loss_check, progress)
    except ImportError as error:
        raise ExportError(f"{error} (or export.onnx=false)") from error


def find_samples(data_dir, image_size):
    """Photos and expressions for the parity check: some of the prepared data's, and drawn ones of odd sizes.

    Args:
        data_dir: folder of prepared data; there need not be any.
        image_size: side of the model's square in pixels.

    Returns:
        List of `(image_bytes, expressions)`.
    """
    samples = [
        (drawn_photo(height, width), ["the left one", "xyzzy"])
        for height, width in ((image_size // 2, image_size), (3, 5), (2 * image_size + 1, image_size - 1))
    ]
    if not (data_dir / MANIFEST_FILE).is_file():
        return samples
    for path in find_shards(data_dir)[:1]:
        for serialized in read_records(path):
            record = parse_record(serialized)
            expressions = [text.decode("utf-8") for text in record["expressions"].values.numpy()[:_EXPRESSIONS]]
            if expressions:
                samples.append((record["image_bytes"].numpy(), expressions))
            if len(samples) >= 3 + _PHOTOS:
                break
    return samples
