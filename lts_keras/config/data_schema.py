"""The section `data` of the configuration: sources of photos and expressions, and what is checked of them."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from lts_keras.config.section import Section, Share

__all__ = [
    "HELD_OUT_OF",
    "CheckConfig",
    "CocoSource",
    "DataConfig",
    "ManifestSource",
    "ParquetSource",
    "ReferSource",
    "ScenesSource",
]


HELD_OUT_OF = "train"
"""The split that `hold_out` takes photos from."""


def _in_one_line(text):
    if not text.strip() or not text.isprintable():
        raise ValueError(f"data.sources: the name of a data set is one line, not blank. Received: {ascii(text[:60])}")
    return text


class _Source(Section):
    """What every data source has. Paths are relative to `data.root`."""

    name: Annotated[str, AfterValidator(_in_one_line)]
    """Name of the data set in records, metrics and reports."""
    rename_splits: dict[str, str] = {}
    """Split of the source -> split here, for example `{val: train}`; `"*"` names all others; `drop` leaves them out."""
    hold_out: dict[str, Share] = {}
    """Further splits -> the share of train's photos that each gets, by the digest of a photo's id: the same photos each
    time, in every source with the same ids, and no others when a later split gets another share."""

    @pydantic.field_validator("hold_out")
    @classmethod
    def _some_left(cls, shares):
        if sum(shares.values()) >= 1 or HELD_OUT_OF in shares:
            raise ValueError(
                f"hold_out: further splits and shares of {HELD_OUT_OF}'s photos, together less than 1. "
                f"Received: {shares}"
            )
        return shares


class _PhotoSource(_Source):
    """A source of photographs."""

    orientation: Literal["upright", "stored"] | None = None
    """The pixels that annotations are in: the photo as it is shown, its EXIF orientation applied, or the pixels as they
    are stored. `null`: stored for COCO's own photos, else upright; a size in the annotations that fits one of the two
    alone decides."""


class _AnnotatedSource(_PhotoSource):
    """A source with ids of photos."""

    coco_photos: bool | None = None
    """Whether the photos are COCO's own, and their ids COCO's numbers. `null`: where every file name is COCO's for its
    id, as `COCO_train2014_000000581857.jpg` or `000000581857.jpg` for 581857."""


_ShapeKind = Literal["circle", "square", "triangle", "star", "cross", "ring", "moon", "arrow"]


class ScenesSource(_Source):
    """Drawn scenes: textured background, shapes; splits train, val, testA (appearance), testB (relation)."""

    kind: Literal["scenes"] = "scenes"
    name: str = "scenes"
    num_photos: dict[str, PositiveInt] = {"train": 1200, "val": 120, "testA": 60, "testB": 60}
    photo_size: tuple[PositiveInt, PositiveInt] = (96, 160)
    """Smallest and largest side of a photo in pixels."""
    max_shapes: Annotated[int, Field(ge=2, le=12)] = 5
    kinds: Annotated[tuple[_ShapeKind, ...], Field(min_length=1)] = ("circle", "square", "triangle", "star", "cross")
    """Shapes that are drawn."""
    scale: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=2, max_length=2)] = (1.0, 1.0)
    """Factor on the size of all shapes of a scene: drawn between these two for each scene. At 1.0 the smallest have a
    diameter of 24 % of the photo's side."""
    rivals: Share = 0.0
    """Share of the shapes, behind a scene's first, that are of the kind of another one and, half of them, of its colour
    too: place, size and relation tell them apart."""
    overlap: Annotated[float, Field(ge=0, le=0.6)] = 0.38
    """How far two shapes may reach into each other, as a share of the sum of their radii."""
    clutter: Annotated[int, Field(ge=0, le=50)] = 0
    """Thin lines in the shapes' colours, which no expression speaks of, behind the shapes."""
    seed: NonNegativeInt = 0

    @pydantic.field_validator("scale")
    @classmethod
    def _smallest_first(cls, scale):
        if scale[0] > scale[1]:
            raise ValueError(f"scale is the smallest and the largest factor. Received: {list(scale)}")
        return scale


class ReferSource(_AnnotatedSource):
    """The layout of the REFER toolkit: `<dataset>/refs(<split_by>).p` and `<dataset>/instances.json`."""

    kind: Literal["refer"] = "refer"
    dataset: str
    split_by: str
    folder: Path = Path(".")
    photos: Path = Path("images/mscoco/images/train2014")


class ParquetSource(_AnnotatedSource):
    """The same fields as columns of parquet files, the form in which the data circulates."""

    kind: Literal["parquet"] = "parquet"
    files: tuple[str, ...]
    """Glob patterns; a file's split is the part of its name before the first `-`."""
    photos: Path | None = None
    """Folder of the photos, where the files hold names and not bytes."""


class CocoSource(_AnnotatedSource):
    """Plain COCO instances; expressions from a refs file, or made from class, size and place."""

    kind: Literal["coco"] = "coco"
    instances: Path | None = None
    photos: Path
    refs: Path | None = None
    """JSON with `refs`: `ref_id, split, image_id, ann_id or bbox, sentences`. Without it expressions are made up."""
    split: str = "train"
    """Split of all photos, where neither refs nor the images name one."""
    made_up: bool = False
    """Also makes expressions up for the photos of a refs file."""
    made_up_splits: tuple[str, ...] = ("train",)
    made_up_per_object: PositiveInt = 16
    """Made-up expressions per object, at most."""
    crowd_flags: Literal["crowds", "objects"] | None = None
    """What `iscrowd: 1` says where expressions are made up: several objects, or one, as tools write it for every brush
    mask. `null`: several in COCO's own photos, and where the mask lies in several parts of about one size."""
    further_nouns: dict[str, tuple[str, ...]] = {}
    """Class -> nouns that made-up expressions use too, although they are not true of every object of the class."""


class ManifestSource(_PhotoSource):
    """A team's own photos: one JSON object a line, see docs/own-data.md."""

    kind: Literal["manifest"] = "manifest"
    file: Path


Source = Annotated[
    ScenesSource | ReferSource | ParquetSource | CocoSource | ManifestSource, Field(discriminator="kind")
]


class CheckConfig(Section):
    """Thresholds that stop the pipeline at `validate_data`."""

    on_leak: Literal["stop", "drop", "report"] = "stop"
    """What a photo of val/test in train does: stop, drop it from train, or report it alone (RefCOCOg by Google splits
    objects and not photos, so there it is meant)."""
    max_empty_masks: Share = 0.02
    max_unreadable_photos: Share = 0.0
    max_size_mismatches: Share = 0.0
    max_box_disagreements: Share = 0.05
    max_unknown_words: Share = 0.25
    max_left_out: Share = 1.0
    """Share of the objects that may be left out for other reasons than those that are meant, as a dropped split."""
    published_counts: bool = False
    """Whether the counts of refs and expressions must equal the published ones of the data set."""


class DataConfig(Section):
    """Where the data comes from and how it is stored."""

    prepared: Path | None = None
    """A folder that another `lts prepare` made, or its work directory: read instead of `sources`, never written."""
    features: Path | None = None
    """A folder of another model's features and coarse masks, which a refiner takes, see `model.refiner_channels`."""
    root: Path = Path(".")
    sources: tuple[Source, ...] = (ScenesSource(),)
    photos_per_shard: PositiveInt = 256
    vocabulary_min_count: PositiveInt = 1
    freeze: tuple[str, ...] = ()
    """Splits that must stay as they were when first prepared in a work directory: a run that would change one stops."""
    check: CheckConfig = CheckConfig()
