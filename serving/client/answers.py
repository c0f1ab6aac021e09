"""What a server found for one expression, in the forms that people and programs take."""

import dataclasses
import io

import numpy as np
from PIL import Image

from serving.client.shapes import encode_rle, polygons

__all__ = ["Answer"]

_PRIOR = "prior_png_bytes"


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one expression, in pixels of the photo as it is shown: turned upright by its EXIF orientation.

    Attributes:
        mask: bool array `(height, width)`.
        score: float, mean probability inside the mask, 0 for an empty one.
        presence: float in 0..1, how surely the photo has what the expression names; `None` of a model that was exported
            before it was told.
        box: `(x0, y0, x1, y1)` of the mask, exclusive at the far side, zeros for an empty one.
        point: `(x, y)`, where the prior is highest.
        version: int, version of the model that answered.
        png: bytes, the mask as the server sent it: a grey PNG of 0 and 255.
        prior: float32 array `(h, w)`, probability of the object's place over the whole photo, in few pixels; `None`
            where it was not asked for.
    """

    mask: np.ndarray = dataclasses.field(repr=False)
    score: float
    presence: float | None
    box: tuple[int, int, int, int]
    point: tuple[int, int]
    version: int
    png: bytes = dataclasses.field(repr=False)
    prior: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def from_outputs(cls, outputs, row, version):
        """Reads one row.

        Args:
            outputs: dict of arrays, as the signatures `segment_expressions`, `serving_default` and `locate_and_segment`
                give them.
            row: int.
            version: int.

        Raises:
            ValueError: if the outputs are not those of a model for masks.
        """
        try:
            png = outputs["mask_png_bytes"][row]
            return cls(
                mask=_read_png(png) > 0,
                score=float(outputs["score"][row]),
                presence=float(outputs["presence"][row]) if "presence" in outputs else None,
                box=tuple(outputs["box"][row].tolist()),
                point=tuple(outputs["point"][row].tolist()),
                version=version,
                png=png,
                prior=_read_png(outputs[_PRIOR][row]).astype(np.float32) / 255 if _PRIOR in outputs else None,
            )
        except (KeyError, IndexError, OSError, TypeError, Image.DecompressionBombError) as error:
            reason = f"no output {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"the model's answer is no mask: {reason}") from None

    def rle(self):
        """The mask as COCO's compressed run-length encoding, as pycocotools writes it.

        Returns:
            dict: `size`, `[height, width]`; `counts`, str.
        """
        return encode_rle(self.mask)

    def polygon(self):
        """The outer borders of the mask along pixel edges, largest first, holes filled.

        Returns:
            List of flat lists `[x0, y0, x1, y1, ...]`, as `segmentation` of a COCO annotation.
        """
        return [border.ravel().tolist() for border in polygons(self.mask)]

    def to_json(self):
        """All but the pixels, the mask as run lengths, as a dict that `json.dumps` takes."""
        return {
            "score": self.score,
            "presence": self.presence,
            "box": list(self.box),
            "point": list(self.point),
            "size": list(self.mask.shape),
            "area": int(self.mask.sum()),
            "rle": self.rle(),
            "version": self.version,
        }


def _read_png(content):
    return np.asarray(Image.open(io.BytesIO(content), formats=("PNG",)).convert("L"))
