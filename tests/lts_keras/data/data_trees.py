"""Small data sets written for tests, in the layouts that sources read."""

import io
import json
import pickle

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from lts_keras.config.read import parse_config

SIZES = {1: (40, 60), 2: (50, 50), 3: (64, 32), 4: (48, 72)}  # id -> height, width


def jpeg(number, size=None, kind="JPEG"):
    height, width = size or SIZES[number]
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), "uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def polygon_annotation(key, image_id, box, category_id=1):
    x0, y0, x1, y1 = box
    return {
        "id": key,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": 0,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
    }


def instances(**further):
    """Four photos, six annotations: polygons, two parts, an uncompressed and a compressed run-length mask."""
    annotations = [
        polygon_annotation(10, 1, (5, 5, 25, 30)),
        polygon_annotation(11, 1, (30, 10, 55, 35), 2),
        polygon_annotation(20, 2, (5, 5, 20, 20)),
        polygon_annotation(30, 3, (2, 2, 30, 40)),
        polygon_annotation(40, 4, (10, 10, 40, 40)),
    ]
    annotations[2]["segmentation"].append([30, 30, 45, 30, 45, 45, 30, 45])
    annotations[2]["bbox"] = [5, 5, 40, 40]
    mask = np.zeros(SIZES[4], "uint8")
    mask[5:20, 50:70] = 1
    runs = coco_mask.encode(np.asfortranarray(mask))
    crowd = polygon_annotation(41, 4, (50, 5, 70, 20), 2)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    crowd |= {"segmentation": {"size": list(SIZES[4]), "counts": counts}, "iscrowd": 1}
    compressed = polygon_annotation(42, 4, (50, 5, 70, 20), 3)
    compressed["segmentation"] = {"size": list(SIZES[4]), "counts": runs["counts"].decode()}
    return {
        "images": [
            {"id": key, "file_name": f"{key:012d}.jpg", "height": size[0], "width": size[1]}
            for key, size in SIZES.items()
        ],
        "annotations": [*annotations, crowd, compressed],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}, {"id": 3, "name": "cat"}],
        **further,
    }


def refs():
    texts = {
        0: (1, 10, "train", ["the dog", "left dog"]),
        1: (1, 11, "train", ["a person", "right one"]),
        2: (2, 20, "train", ["two parts"]),
        5: (3, 30, "val", ["the big dog", "dog in front"]),
        7: (4, 40, "testA", ["left dog"]),
        8: (4, 41, "testB", ["the people"]),
        9: (4, 42, "testB", ["the cat"]),
    }
    return [
        {
            "ref_id": ref_id,
            "ann_id": ann_id,
            "image_id": image_id,
            "split": split,
            "category_id": 1,
            "file_name": f"COCO_{image_id}_{ref_id}.jpg",
            "sent_ids": list(range(len(sentences))),
            "sentences": [
                {"sent": text, "raw": text, "sent_id": number, "tokens": text.split()}
                for number, text in enumerate(sentences)
            ],
        }
        for ref_id, (image_id, ann_id, split, sentences) in texts.items()
    ]


def write_refer(root, dataset="refcoco", split_by="unc", protocol=2):
    """A REFER tree; returns the section of its source."""
    folder, photos = root / dataset, root / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    photos.mkdir(exist_ok=True)
    for key in SIZES:
        (photos / f"{key:012d}.jpg").write_bytes(jpeg(key))
    (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(refs(), protocol))
    (folder / "instances.json").write_text(json.dumps(instances()))
    return {"kind": "refer", "name": dataset, "dataset": dataset, "split_by": split_by, "photos": "photos"}


def config(root, *sources, **check):
    """A configuration with two photos a shard and room for unknown words."""
    check = {"max_unknown_words": 1.0, **check}
    return parse_config({"data": {"root": str(root), "sources": list(sources), "photos_per_shard": 2, "check": check}})


def contents(folder):
    """Bytes of every file below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
