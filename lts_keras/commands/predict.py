"""`lts predict`: expressions on one photo, answered by a preset, or by ONNX files without TensorFlow.

TensorFlow comes after all that can be checked.
"""

from lts_keras.commands.resolved import print_resolved
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.evaluation.pictures import write_overlay
from lts_keras.prediction.onnx_predictor import OnnxPredictor
from lts_keras.prediction.question import check_expressions, check_photo_file, read_photo, view_photo
from lts_keras.utils.quiet import import_tensorflow
from lts_keras.weights import WeightsError

__all__ = ["check_question", "predict_to_file", "predict_with_onnx", "predict_with_preset"]

WITH_PRESET = ("evaluate.threshold", "imports")
"""Keys that mean something where a preset has decided all others."""


def check_question(options):
    """Checks what a user gave to `lts predict`, without TensorFlow.

    Raises:
        ConfigError: not exactly one of preset, ONNX files, and configuration with work directory.
        DataError: an empty expression, or a photo that cannot be read.
        WeightsError: no preset lies there.
    """
    given = [name for name in ("preset", "model", "config", "workdir") if getattr(options, name)]
    if given not in (["preset"], ["model"], ["config", "workdir"]):
        received = " ".join(f"--{name}" for name in given) or "none of them"
        raise ConfigError(f"give --preset alone, --model alone, or --config and --workdir. Received: {received}")
    check_expressions(options.expression)
    check_photo_file(options.image)
    if options.model:
        return
    described = (options.preset or options.workdir / "train" / "preset") / "model.json"
    if not described.is_file():
        raise WeightsError(f"{described}: no such file; a preset is what `lts train` leaves in train/preset")


def predict_with_preset(options):
    """Runs `lts predict --preset`: no configuration, no work directory.

    Raises:
        ConfigError: an override of something that the preset has decided.
        WeightsError: the preset is missing or damaged.
    """
    for override in options.overrides:
        key, _, value = (part.strip() for part in override.partition("="))
        if key not in WITH_PRESET:
            raise ConfigError(f"{key}: the preset has decided this; with --preset only {', '.join(WITH_PRESET)} counts")
        if (key, value) == ("evaluate.threshold", "best"):
            raise ConfigError(
                f"{key}: best is chosen in a work directory; give --config and --workdir of it. Received: {value}"
            )
    config = parse_config({}, options.overrides)
    print_resolved(config, f"{options.preset}/model.json")
    predict_to_file(config, options.preset, options.image, options.expression, options.output)


def predict_with_onnx(options):
    """Runs `lts predict --model`: ONNX files hold all that an answer takes, and TensorFlow is not imported.

    Raises:
        ConfigError: an override, or onnxruntime is not installed.
        WeightsError: the files are missing or damaged.
    """
    if options.overrides:
        raise ConfigError(
            f"{options.overrides[0].partition('=')[0]}: the export has decided this; --model stands alone"
        )
    try:
        predictor = OnnxPredictor(options.model)
    except ImportError as error:
        raise ConfigError(f"{options.model}: {error}") from error
    expressions = check_expressions(options.expression)
    predictions = predictor.predict_many(options.image, expressions)
    write_overlay(options.output, view_photo(options.image), expressions, predictions)


def predict_to_file(config, preset, image, expressions, output, workdir=None):
    """Answers expressions on one photo, prints a line for each and writes them as one overlay picture.

    Args:
        config: `Config`: `imports`, and threshold and presence of `evaluate`.
        preset: folder of the trained model.
        image: path of the photo.
        expressions: list of str.
        output: path of the PNG file.
        workdir: work directory that the preset lies in, and what `lts evaluate` chose for it; `None` for one alone.

    Returns:
        List of `Prediction`.

    Raises:
        DataError: an empty expression, or a photo that cannot be read.
        WeightsError: the preset is missing or damaged.
        ConfigError: keys of `model` that contradict the preset, or a threshold or presence that was not chosen yet.
    """
    expressions, photo = check_expressions(expressions), view_photo(image)
    import_tensorflow()
    from lts_keras.models.trained import model_of_preset, trained_model

    model = model_of_preset(config, preset) if workdir is None else trained_model(config, workdir)
    predictions = model.predictor().predict_many(read_photo(image)[1], expressions)
    write_overlay(output, photo, expressions, predictions)
    return predictions
