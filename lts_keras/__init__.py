"""Locate then Segment on Keras 3: referring image segmentation from photographs to a served model."""

__version__ = "0.1.0"
__all__ = ["LTS", "Config", "load_config"]


def __getattr__(name):
    # Imported on first use, so that `lts --help` and the config need no TensorFlow.
    if name == "LTS":
        from lts_keras.models.lts import LTS

        return LTS
    if name in ("Config", "load_config"):
        from lts_keras.config import read

        return getattr(read, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
