"""What an export tells of itself, so that it can be asked and judged without the preset that it was made from."""

import dataclasses
import json
from pathlib import Path

from lts_keras.prediction.presence import Presence

__all__ = ["ONNX_KEY", "ONNX_WEIGHTS_KEY", "SETTINGS_FILE", "ModelSettings", "write_settings"]

SETTINGS_FILE = Path("assets.extra") / "lts.json"
"""Within a SavedModel: the folder that TensorFlow keeps for files of others."""

ONNX_KEY = "lts"
"""Among the metadata properties of an ONNX file."""

ONNX_WEIGHTS_KEY = "lts_weights"
"""Beside it: a digest of all weights, the same in both halves of a network."""


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Everything between a photo with a sentence and the network's tensors, and between these and an answer.

    Attributes:
        image_size: int, side of the square in pixels.
        image_resize: `"letterbox"` or `"plain"`.
        max_tokens: int, words that the network reads.
        vocabulary: tuple of str, without padding and the unknown word.
        threshold: float, of mask probabilities.
        presence: `Presence`.
        precision: str, in which the network calculates.
    """

    image_size: int
    image_resize: str
    max_tokens: int
    vocabulary: tuple[str, ...]
    threshold: float
    presence: Presence
    precision: str = "float32"

    @classmethod
    def of_model(cls, model, precision="float32"):
        """The settings of an `LTS` with a vocabulary."""
        return cls(
            image_size=model.image_size,
            image_resize=getattr(model, "image_resize", "letterbox"),
            max_tokens=model.max_tokens,
            vocabulary=tuple(model.vocabulary),
            threshold=model.threshold,
            presence=model.presence,
            precision=precision,
        )

    def to_json(self):
        """Returns the settings as a line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text):
        """The settings that `to_json` wrote; keys of later versions are passed over.

        Raises:
            ValueError: no such JSON; the message names the key.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"settings must be an object. Received: {type(values).__name__}")
        types = {
            "image_size": int,
            "image_resize": str,
            "max_tokens": int,
            "vocabulary": list,
            "threshold": float,
            "presence": dict,
            "precision": str,
        }
        for name, kind in types.items():
            if not isinstance(values.get(name), kind):
                raise ValueError(f"{name} must be {kind.__name__}. Received: {values.get(name)!r}")
        known = {field.name for field in dataclasses.fields(Presence)}
        presence = Presence(**{name: value for name, value in values["presence"].items() if name in known})
        own = {name: values[name] for name in types}
        return cls(**own | {"vocabulary": tuple(values["vocabulary"]), "presence": presence})


def write_settings(folder, settings):
    """Writes `ModelSettings` into the folder of a SavedModel; returns the path of the file."""
    path = Path(folder) / SETTINGS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(settings.to_json() + "\n", encoding="utf-8")
    return path
