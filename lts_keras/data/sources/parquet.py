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
from lts_keras.data.sources.annotated import AnnotatedSource, Annotation, Image, Ref
from lts_keras.data.sources.base import PhotoError
from lts_keras.data.sources.fields import Fields

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
        self._files = tuple(sorted({path for pattern in config.files for path in self.root.glob(pattern)}))
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
        if key in self._rows:
            path, group, row = self._rows[key]
            return f"{path}: row {row} of group {group}"
        return super().place(key)

    def origin(self, key):
        """See `Source`."""
        if key not in self._rows:
            return super().origin(key)
        path, group, row = self._rows[key]
        return path, f"{group}/{row}"

    def image_bytes(self, key):
        """Bytes in the file where it has them, else those of the photo's file; see `Source`."""
        if key not in self._rows:
            return super().image_bytes(key)
        path, group, row = self._rows[key]
        if self._group[0] != (path, group):
            # One row group at a time stays in memory: photos are asked for in the order of the file.
            self._group = (None, None)
            try:
                column = _open(path).read_row_group(group, columns=["image.bytes"]).column("image")
            except (pyarrow.ArrowException, OSError) as error:
                raise PhotoError("unreadable_photos", f"{path}: damaged: {_line(error)}") from error
            self._group = (path, group), column
        content = self._group[1][row].as_py()["bytes"]
        if not content:
            raise PhotoError("unreadable_photos", f"{self.place(key)}: no bytes of a photo")
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
        size = info.whole("height", 1), info.whole("width", 1)
        self._keep_image(fields, image_id, Image(info.text("file_name", filled=True), *size))
        category = _coco_names().get(str(fields.values.get("category_id")), "")
        found = annotation.values.get("segmentation") or None
        self._keep(fields, key, Annotation(image_id, found, annotation.corner_box("bbox"), category))
        texts = [(one or {}).get("sent") for one in fields.items("sentences")]
        texts = tuple(fields.check_text(f"sentences[{number}].sent", text) for number, text in enumerate(texts))
        self.add_ref(image_id, Ref(str(ref_id), fields.text("split", filled=True), texts, (key,)))

    def _add_objects(self, fields, split, place):
        """One row of the second layout."""
        file_name = fields.text("file_name", filled=True)
        image_id = _coco_id(fields, file_name)
        self._keep_image(fields, image_id, Image(file_name, None, None))
        self._rows.setdefault(image_id, place)
        ref_id = f"{split}:{fields.own_identity('question_id')}"
        # Question ids are local to a file, and a split may lie in several.
        key = ref_id if ref_id not in self.annotations else f"{ref_id}#{len(self.annotations)}"
        polygon = fields.values["segmentation"] or []
        box = _bounds(polygon) if len(polygon) >= 6 else fields.corner_box("bbox")
        found, crowd = [polygon] if len(polygon) >= 6 else None, bool(fields.values.get("iscrowd"))
        self._keep(fields, key, Annotation(image_id, found, box, "", crowd))
        texts = tuple(fields.check_text(f"answer[{number}]", one) for number, one in enumerate(fields.items("answer")))
        self.add_ref(image_id, Ref(key, split, texts, (key,)))

    def _add_photos(self, fields, split, place):
        """One row of the third layout."""
        image_id, samples = fields.own_identity("image_id"), fields.items("samples")
        size = samples[0]["mask"]["size"] if samples else (None, None)
        self._keep_image(fields, image_id, Image(fields.text("file_name", filled=True), *size))
        self._rows.setdefault(image_id, place)
        inner = Fields(fields.path, "sample", f"{fields.group}[{fields.index}].samples")
        for number, values in enumerate(samples):
            sample_id = inner.at(number, values).own_identity()
            # Ids of samples may be local to their photo.
            key = (image_id, sample_id)
            box, category = inner.corner_box("bbox"), inner.text("category", None) or ""
            self._keep(inner, key, Annotation(image_id, values["mask"], box, category))
            texts = enumerate(inner.items("sentences"))
            texts = tuple(inner.check_text(f"sentences[{place}]", text) for place, text in texts)
            self.add_ref(image_id, Ref(str(sample_id), split, texts, (key,)))

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
