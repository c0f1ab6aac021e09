"""Every signature of an export asked the same questions, whoever answers: the graph itself or a server."""

import numpy as np

from lts_keras.prediction.compare import TOLERANCES, compare_answers, expect_answers, read_answers
from lts_keras.prediction.photos import letterbox_photo

__all__ = ["SIGNATURES", "compare_signatures"]

SIGNATURES = ("serving_default", "segment_expressions", "locate_and_segment", "segment_encoded", "segment_tensors")
"""What is compared; `encode_photo` is by what `segment_encoded` makes of its answer."""


def compare_signatures(ask, predictor, samples, tolerance=TOLERANCES["float32"], names=SIGNATURES):
    """Compares signatures with the Keras model.

    Args:
        ask: function of a signature's name and a dict of arrays that gives a dict of arrays.
        predictor: `Predictor` on the model that was exported.
        samples: list of `(image_bytes, expressions)`: bytes and a list of str.
        tolerance: `Tolerance`.
        names: those of `SIGNATURES` to ask.

    Returns:
        `(report, differences)`: dict with `photos`, `expressions`, `pixels` and `ties` (pixels of masks that differ
        within the tolerance; in float32, 0 is usual); list of str, one for each signature and expression that is
        answered differently.
    """
    report, differences = {"photos": 0, "expressions": 0, "pixels": 0, "ties": 0}, []
    for image_bytes, expressions in samples:
        expected = expect_answers(predictor, image_bytes, expressions)
        for name, outputs in _answers(ask, image_bytes, expressions, names):
            for expression, answer, one in zip(expressions, read_answers(outputs), expected, strict=True):
                found, ties = compare_answers(answer, one, tolerance=tolerance)
                differences += [f"{name} on {expression!r}: {', '.join(found)}"] if found else []
                report["ties"] += ties
                report["pixels"] += one.mask.size
        if "segment_tensors" in names:
            maps = ask("segment_tensors", _tensors(predictor, image_bytes, expressions))
            for row, (expression, one) in enumerate(zip(expressions, expected, strict=True)):
                for name, wanted in zip(("mask", "prior"), one.maps, strict=True):
                    apart = float(np.abs(maps[name][row] - wanted).max())
                    if not apart <= tolerance.probability:
                        differences.append(f"segment_tensors on {expression!r}: {name} differs by {apart:.2g}")
        report["photos"] += 1
        report["expressions"] += len(expressions)
    return report, differences


def _answers(ask, image_bytes, expressions, names):
    """Yields the names of the signatures of photos and what they answer, both halves together as one."""
    strings = np.array([text.encode("utf-8") for text in expressions], dtype=object)
    photos = np.array([image_bytes] * len(expressions), dtype=object)
    if "serving_default" in names:
        yield "serving_default", ask("serving_default", {"image_bytes": photos, "expression": strings})
    for name in ("segment_expressions", "locate_and_segment"):
        if name in names:
            yield name, ask(name, {"image_bytes": photos[:1], "expression": strings})
    if "segment_encoded" in names:
        encoded = ask("encode_photo", {"image_bytes": photos[:1]})
        yield "segment_encoded", ask("segment_encoded", encoded | {"expression": strings})


def _tensors(predictor, image_bytes, expressions):
    image, _ = letterbox_photo(predictor.read_pixels(image_bytes), predictor.image_size, predictor.image_resize)
    token_ids = predictor.tokenizer(expressions).numpy()
    return {"image": np.repeat(image.numpy()[None], len(expressions), axis=0), "token_ids": token_ids}
