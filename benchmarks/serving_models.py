"""The exports that the serving benchmark races: an LTS of the paper's size with random weights."""

import types

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from lts_keras.export.onnx import export_onnx
from lts_keras.export.onnx.calibration import calibration_questions
from lts_keras.export.onnx.int8 import export_int8
from lts_keras.models.variants import make_lts

WORDS = tuple(["left", "right", "dog", "the", "red", "cup", "man", "in", "of"] + [f"word{n}" for n in range(8_000)])


def export_models(workdir, size):
    """Writes what is not there yet.

    Args:
        workdir: path of the folder.
        size: int, side of the network's square in pixels.

    Returns:
        `model`, and the paths `float32`, `bfloat16`, `onnx`, `onnx_int8` of its exports.
    """
    import keras

    keras.utils.set_random_seed(0)
    model = make_lts(vocabulary=WORDS, image_size=size)
    model.build_from_config({})
    folder = workdir / f"size-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    for precision in ("float32", "bfloat16"):
        if not (folder / precision / "1").is_dir():
            print(f"exporting {precision}", flush=True)
            aside = folder / f".{precision}"
            export_saved_model(model, tokenizer, aside, ExportConfig(precision=precision))
            (folder / precision).mkdir(exist_ok=True)
            aside.rename(folder / precision / "1")
    onnx = folder / "model.onnx"
    if not onnx.is_file():
        print("exporting ONNX", flush=True)
        export_onnx(model, folder / "aside.onnx").rename(onnx)
    int8 = folder / "model.int8.onnx"
    if not int8.is_file():
        print("exporting ONNX in 8 bits", flush=True)
        export_int8(onnx, folder / "aside.onnx", calibration_questions(model, folder, 4)).rename(int8)
    graphs = {precision: folder / precision for precision in ("float32", "bfloat16")}
    return types.SimpleNamespace(model=model, folder=folder, onnx=onnx, onnx_int8=int8, **graphs)
