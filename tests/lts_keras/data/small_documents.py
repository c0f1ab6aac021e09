"""Small valid documents of every reader, which tests damage."""

import io
import json
import pickle

import hypothesis
import numpy as np
import pyarrow
import pyarrow.parquet
from pycocotools import mask as coco_mask

from lts_keras.data.prepare.masks import encode_mask
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.damage import bytes_of

SIZE = 12, 16
MASK = np.zeros(SIZE, bool)
MASK[2:8, 9:15] = True
FLAT = MASK.T.ravel().astype(int)
COUNTS = np.diff([0, *np.flatnonzero(np.diff(FLAT)) + 1, FLAT.size]).tolist()
COMPRESSED = coco_mask.encode(np.asfortranarray(MASK.astype("uint8")))["counts"].decode()
OUTLINE = [1, 1, 7, 1, 7, 9, 1, 9]


def annotation(key, image_id, segmentation, box, category=1, crowd=0):
    found = {"id": key, "image_id": image_id, "category_id": category, "iscrowd": crowd, "bbox": box, "area": 36}
    return found | {"segmentation": segmentation}


IMAGES = [{"id": key, "file_name": f"{name}.png", "height": 12, "width": 16} for key, name in ((1, "a"), (2, "b"))]
INSTANCES = {
    "info": {"year": 2020},
    "images": [IMAGES[0], IMAGES[1] | {"split": "val"}],
    "annotations": [
        annotation(5, 1, [OUTLINE], [1, 1, 6, 8]),
        annotation(6, 1, {"size": [12, 16], "counts": COUNTS}, [9, 2, 6, 6], crowd=1),
        annotation(7, 2, {"size": [12, 16], "counts": COMPRESSED}, [9.0, 2.0, 6.0, 6.0], 2),
        annotation(8, 2, [], [1, 1, 6, 8]),
    ],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "alarm_clock"}],
}
REFS = [
    {"ref_id": 1, "image_id": 1, "ann_id": 5, "split": "train", "sentences": ["the cup", {"sent": "left cup"}]},
    {"ref_id": 2, "image_id": 2, "bbox": [1, 1, 6, 8], "category_name": "cup", "sentences": ["left one"]},
    {"ref_id": 3, "image_id": 1, "ann_id": 6, "split": "train", "sentences": ["right one"]},
]
REFER = [
    {"ref_id": 1, "image_id": 1, "ann_id": 5, "split": "train", "category_id": 1, "sentences": [{"sent": "a cup"}]},
    {"ref_id": 2, "image_id": 2, "ann_id": 7, "split": "val", "category_id": 2, "sentences": [{"sent": "clock"}]},
    {"ref_id": 3, "image_id": 1, "ann_id": 6, "split": "train", "category_id": 1, "sentences": [{"sent": "right"}]},
]
GENERAL = [
    REFER[0] | {"ann_id": [5, 6], "no_target": False},
    REFER[1] | {"ann_id": [-1], "no_target": True},
]
MANIFEST = [
    {
        "image": "photos/a.png",
        "objects": [
            {"expressions": ["a cup"], "polygons": [OUTLINE], "category": "cup", "ref_id": "left"},
            {"expressions": ["the one"], "rle": {"size": [12, 16], "counts": COUNTS}, "box": [9, 2, 15, 8]},
        ],
    },
    {
        "image": "photos/b.png",
        "split": "val",
        "coco_id": 3,
        "objects": [
            {"expressions": ["a cup"], "mask": "mask.png", "split": "test"},
            {"expressions": ["it", "left"], "box": [1, 1, 7, 9]},
            {"expressions": ["no"], "no_target": True},
        ],
    },
]
ROWS_OF_REFS = [
    ref
    | {
        "raw_anns": INSTANCES["annotations"][place],
        "raw_image_info": IMAGES[place // 2],
        "sentences": [{"raw": "A cup", "sent": "a cup", "sent_id": 1, "tokens": ["a", "cup"]}],
    }
    for ref, place in zip(REFER, (0, 2, 1), strict=True)
]
PHOTO = data_trees.jpeg(1, SIZE, "PNG")
ROWS_OF_OBJECTS = [
    {
        "question_id": str(key),
        "image": {"bytes": PHOTO, "path": "0.jpg"},
        "answer": ["a cup", "it"],
        "segmentation": [float(side) for side in OUTLINE],
        "bbox": [1.0, 1.0, 6.0, 8.0],
        "iscrowd": 0,
        "file_name": f"COCO_train2014_{key:012d}_1.jpg",
    }
    for key in (1, 2)
]
ROWS_OF_PHOTOS = [
    {
        "image": {"bytes": PHOTO, "path": None},
        "image_id": key,
        "file_name": f"COCO_{key}.jpg",
        "samples": [
            {
                "id": key,
                "category": "cup",
                "sentences": ["a cup", "it"],
                "bbox": [9.0, 2.0, 6.0, 6.0],
                "mask": {"size": [12, 16], "counts": COMPRESSED},
            }
        ],
    }
    for key in (1, 2)
]


def write_parquet(rows):
    """Rows as a parquet file, annotations and images as JSON in it; rejects what parquet cannot hold."""
    inner = ("raw_anns", "raw_image_info")
    try:
        rows = [
            {key: json.dumps(one) if key in inner and isinstance(one, dict) else one for key, one in row.items()}
            for row in rows
        ]
        buffer = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    except (pyarrow.ArrowException, UnicodeError, TypeError, AttributeError, ValueError, OverflowError):
        hypothesis.reject()
    return buffer.getvalue().to_pybytes()


def read_parquet(content):
    """Rows without their photos, which may be damaged."""
    file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
    return file.read([name for name in file.schema_arrow.names if name != "image"]).to_pylist()


def write_lines(lines):
    if not isinstance(lines, list):
        hypothesis.reject()
    return b"\n".join(map(bytes_of, lines))


COCO = {"kind": "coco", "name": "own", "photos": "photos"}
TREE = {"kind": "refer", "name": "refcoco", "dataset": "refcoco", "split_by": "unc", "photos": "photos"}
PARQUET = {"kind": "parquet", "name": "own", "files": ["val-*.parquet"], "photos": "photos"}
WRITERS = {"json": bytes_of, "p": pickle.dumps, "jsonl": write_lines, "parquet": write_parquet}
READERS = {
    "json": json.loads,
    # The other implementation minds a wrong length of the frame round a whole pickle.
    "p": lambda content: pickle._Unpickler(io.BytesIO(content), encoding="latin1").load(),
    "jsonl": lambda content: [json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()],
    "parquet": read_parquet,
}
# Name -> section of the source, its files, the one that is damaged, the number of objects in a document of that.
FORMS = {
    "coco, made up": (COCO | {"instances": "i.json"}, {"i.json": INSTANCES}, "i.json", lambda d: len(d["annotations"])),
    "coco, instances": (
        COCO | {"instances": "i.json", "refs": "refs.json"},
        {"i.json": INSTANCES, "refs.json": {"refs": REFS}},
        "i.json",
        lambda _: 3,
    ),
    "coco, refs": (
        COCO | {"instances": "i.json", "refs": "refs.json"},
        {"i.json": INSTANCES, "refs.json": {"refs": REFS}},
        "refs.json",
        lambda d: len(d["refs"]),
    ),
    "coco, boxes": (
        COCO | {"refs": "refs.json"},
        {"refs.json": {"images": IMAGES, "refs": [REFS[1], REFS[1] | {"ref_id": 3, "image_id": 1}]}},
        "refs.json",
        lambda d: len(d["refs"]),
    ),
    "refer, pickle": (
        TREE,
        {"refcoco/refs(unc).p": REFER, "refcoco/instances.json": INSTANCES},
        "refcoco/refs(unc).p",
        len,
    ),
    "refer, instances": (
        TREE,
        {"refcoco/refs(unc).p": REFER, "refcoco/instances.json": INSTANCES},
        "refcoco/instances.json",
        lambda _: 3,
    ),
    "refer, general": (
        TREE,
        {"refcoco/grefs(unc).json": GENERAL, "refcoco/instances.json": INSTANCES},
        "refcoco/grefs(unc).json",
        len,
    ),
    "manifest": (
        {"kind": "manifest", "name": "own", "file": "own.jsonl"},
        {"own.jsonl": MANIFEST},
        "own.jsonl",
        lambda lines: sum(len(line["objects"]) for line in lines),
    ),
    "parquet, refs": (PARQUET, {"val-0.parquet": ROWS_OF_REFS}, "val-0.parquet", len),
    "parquet, objects": (PARQUET, {"val-0.parquet": ROWS_OF_OBJECTS}, "val-0.parquet", len),
    "parquet, photos": (
        PARQUET,
        {"val-0.parquet": ROWS_OF_PHOTOS},
        "val-0.parquet",
        lambda rows: sum(len(row["samples"]) for row in rows),
    ),
}


def write_tree(root, files):
    (root / "photos").mkdir()
    for name, number in (("a", 1), ("b", 2)):
        (root / "photos" / f"{name}.png").write_bytes(data_trees.jpeg(number, SIZE, "PNG"))
    (root / "mask.png").write_bytes(encode_mask(MASK))
    for name, document in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(WRITERS[name.rpartition(".")[2]](document))
