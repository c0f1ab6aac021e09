"""The one evaluator: every expression, at the photo's original size. `lts evaluate` and the pipeline both use it."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask

from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.records import data_digest, read_manifest
from lts_keras.data.schema import DataError
from lts_keras.data.text import Tokenizer
from lts_keras.evaluation.scores import Scores
from lts_keras.models.trained import trained_model, trained_options
from lts_keras.prediction.answer import restore_answer
from lts_keras.utils.files import atomic_write
from lts_keras.utils.version import code_version

__all__ = ["evaluate", "judge", "predict_expressions"]


def evaluate(config, workdir):
    """Judges the preset in the work directory on the prepared data there.

    Args:
        config: `Config`.
        workdir: folder with `data/` and `train/preset/`; `evaluate/metrics.json` and `evaluate/predictions.json` are
            written there.

    Returns:
        dict, the contents of metrics.json.

    Raises:
        DataError: no prepared data, or none of the splits of `config.evaluate.splits` in it.
        WeightsError: no preset.
        ConfigError: keys of `model` that contradict the preset.
    """
    workdir = Path(workdir)
    model = trained_model(config, workdir)
    options = trained_options(workdir / "train" / "preset")
    data_dir = data_folder(config, workdir)
    metrics, predictions = judge(model, data_dir, config.evaluate, seed=config.seed)
    metrics |= {
        # The section `model` is the preset's: what was not given here has the schema's value and not the model's.
        "config": config.model_dump(mode="json") | {"model": options},
        "code_version": code_version(),
        "data_digest": data_digest(data_dir),
    }
    folder = workdir / "evaluate"
    atomic_write(folder / "predictions.json", json.dumps(predictions))
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1))
    return metrics


def judge(model, data_dir, options, seed=0, progress=print):
    """Judges a model on every expression of the splits.

    Args:
        model: `LTS` with a vocabulary.
        data_dir: folder of prepared data.
        options: `EvaluateConfig`.
        seed: int, of the bootstrap.
        progress: function that takes a line of text.

    Returns:
        Tuple `(metrics, predictions)`, as metrics.json and predictions.json hold them.
    """
    present = {split for shard in read_manifest(data_dir)["shards"] for split in shard["splits"]}
    splits = [split for split in options.splits if split in present]
    if not splits:
        raise DataError(
            f"{data_dir}: none of evaluate.splits {list(options.splits)} is there. Found: {sorted(present)}"
        )
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    dataset = evaluation_dataset(
        data_dir,
        tokenizer,
        splits=splits,
        image_size=model.image_size,
        image_resize=getattr(model, "image_resize", "letterbox"),
        batch_size=options.batch_size,
    )
    scores, predictions = Scores(options.groups), []
    for answer in predict_expressions(model, dataset):
        truth, box = answer.pop("truth"), answer.pop("truth_box")
        scores.add(answer, truth, box)
        predictions.append(answer)
        mask = answer.pop("mask")
        answer["segmentation"] = _encode(mask)
        if len(predictions) % 500 == 0:
            progress(f"evaluated {len(predictions)} expressions")
    metrics = {"threshold": model.threshold} | scores.result(options.bootstrap_samples, seed)
    progress(f"evaluated {len(predictions)} expressions on {', '.join(splits)}")
    return metrics, predictions


def predict_expressions(model, dataset):
    """Yields an answer for every expression of an `evaluation_dataset`.

    Yields:
        dict: `ref_id`, `expression`, `image_id`, `dataset`, `split`, `category`; `mask` bool `(height, width)`,
        `score`, `box`, `point` in the photo's pixels; `truth` bool `(height, width)` or `None` for an object with a
        box alone, `truth_box` `(4,)`.
    """
    size, threshold, resize = model.image_size, model.threshold, getattr(model, "image_resize", "letterbox")

    @tf.function(reduce_retracing=True)
    def forward(image, token_ids, image_index):
        return model.segment(model.encode_image(image), token_ids, image_index=image_index)

    @tf.function(reduce_retracing=True)
    def restore(mask, prior, height, width):
        return restore_answer(tf.sigmoid(mask), prior, height, width, size, threshold, resize)

    for batch in dataset:
        outputs = forward(batch["image"], batch["token_ids"], batch["image_index"])
        for row, image in enumerate(batch["image_index"].numpy()):
            height, width = batch["original_size"][image][0], batch["original_size"][image][1]
            answer = restore(outputs["mask"][row], outputs["prior"][row], height, width)
            png = batch["mask_png"][row]
            yield {
                "ref_id": _text(batch["ref_id"][row]),
                "expression": _text(batch["expression"][row]),
                "image_id": _text(batch["photo_id"][image]),
                "dataset": _text(batch["dataset"][row]),
                "split": _text(batch["split"][row]),
                "category": _text(batch["category"][row]),
                "mask": answer["mask"].numpy(),
                "score": float(answer["score"]),
                "box": answer["box"].numpy().tolist(),
                "point": answer["point"].numpy().tolist(),
                "truth": tf.io.decode_png(png)[..., 0].numpy() > 0 if batch["has_mask"][row] else None,
                "truth_box": batch["box"][row].numpy(),
            }


def _text(value):
    return value.numpy().decode("utf-8", "replace")


def _encode(mask):
    """COCO's compressed run-length encoding of a bool mask, with `counts` as text."""
    encoded = coco_mask.encode(np.asfortranarray(mask, "uint8"))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
