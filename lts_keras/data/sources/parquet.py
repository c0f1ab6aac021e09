"""RefCOCO, RefCOCO+ and RefCOCOg as parquet files, the form in which they circulate since the original links died.

Three public layouts are read, told apart by their columns, as the data cards on the Hugging Face hub give them:

 - refs, one a row (`jxu124/refcoco`, `jxu124/refcocoplus`, `jxu124/refcocog`): `ref_id`, `ann_id`, `image_id`,
   `split`, `sentences` (list of `{raw, sent, sent_id, tokens}`), `category_id`, `raw_anns` and `raw_image_info` (JSON
   of the COCO annotation and image). Every split is there, with as many refs as the originals, but no photo: `photos`
   of the source names COCO's `train2014` folder.
 - objects, one a row (`lmms-lab/RefCOCO`, `RefCOCOplus`, `RefCOCOg`): `question_id`, `image` (`{bytes, path}`),
   `answer` (list of expressions), `segmentation` (one flat polygon), `bbox`, `iscrowd`, `file_name`. Held-out splits
   alone; the split is the first part of the file's name. The cards do not say how objects of several polygons were made
   flat, and the box is taken from the polygon.
 - photos, one a row (`moondream/refcoco-m`): `image`, `image_id`, `file_name`, `samples` (list of `{id, category,
   sentences, bbox, mask: {counts, size}}`). RefCOCO's validation split with masks drawn anew.
"""

import functools
import json
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lts_keras.data.schema import DataError
from lts_keras.data.sources.annotated import AnnotatedSource
from lts_keras.data.sources.annotations import Annotation, Image, Ref, size_of_runs
from lts_keras.data.sources.base import PhotoError
from lts_keras.data.sources.fields import Fields, short
from lts_keras.data.sources.instances import segmentation_of
from lts_keras.data.sources.patterns import find_files

__all__ = ["ParquetSource"]

_LAYOUTS = {
    "refs": {"ref_id", "ann_id", "image_id", "split", "sentences", "raw_anns", "raw_image_info"},
    "objects": {"question_id", "image", "answer", "segmentation", "bbox", "file_name"},
    "photos": {"image", "image_id", "file_name", "samples"},
}
_BATCH = 1024


class ParquetSource(AnnotatedSource):
    """Parquet files in one of the layouts above; annotations are held in memory, photos are read when asked for."""

    def __init__(self, config, root):
        super().__init__(config, root)
        self.photos = self.root / config.photos if config.photos else None
        self._files = tuple(find_files(config, self.root))
        if not self._files:
            raise DataError(f"{self.root}: no file fits data.sources of {self.name}: {', '.join(config.files)}")
        self._rows, self._group = {}, (None, None)
        for path in self._files:
            self._read_file(path)

    @property
    def files(self):
        """See `Source`."""
        return self._files

    def place(self, key):
        """See `Source`."""
        return _row(*self._rows[key]) if key in self._rows else super().place(key)

    def origin(self, key):
        """See `Source`."""
        if key not in self._rows:
            return super().origin(key)
        path, group, row = self._rows[key]
        return path, f"{group}/{row}"

    def image_bytes(self, key):
        """Bytes in the file where it has them, else those of the photo's file; see `Source`."""
        return self._bytes_of(*self._rows[key]) if key in self._rows else super().image_bytes(key)

    def _bytes_of(self, path, group, row):
        if self._group[0] != (path, group):
            # One row group at a time stays in memory: photos are asked for in the order of the file.
            self._group = (None, None)
            try:
                column = _open(path).read_row_group(group, columns=["image.bytes"]).column("image")
            except (pyarrow.ArrowException, OSError, KeyError) as error:
                raise PhotoError("unreadable_photos", f"{path}: damaged: {_line(error)}") from error
            self._group = (path, group), column
        column = self._group[1]
        content = column[row].as_py() if row < len(column) else None  # damage may take rows away
        content = content.get("bytes") if isinstance(content, dict) else content
        if not isinstance(content, bytes) or not content:
            raise PhotoError("unreadable_photos", f"{_row(path, group, row)}: no bytes of a photo")
        return content

    def _read_file(self, path):
        try:
            file = _open(path)
            layout = _layout(path, set(file.schema_arrow.names))
            columns = sorted(_LAYOUTS[layout] - {"image"} | ({"category_id"} & set(file.schema_arrow.names)))
            split = path.name.split("-")[0].removesuffix(".parquet").replace("validation", "val")
            for group in range(file.num_row_groups):
                fields = Fields(path, "row", f"row group {group}")
                row = 0
                for batch in file.iter_batches(_BATCH, [group], columns):
                    for values in batch.to_pylist():
                        getattr(self, f"_add_{layout}")(fields.at(row, values), split, (path, group, row))
                        row += 1
        except DataError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(f"{path}: not a readable parquet file of referring expressions: {_line(error)}") from error

    def _add_refs(self, fields, split, place):
        """One row of the first layout."""
        if self.photos is None:
            raise DataError(f"{place[0]}: the file holds no photos; data.sources of {self.name} needs `photos`")
        ref_id, image_id, key = fields.own_identity("ref_id"), fields.identity("image_id"), fields.identity("ann_id")
        info, annotation = (_inner(fields, name) for name in ("raw_image_info", "raw_anns"))
        same = ((info, "id", image_id), (annotation, "id", key), (annotation, "image_id", image_id))
        for inner, name, wanted in same:
            if inner.identity(name, wanted) != wanted:
                raise inner.error(name, inner.values[name], f"{short(wanted)}, as in the row's columns")
        image = Image(info.text("file_name", filled=True), info.side("height"), info.side("width"))
        self._keep_image(fields, image_id, image)
        first = self.images[image_id].file_name
        if image.file_name != first:
            raise info.error("file_name", image.file_name, f"{short(first)}, as in a row before")
        category = fields.identity("category_id", None)
        name = _coco_names().get(str(category), "")
        findings = () if name or category is None else ("unknown_classes",)
        box, found = annotation.corner_box("bbox"), segmentation_of(annotation)
        self._keep(fields, key, Annotation(image_id, found, box, name, findings=findings))
        self.add_ref(image_id, Ref(str(ref_id), fields.text("split", filled=True), _texts(fields, "sentences"), (key,)))

    def _add_objects(self, fields, split, place):
        """One row of the second layout."""
        file_name = fields.text("file_name", filled=True)
        image_id = _coco_id(fields, file_name)
        self._keep_image(fields, image_id, Image(file_name, None, None))
        self._rows.setdefault(image_id, place)
        ref_id = f"{split}:{fields.own_identity('question_id')}"
        # Question ids are local to a file, and a split may lie in several.
        key = ref_id if ref_id not in self.annotations else f"{ref_id}#{len(self.annotations)}"
        polygon = _polygon(fields)
        box = _bounds(polygon) if polygon else fields.corner_box("bbox")
        self._keep(fields, key, Annotation(image_id, [polygon] if polygon else None, box, ""))
        self.add_ref(image_id, Ref(key, split, _texts(fields, "answer"), (key,)))

    def _add_photos(self, fields, split, place):
        """One row of the third layout."""
        image_id, samples = fields.own_identity("image_id"), fields.items("samples")
        self._keep_photo(fields, image_id, place)
        self.images.setdefault(image_id, Image(fields.text("file_name", filled=True), None, None))
        inner = Fields(fields.path, "sample", f"{fields.group}[{fields.index}].samples")
        for number, values in enumerate(samples):
            sample_id = inner.at(number, values).own_identity()
            # Ids of samples may be local to their photo.
            key = (image_id, sample_id)
            box, category = inner.corner_box("bbox"), inner.text("category", None) or ""
            self._keep(inner, key, Annotation(image_id, _mask(inner), box, category))
            self.add_ref(image_id, Ref(str(sample_id), split, _texts(inner, "sentences"), (key,)))

    def _keep_photo(self, fields, image_id, place):
        """Keeps where a photo lies; another row may repeat it, as for another split, but with the same bytes."""
        first = self._rows.setdefault(image_id, place)
        if first != place and self._bytes_of(*first) != self._bytes_of(*place):
            raise fields.error("image_id", image_id, f"another id: {_row(*first)} has this one, and another photo")

    def _keep(self, fields, key, annotation):
        """Keeps an annotation; several rows may repeat it, but none may change it."""
        if self.annotations.setdefault(key, annotation) != annotation:
            raise DataError(
                f"{fields.path}: {fields.group}[{fields.index}]: annotation {key} has another outline, box or photo in "
                "a row before; expected: one annotation for one id"
            )

    def _keep_image(self, fields, key, image):
        """Keeps a photo, as `_keep`; names differ where a file has a name for every ref."""
        first = self.images.setdefault(key, image)
        if (first.height, first.width) != (image.height, image.width):
            raise DataError(
                f"{fields.path}: {fields.group}[{fields.index}]: photo {key} has another size in a row before; "
                "expected: one photo for one id"
            )


def _row(path, group, row):
    return f"{path}: row {row} of group {group}"


def _open(path):
    return pyarrow.parquet.ParquetFile(path)


def _layout(path, columns):
    for layout, needed in _LAYOUTS.items():
        if needed <= columns:
            return layout
    needed = min(_LAYOUTS.values(), key=lambda names: len(names - columns))
    missing = ", ".join(sorted(needed - columns))
    raise DataError(f"{path}: no known layout of referring expressions; the nearest lacks the columns {missing}")


def _inner(fields, name):
    """`Fields` of an object that lies as JSON in a column."""
    value = fields.values.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise fields.error(name, value, "JSON") from None
    return Fields(fields.path, name, f"{fields.group}[{fields.index}].{name}").at(0, value)


def _texts(fields, key):
    """Sentences: a list of texts, or of objects with `sent`."""
    found = []
    for number, one in enumerate(fields.items(key)):
        name, text = (f"{key}[{number}].sent", one.get("sent")) if isinstance(one, dict) else (f"{key}[{number}]", one)
        found.append(fields.check_text(name, text))
    return tuple(found)


def _polygon(fields):
    """One flat outline; `None` for a box alone."""
    value = fields.values.get("segmentation")
    if value is None or (isinstance(value, list) and len(value) < 6):
        return None
    usable = isinstance(value, list) and len(value) % 2 == 0
    if not usable or not all(type(side) in (int, float) and -1e9 < side < 1e9 for side in value):
        raise fields.error("segmentation", value, "one outline: numbers x0, y0, x1, y1 ...")
    return value


def _mask(fields):
    """Run lengths; `None` for a box alone."""
    value = fields.values.get("mask")
    if value is not None and not size_of_runs(value):
        raise fields.error("mask", value, "run lengths: `size`, [height, width] in pixels, and `counts`")
    return value


def _coco_id(fields, file_name):
    """COCO's number in `COCO_train2014_000000581857_16.jpg`."""
    found = re.search(r"(\d{12})", Path(file_name).name)
    if not found:
        raise fields.error("file_name", file_name, "a name with COCO's number of twelve digits in it")
    return int(found.group(1))


def _bounds(polygon):
    return min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])


@functools.cache
def _coco_names():
    return json.loads(Path(__file__).with_name("class_names.json").read_text(encoding="utf-8"))["coco"]


def _line(error):
    return " ".join(str(error).split())
