"""The model card: what the exported model is, what it was made from and how well it does."""

import json
from pathlib import Path

import yaml

from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.records import MANIFEST_FILE
from lts_keras.models.trained import trained_options
from lts_keras.utils.files import digest
from lts_keras.utils.version import code_version

__all__ = ["write_model_card"]

_METRICS = ("mean_iou", "overall_iou", "precision_at_50", "localization_accuracy")

_TEXT = """# {name}

LTS (Jing et al., "Locate then Segment", CVPR 2021): a photo and an expression in, the mask of the object that the
expression refers to out.

| | |
|---|---|
| code | lts_keras {code_version} |
| parameters | {parameters:,} |
| backbone | {backbone} |
| input | {image_size} x {image_size} ({image_resize} resize), {max_tokens} tokens, {vocabulary:,} words |
| mask threshold | {threshold} |
| precision | {precision} |
| presence | {presence} |
| weights | `{weights}` |
| data | `{data}` |
| parity with the Keras model | {parity} |

## Metrics

At the photos' original size, over every expression; in brackets the bootstrap interval over photos.
`mean_iou` is the mean of the expressions' IoU, `overall_iou` the IoU of all pixels together.

{metrics}

## Use and limits

Signatures: `serving_default` (one expression per photo), `segment_expressions` (several expressions on one photo),
`encode_photo` and `segment_encoded` (the same in two steps), `segment_tensors` (the network alone). JPEG and PNG
photos of at most {max_pixels:,} pixels; the EXIF orientation is applied, and answers lie in the turned photo;
transparency is laid over grey. Words that are not in the vocabulary are read as one unknown word. {nothing}
Trained for the kind of photos and expressions in its data; nothing is known about others.

## Configuration

```yaml
{config}```
"""

_ANSWERS_ALWAYS = """The model answers every expression with a mask, also one that refers to nothing in the photo:
look at `presence`, its largest mask probability, which was not calibrated."""

_MAY_SAY_NOTHING = """Where the photo has nothing that the expression refers to, the mask should be empty: it is
whenever `presence` is below the threshold above, which was chosen on photos that are not among those of the metrics."""


def write_model_card(path, model, config, workdir, parity):
    """Writes the card as Markdown.

    Args:
        path: path of the file.
        model: `LTS` that was exported.
        config: `Config`.
        workdir: folder with `train/preset/`, and, where they were made, `evaluate/metrics.json` and
            `data/manifest.json`.
        parity: dict from `check_saved_model`, with `onnx_difference` where ONNX was written.
    """
    workdir = Path(workdir)
    weights, manifest = workdir / "train" / "preset" / "model.weights.h5", data_folder(config, workdir) / MANIFEST_FILE
    agreement = f"{parity['pixels']:,} mask pixels of {parity['photos']} photos compared, {parity['ties']} ties"
    if "onnx_difference" in parity:
        agreement += f"; ONNX within {parity['onnx_difference']:.1e}"
    for name, found in parity.get("int8", {}).items():
        agreement += f"; `{name}` loses " + (f"{found['loss']:.4f} of mean_iou" if found else "what was not measured")
    text = _TEXT.format(
        name=config.name,
        code_version=code_version(),
        parameters=model.count_params(),
        backbone=model.backbone.name,
        image_size=model.image_size,
        image_resize=getattr(model, "image_resize", "letterbox"),
        max_tokens=model.max_tokens,
        vocabulary=len(model.vocabulary),
        threshold=model.threshold,
        precision=_precision(config.export.precision, parity.get("loss")),
        presence=_presence(model.presence),
        nothing=_ANSWERS_ALWAYS if model.presence.threshold is None else _MAY_SAY_NOTHING,
        weights=f"sha256:{digest(weights)}" if weights.is_file() else "unknown",
        data=f"sha256:{digest(manifest)}" if manifest.is_file() else "unknown",
        parity=agreement,
        metrics=_metrics_table(workdir / "evaluate" / "metrics.json"),
        max_pixels=config.export.max_photo_pixels,
        # What was not given here has the schema's value in `config.model`, and not the model's.
        config=yaml.safe_dump(
            config.model_dump(mode="json") | {"model": trained_options(workdir / "train" / "preset")}, sort_keys=False
        ),
    )
    Path(path).write_text(text, encoding="utf-8")


def _precision(precision, loss):
    """The precision, and what it costs where it costs something."""
    if precision == "float32":
        return precision
    if not loss:
        return f"{precision}; what it loses was not measured"
    return f"{precision}; mean_iou {loss['mean_iou']:.4f}, in float32 {loss['expected']:.4f}"


def _presence(presence):
    """The formula with its numbers."""
    terms = f"{presence.bias:.4g} + {presence.mask_weight:.4g} logit(mask) + {presence.prior_weight:.4g} logit(prior)"
    below = "never an empty mask" if presence.threshold is None else f"below {presence.threshold:.4g} an empty mask"
    return f"sigmoid({terms}) of the largest probabilities; {below}"


def _metrics_table(path):
    if not path.is_file():
        return "Not evaluated."
    slices = json.loads(path.read_text(encoding="utf-8"))["slices"]
    lines = [f"| slice | {' | '.join(_METRICS)} | expressions |", "|---" * (len(_METRICS) + 2) + "|"]
    for name, values in slices.items():
        cells = [_cell(values.get(metric)) for metric in _METRICS]
        lines.append(f"| {name} | {' | '.join(cells)} | {values['num_expressions']} |")
    return "\n".join(lines)


def _cell(value):
    """A number, with its interval where there is one."""
    if isinstance(value, dict):
        if value.get("low") is None:
            return _cell(value.get("value"))
        return f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"
    return "-" if value is None else f"{value:.3f}"
