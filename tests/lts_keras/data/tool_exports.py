"""Made-up COCO exports in the shapes that labelling tools write; docs/labelling-tools.md says where these are from.

Each photo has red, blue and green patches on grey: the pixels under a mask tell whether it is right.
"""

import json

import numpy as np
from PIL import Image

GREY, RED, BLUE, GREEN = (120, 120, 120), (210, 20, 20), (20, 20, 210), (20, 180, 20)
SIZE = (64, 96)
"""Height and width of the upright photos."""
LEFT, RIGHT, LOW = (8, 8, 40, 32), (56, 16, 88, 48), (10, 40, 44, 60)
"""Patches as x0, y0, x1, y1."""
TURNS = {1: lambda pixels: pixels, 3: lambda pixels: pixels[::-1, ::-1], 6: np.rot90}
"""EXIF code -> how upright pixels lie in the file."""


def draw(path, patches, exif=1):
    """Writes a photo of `SIZE` with patches {(x0, y0, x1, y1): colour}; JPEG where it has an EXIF orientation."""
    pixels = np.full((*SIZE, 3), GREY, "uint8")
    for (x0, y0, x1, y1), color in patches.items():
        pixels[y0:y1, x0:x1] = color
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = Image.Exif()
    tags[0x0112] = exif
    options = {"exif": tags.tobytes(), "quality": 95, "subsampling": 0} if exif != 1 else {}
    Image.fromarray(np.ascontiguousarray(TURNS[exif](pixels))).save(path, **options)


def corners(patch):
    """Outline of a patch, from its left upper corner on."""
    x0, y0, x1, y1 = patch
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def corner_box(patch):
    """COCO's box of a patch."""
    x0, y0, x1, y1 = patch
    return [float(x0), float(y0), float(x1 - x0), float(y1 - y0)]


def mask_of(*patches):
    """Bool array of `SIZE`, true in the patches."""
    mask = np.zeros(SIZE, bool)
    for x0, y0, x1, y1 in patches:
        mask[y0:y1, x0:x1] = True
    return mask


def run_lengths(mask):
    """COCO's uncompressed run lengths: column by column, beginning with the zeros."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return {"counts": np.diff([0, *edges, flat.size]).tolist(), "size": list(mask.shape)}


def write_json(path, content):
    """Writes a file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def coco(images, annotations, names, first_class=1, **further):
    """COCO's layout of lists of values; `names` are the classes in order."""
    categories = [{"id": first_class + at, "name": name, "supercategory": ""} for at, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories, **further}


def cvat(folder, subset, photos):
    """CVAT's COCO 1.0: ids from 1 in every file, brush masks as run lengths with `iscrowd: 1`, attributes.

    Args:
        folder: of the unpacked archive.
        subset: name of the subset.
        photos: dict, file name -> list of (class, "polygon" | "box" | "brush", patches, sentences).
    """
    labels, images, annotations = ["cup", "alarm_clock"], [], []
    for file_name, shapes in photos.items():
        height, width = SIZE
        image_id = len(images) + 1
        images.append(
            {"id": image_id, "width": width, "height": height, "file_name": file_name, "license": 0}
            | {"flickr_url": "", "coco_url": "", "date_captured": 0}
        )
        colors = iter((RED, BLUE, GREEN))
        drawn = {}
        for label, kind, patches, sentences in shapes:
            drawn |= dict.fromkeys(patches, next(colors))
            whole = np.array(patches)
            box = corner_box([*whole[:, :2].min(0).tolist(), *whole[:, 2:].max(0).tolist()])
            found = {"polygon": [list(map(float, corners(patch))) for patch in patches], "box": []}.get(kind)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": labels.index(label) + 1,
                    "segmentation": run_lengths(mask_of(*patches)) if found is None else found,
                    "area": float(mask_of(*patches).sum()),
                    "bbox": box,
                    "iscrowd": int(found is None),
                    "attributes": {"occluded": False, "rotation": 0.0, "expression": sentences},
                }
            )
        draw(folder / "images" / subset / file_name, drawn)
    head = {"licenses": [{"name": "", "id": 0, "url": ""}], "info": {"contributor": "", "year": ""}}
    write_json(folder / "annotations" / f"instances_{subset}.json", coco(images, annotations, labels, **head))


def labelstudio_coco(folder):
    """Label Studio's `result.json`: ids from 0, folders of Windows in a name, no size where a photo was not opened."""
    height, width = SIZE
    draw(folder / "images/3f1c2d4e-desk.png", {LEFT: RED, RIGHT: BLUE})
    draw(folder / "images/9a8b7c6d-shelf.png", {LEFT: RED})
    images = [
        {"width": width, "height": height, "id": 0, "file_name": "images\\3f1c2d4e-desk.png"},
        {"width": None, "height": None, "id": 1, "file_name": "images/9a8b7c6d-shelf.png"},
    ]
    common = {"ignore": 0, "iscrowd": 0}
    annotations = [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 0,
            "segmentation": [corners(LEFT)],
            "bbox": corner_box(LEFT),
            "area": 768,
        }
        | common,
        {"id": 1, "image_id": 0, "category_id": 0, "segmentation": [], "bbox": corner_box(RIGHT), "area": 1024.0}
        | common,
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [corners(LEFT)],
            "bbox": corner_box(LEFT),
            "area": 768,
        }
        | common,
    ]
    categories = [{"id": 0, "name": "Cup"}, {"id": 1, "name": "Alarm clock"}]
    info = {"year": 2025, "version": "1.0", "contributor": "Label Studio"}
    write_json(
        folder / "result.json", {"images": images, "categories": categories, "annotations": annotations, "info": info}
    )


def labelstudio_brush(folder):
    """Brush labels to COCO: classes from 1, photo ids with gaps, an annotation for every closed outline."""
    height, width = SIZE
    draw(folder / "photos/3f1c2d4e-desk.png", {LEFT: RED, RIGHT: BLUE})
    images = [
        {"id": 4, "file_name": "3f1c2d4e-desk.png", "path": "/data/upload/4/3f1c2d4e-desk.png"}
        | {"width": width, "height": height}
    ]
    annotations = [
        {"id": at, "image_id": 4, "category_id": 1, "segmentation": [corners(patch)], "area": 1, "iscrowd": 0}
        | {"bbox": [int(side) for side in corner_box(patch)], "annotator": "unknown"}
        for at, patch in enumerate((LEFT, RIGHT))
    ]
    write_json(folder / "result_coco.json", coco(images, annotations, ["cup"], info={"version": "1.0"}))


def labelme_coco(folder):
    """`annotations.json` of `labelme2coco.py`: all ids from 0, supercategory `null`, folders in the names."""
    height, width = SIZE
    draw(folder / "JPEGImages/desk.png", {LEFT: RED, RIGHT: BLUE})
    images = [
        {"license": 0, "url": None, "file_name": "JPEGImages/desk.png", "date_captured": None, "id": 0}
        | {"height": height, "width": width}
    ]
    annotations = [
        {"id": at, "image_id": 0, "category_id": at, "segmentation": [corners(patch)], "iscrowd": 0}
        | {"area": 768.0, "bbox": corner_box(patch)}
        for at, patch in enumerate((LEFT, RIGHT))
    ]
    write_json(
        folder / "annotations.json",
        coco(images, annotations, ["cup", "alarm_clock"], first_class=0, type="instances", licenses=[{"id": 0}]),
    )


def via_coco(folder, **changes):
    """VIA's COCO: rectangles as outlines, whole numbers, the attribute as supercategory."""
    height, width = SIZE
    draw(folder / "photos/bench.png", {LEFT: RED, RIGHT: BLUE})
    images = [
        {"id": 1, "width": width, "height": height, "file_name": "bench.png", "license": 0, "date_captured": ""}
        | {"flickr_url": "bench.png", "coco_url": "bench.png"}
    ]
    annotations = [
        {"segmentation": [corners(patch)], "area": 768, "bbox": [int(side) for side in corner_box(patch)], "iscrowd": 0}
        | {"id": at, "image_id": 1, "category_id": at}
        for at, patch in enumerate((LEFT, RIGHT), 1)
    ]
    content = coco(images, annotations, ["cup", "alarm clock"], info={"version": "1.0"}, licenses=[{"id": 0}])
    for index, values in changes.get("annotations", {}).items():
        content["annotations"].insert(index, content["annotations"].pop(index) | values)
    content["annotations"] += changes.get("further", [])
    write_json(folder / "coco.json", content)


def roboflow(folder):
    """Roboflow's folders: class 0 for the group of annotations, ids from 0 in each, names with a hash."""
    height, width = SIZE
    patches = {"train": (LEFT, RIGHT), "valid": (LOW, RIGHT), "test": (LEFT, LOW)}
    for split, (red, blue) in patches.items():
        name = f"desk_png.rf.{split * 4}.png"
        draw(folder / split / name, {red: RED, blue: BLUE})
        images = [
            {"id": 0, "license": 1, "file_name": name, "height": height, "width": width, "extra": {"name": "desk.png"}}
            | {"date_captured": "2025-07-20T19:39:26+00:00"}
        ]
        annotations = [
            {"id": at, "image_id": 0, "category_id": at + 1, "bbox": corner_box(patch), "area": 768, "iscrowd": 0}
            | {"segmentation": [corners(patch)] if at == 0 else []}
            for at, patch in enumerate((red, blue))
        ]
        categories = [
            {"id": 0, "name": "kitchen-things", "supercategory": "none"},
            {"id": 1, "name": "cup", "supercategory": "kitchen-things"},
            {"id": 2, "name": "alarm-clock", "supercategory": "kitchen-things"},
        ]
        write_json(
            folder / split / "_annotations.coco.json",
            {"info": {"description": "made up"}, "licenses": [], "categories": categories, "images": images}
            | {"annotations": annotations},
        )
