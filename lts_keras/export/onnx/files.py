"""The ONNX files of an export, written, compared with the Keras model and judged."""

from pathlib import Path

from lts_keras.export.onnx.calibration import calibration_questions, has_photos
from lts_keras.export.onnx.check import check_halves, check_onnx
from lts_keras.export.onnx.int8 import export_int8
from lts_keras.export.onnx.write import write_onnx
from lts_keras.prediction.onnx_network import ENCODE_FILE, SEGMENT_FILE, WHOLE_FILE

__all__ = ["write_onnx_files"]


def write_onnx_files(model, folder, config, data_dir, check_loss, progress=print):
    """Writes what `config.export` says: `model.onnx`, `encode.onnx` with `segment.onnx`, and `*.int8.onnx`.

    Args:
        model: `LTS` in float32.
        folder: path of the folder to write in.
        config: `Config`.
        data_dir: `Path` of prepared data, whose photos calibrate the 8-bit files.
        check_loss: `LossCheck` of the model.
        progress: function that takes a line of text.

    Returns:
        dict for the record: `onnx_difference`, the largest difference of a probability; and, of 8-bit files, `int8`:
        dict from the file's name to what `check_loss` found, or `None`.

    Raises:
        ImportError: without the extra `onnx`.
        ExportError: a file could not be made, answers otherwise than the Keras model, or loses too much.
    """
    folder, kind, differences = Path(folder), config.export.onnx, []
    whole, encode, segment = (folder / name for name in (WHOLE_FILE, ENCODE_FILE, SEGMENT_FILE))
    files = {} if kind == "halves" else {"whole": whole}
    files |= {} if kind == "whole" else {"encode": encode, "segment": segment}
    progress(f"writing {', '.join(path.name for path in files.values())}")
    write_onnx(model, files)
    if "whole" in files:
        differences.append(check_onnx(whole, model))
    if "encode" in files:
        differences.append(check_halves(encode, segment, model))
    progress(f"ONNX = Keras model within {max(differences):.1e}")
    report = {"onnx_difference": max(differences)}
    if config.export.onnx_int8:
        sources = [files[name] for name in ("whole", "encode") if name in files]
        report["int8"] = _write_int8(model, sources, config, data_dir, check_loss, progress)
    return report


def _write_int8(model, sources, config, data_dir, check_loss, progress):
    count, found = config.export.onnx_calibration_photos, {}
    photos = "prepared" if has_photos(data_dir) else "drawn"
    for source in sources:
        path = source.with_suffix(".int8.onnx")
        progress(f"writing {path.name}, calibrated on {count} {photos} photos at most")
        export_int8(source, path, calibration_questions(model, data_dir, count))
        found[path.name] = check_loss(path)
    return found
