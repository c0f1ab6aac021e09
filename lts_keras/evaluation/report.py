"""The page of an evaluation: metrics with intervals beside trivial answers, good and bad answers in pictures."""

import base64
import io
import json
from pathlib import Path

import numpy as np

from lts_keras.config.errors import ConfigError
from lts_keras.evaluation import pictures
from lts_keras.utils.files import atomic_write

__all__ = ["METRICS", "choose", "format_slices", "write_report"]

METRICS = {
    "mean_iou": "mean IoU",
    "overall_iou": "overall IoU",
    "precision_at_50": "P@50",
    "precision_at_70": "P@70",
    "precision_at_90": "P@90",
    "localization_accuracy": "localization",
}
TRIVIAL = {
    "whole_image": "the whole photo",
    "centered_box": "best centred box",
    "left_right_rule": "left/right/top/bottom rule",
}
_PICTURE_SIDE = 360


def write_report(config, workdir):
    """Writes `evaluate/report.html` from metrics.json, predictions.json, the records and the trained preset.

    Args:
        config: `Config`; `evaluate.num_pictures` answers are shown, half good and half bad ones.
        workdir: work directory.

    Returns:
        Path of the page, one file that needs nothing beside it.

    Raises:
        ConfigError: if there is no evaluation in the work directory.
    """
    import jinja2

    folder = Path(workdir) / "evaluate"
    metrics, predictions = _read(folder / "metrics.json"), _read(folder / "predictions.json")
    chosen = choose(predictions, config.evaluate.num_pictures, config.seed)
    wanted = [one for group in chosen.values() for one in group]
    shown = dict(zip(map(_key, wanted), _pictures(wanted, config, workdir), strict=True)) if wanted else {}
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("lts_keras"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = templates.get_template("report.html").render(
        name=config.name,
        metrics=metrics,
        columns=METRICS,
        slices={name: _rows(name, metrics) for name in metrics["slices"] if name.count("/") < 2},
        histograms=_histograms(predictions),
        groups=[
            (title, [(one, shown[_key(one)]) for one in chosen[group]])
            for group, title in (("good", "From the best third"), ("bad", "From the worst third"))
        ],
    )
    return atomic_write(folder / "report.html", page)


def choose(predictions, count, seed=0):
    """Draws answers to show: half from the best third by IoU, half from the worst, as many photos as possible.

    Args:
        predictions: list of dicts of predictions.json; those without a true mask are passed over.
        count: int, how many in all.
        seed: the same answers for the same seed.

    Returns:
        Dict `good`, `bad` -> list of predictions; good ones by falling, bad ones by rising IoU.
    """
    ranked = sorted((one for one in predictions if one["iou"] is not None), key=lambda one: -one["iou"])
    third = max(1, len(ranked) // 3) if ranked else 0
    generator, shown = np.random.default_rng(seed), set()

    def draw(group):
        order = [group[index] for index in generator.permutation(len(group))]
        picked = []
        # Photos that were not shown yet come first; `sorted` keeps the drawn order otherwise.
        while order and len(picked) < count // 2:
            order.sort(key=lambda one: one["image_id"] in shown)
            picked.append(order.pop(0))
            shown.add(picked[-1]["image_id"])
        return picked

    good, bad = draw(ranked[:third]), draw(ranked[max(third, len(ranked) - third) :])
    return {"good": sorted(good, key=lambda one: -one["iou"]), "bad": sorted(bad, key=lambda one: one["iou"])}


def format_slices(slices):
    """Returns metrics.json's `slices` as an aligned text table, without the parts of a split."""
    rows = [("", *METRICS.values(), "expressions")]
    for name, values in slices.items():
        if name.count("/") < 2:
            cells = [_cell(values, metric) for metric in METRICS]
            texts = ["-" if cell["value"] is None else f"{cell['value']:.3f}" for cell in cells]
            if cells[0].get("low") is not None:
                texts[0] += f" [{cells[0]['low']:.2f}, {cells[0]['high']:.2f}]"
            rows.append((name, *texts, str(values["num_expressions"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _rows(name, metrics):
    """Rows of one slice: `(title, {metric: {"value", "low", "high"}})`; the model, its parts, trivial answers."""
    parts = {one: values for one, values in metrics["slices"].items() if one.startswith(f"{name}/")}
    trivial = metrics.get("trivial", {}).get(name, {})
    answers = [
        ("LTS", metrics["slices"][name]),
        *((f"LTS, {_part(one)} ({values['num_expressions']})", values) for one, values in parts.items()),
        *((TRIVIAL.get(key, key), values) for key, values in trivial.items()),
    ]
    return [(title, {metric: _cell(values, metric) for metric in METRICS}) for title, values in answers]


def _part(name):
    part = name.rpartition("/")[2]
    return {"small": "small objects", "large": "other objects"}.get(part, part)


def _cell(values, metric):
    """`{"value", "low", "high"}` of a metric, `None` where there is none."""
    value = values.get(metric)
    return {"value": None, "low": None, "high": None} | (value if isinstance(value, dict) else {"value": value})


def _histograms(predictions, bins=20):
    """Share of each slice's answers per IoU bin, scaled so that the fullest bin is 1."""
    slices = {}
    for one in (one for one in predictions if one["iou"] is not None):
        slices.setdefault(f"{one['dataset']}/{one['split']}", []).append(one["iou"])
    counts = {name: np.histogram(values, bins=bins, range=(0, 1))[0] for name, values in slices.items()}
    return {name: (count / max(count.max(), 1)).round(3).tolist() for name, count in counts.items()}


def _pictures(wanted, config, workdir):
    """Yields, for each prediction, a list of `(title, data URI)`."""
    from pycocotools import mask as coco_mask

    from lts_keras.data.input.geometry import decode_image
    from lts_keras.data.prepare.folder import data_folder

    photos = _photos(wanted, data_folder(config, workdir))
    predictor = _predictor(config, workdir)
    for one in wanted:
        photo, truth = photos[_key(one)]
        photo = decode_image(*photo).numpy()
        answer = coco_mask.decode(one["segmentation"]).astype(bool)
        titled = [("photo", photo)]
        if predictor:
            # From the pixels: the file's own EXIF orientation need not be the one that the record's masks lie in.
            prior = np.asarray(predictor(photo, one["expression"]).prior)
            titled.append(("prior", pictures.heat_map(photo, prior, point=one["point"])))
        titled.append(("mask", pictures.overlay(photo, answer)))
        if truth is not None:
            titled.append(("truth", pictures.overlay(photo, truth, color=pictures.TRUTH)))
        yield [(title, _embed(picture)) for title, picture in titled]


def _photos(wanted, data_dir):
    """Reads the photos of predictions again: their key -> ((image bytes, orientation), true mask or `None`)."""
    import tensorflow as tf

    from lts_keras.data.prepare.masks import decode_mask
    from lts_keras.data.prepare.records import find_shards, parse_record

    shards = find_shards(data_dir, sorted({one["split"] for one in wanted}))
    ids = tf.constant(sorted({str(one["image_id"]) for one in wanted}))
    records = tf.data.TFRecordDataset(shards).map(parse_record, num_parallel_calls=2)
    found = {}
    for record in records.filter(lambda record: tf.reduce_any(record["photo_id"] == ids)).as_numpy_iterator():
        objects = zip(record["dataset"], record["ref_id"], record["has_mask"], record["mask_png"], strict=True)
        for dataset, ref_id, has_mask, png in objects:
            truth = decode_mask(png) if has_mask else None
            photo = record["image_bytes"], record["orientation"]
            found[dataset.decode(), ref_id.decode()] = (photo, truth)
    return {_key(one): found[one["dataset"], str(one["ref_id"])] for one in wanted}


def _predictor(config, workdir):
    """The trained model for the priors, which predictions.json does not hold; `None` without a preset."""
    if not (Path(workdir) / "train" / "preset").is_dir():
        return None
    from lts_keras.models.trained import trained_model

    return trained_model(config, workdir).predictor()


def _embed(picture):
    """A picture as a data URI."""
    buffer = io.BytesIO()
    pictures.fit(picture, _PICTURE_SIDE).save(buffer, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _key(one):
    return one["dataset"], str(one["ref_id"]), one["expression"]


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no evaluation here; run `lts evaluate` first") from error
