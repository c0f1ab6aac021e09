"""Made-up files in the own formats of labelling tools; docs/labelling-tools.md says where the shapes are from."""

import base64
import io

import numpy as np
from PIL import Image

from tests.lts_keras.data.tool_exports import BLUE, LEFT, LOW, RED, RIGHT, SIZE, corners, draw, write_json


def labelstudio_json(folder):
    """Label Studio's own JSON: percentages of the upright photo, one turned by EXIF; texts by region."""
    height, width = SIZE
    draw(folder / "photos/3f1c2d4e-desk 1.jpg", {LEFT: RED, RIGHT: BLUE}, exif=6)
    draw(folder / "photos/shelf.png", {LEFT: RED})
    size = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}

    def percent(points):
        return [[x / width * 100, y / height * 100] for x, y in zip(points[::2], points[1::2], strict=True)]

    x0, y0, x1, y1 = (side / of * 100 for side, of in zip(RIGHT, (width, height, width, height), strict=True))
    outline = {"points": percent(corners(LEFT)), "closed": True}
    box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
    tasks = [
        {
            "id": 11,
            "data": {"image": "/data/upload/4/3f1c2d4e-desk%201.jpg"},
            "annotations": [
                {"id": 1, "was_cancelled": True, "updated_at": "2025-03-09T22:16:08Z", "result": [{"id": "x"}]},
                {
                    "id": 2,
                    "was_cancelled": False,
                    "updated_at": "2025-03-08T22:16:08Z",
                    "result": [
                        {"id": "a", "from_name": "label", "type": "polygonlabels", **size}
                        | {"value": outline | {"polygonlabels": ["cup"]}},
                        {"id": "a", "from_name": "expression", "type": "textarea", **size}
                        | {"value": outline | {"text": ["the red cup", "cup on the left"]}},
                        {"id": "b", "from_name": "label", "type": "rectanglelabels", **size}
                        | {"value": box | {"rectanglelabels": ["clock"]}},
                        {"id": "c", "from_name": "label", "type": "brushlabels", **size}
                        | {"value": {"format": "rle", "rle": [0, 1], "brushlabels": ["cup"]}},
                        {"id": "d", "from_name": "quality", "type": "choices", "value": {"choices": ["good"]}},
                        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
                    ],
                },
            ],
        },
        {
            "id": 12,
            "data": {"image": "/data/local-files/?d=photos/0a1b2c3d-shelf.png", "note": "a shelf"},
            "annotations": [
                {
                    "id": 3,
                    "result": [
                        {"id": "a", "type": "polygonlabels", "value": outline | {"polygonlabels": ["cup"]}} | size
                    ],
                }
            ],
        },
        {"id": 13, "data": {"image": "/data/upload/4/none.png"}, "annotations": []},
    ]
    write_json(folder / "export.json", tasks)


def labelme(folder):
    """labelme's JSON files: one a photo; polygon with a description, rectangle, mask, group, line; a turned photo."""
    height, width = SIZE

    def shape(label, points, kind="polygon", **further):
        return {
            "label": label,
            "points": points,
            "group_id": None,
            "shape_type": kind,
            "flags": {},
            "description": "",
        } | further

    def pairs(patch):
        points = list(map(float, corners(patch)))
        return [list(pair) for pair in zip(points[::2], points[1::2], strict=True)]

    def save(name, photo, shapes):
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": photo, "imageData": None}
        write_json(folder / name, content | {"imageHeight": height, "imageWidth": width})

    draw(folder / "desk.jpg", {LEFT: RED, RIGHT: BLUE}, exif=6)
    x0, y0, x1, y1 = RIGHT
    save(
        "desk.json",
        "desk.jpg",
        [
            shape("cup", pairs(LEFT), description="the red cup\ncup on the left"),
            shape("alarm_clock", [[float(x1), float(y1)], [float(x0), float(y0)]], "rectangle"),
            shape("edge", [[0.0, 50.0], [90.0, 50.0]], "line"),
        ],
    )
    draw(folder / "sub/photos/shelf.png", {LEFT: RED, RIGHT: BLUE, LOW: BLUE})
    png = io.BytesIO()
    Image.fromarray(np.ones((LEFT[3] - LEFT[1], LEFT[2] - LEFT[0]), "uint8")).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    save(
        "sub/shelf.json",
        "photos\\shelf.png",
        [
            shape("cup", [list(LEFT[:2]), [LEFT[2] - 1, LEFT[3] - 1]], "mask", mask=mask),
            shape("clock", pairs(RIGHT), group_id=1),
            shape("clock", pairs(LOW), group_id=1),
        ],
    )


def via_json(folder, project=True):
    """VIA's own JSON: a project with a dropdown, or the export of typed classes with regions as VIA 1 keeps them."""
    draw(folder / "photos/bench.png", {LEFT: RED, RIGHT: BLUE})
    names = {"1": "cup", "2": "alarm clock"}
    outline = {"name": "polygon", "all_points_x": corners(LEFT)[::2], "all_points_y": corners(LEFT)[1::2]}
    box = {"name": "rect", "x": RIGHT[0], "y": RIGHT[1], "width": RIGHT[2] - RIGHT[0], "height": RIGHT[3] - RIGHT[1]}
    regions = [
        {
            "shape_attributes": outline,
            "region_attributes": {"class": "1", "expression": "the red cup; cup on the left"},
        },
        {"shape_attributes": box, "region_attributes": {"class": "2", "expression": ""}},
        {"shape_attributes": {"name": "point", "cx": 3, "cy": 4}, "region_attributes": {"class": "1"}},
    ]
    if not project:
        for region in regions:
            region["region_attributes"]["class"] = names[region["region_attributes"]["class"]]
        regions = {str(at): region for at, region in enumerate(regions)}
    metadata = {"bench.png4321": {"filename": "bench.png", "size": 4321, "regions": regions, "file_attributes": {}}}
    attributes = {
        "class": {"type": "dropdown", "options": names},
        "expression": {"type": "text"},
    }
    whole = {"_via_settings": {}, "_via_img_metadata": metadata, "_via_attributes": {"region": attributes, "file": {}}}
    write_json(folder / "export.json", whole if project else metadata)
