"""What docs/labelling-tools.md warns of: shapes that tools write and that no reader can take as they are."""

import json

import numpy as np
import pytest

from lts_keras.data.schema import DataError
from tests.lts_keras.data import prepared, tool_exports
from tests.lts_keras.data.prepared import by_category, check_mask
from tests.lts_keras.data.tool_exports import BLUE, LEFT, LOW, RED, RIGHT, SIZE, corners


def source(instances, photos, **further):
    """A configuration of one `coco` source."""
    section = {"kind": "coco", "name": "own", "instances": instances, "photos": photos, **further}
    return {"name": "own", "data": {"sources": [section]}}


def change(path, edit):
    """Rewrites a JSON file with what `edit` did to its content."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def refused(values, root, *words):
    """Checks that the run ends with one line that has the words."""
    with pytest.raises(DataError) as caught:
        prepared.objects(values, root)
    assert len(str(caught.value).splitlines()) == 1
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def via(tmp_path):
    tool_exports.via_coco(tmp_path / "via")
    return tmp_path / "via/coco.json"


VIA = source("via/coco.json", "via/photos")


def test_via_writes_a_region_with_two_attributes_twice(via, tmp_path):
    change(via, lambda content: content["annotations"].append(content["annotations"][0]))
    refused(VIA, tmp_path, "coco.json", "id 1 stands twice", "annotations[0] and annotations[2]")


def test_via_gives_one_id_to_photos_whose_names_start_alike(via, tmp_path):
    change(via, lambda content: content["images"].append(content["images"][0] | {"file_name": "1.png"}))
    refused(VIA, tmp_path, "coco.json", "id 1 stands twice", "images[0] and images[1]")


def test_via_writes_null_for_ids_of_classes_that_are_text(via, tmp_path):
    def edit(content):
        for one in content["categories"]:
            one["id"] = None
        for one in content["annotations"]:
            one["category_id"] = None

    change(via, edit)
    refused(VIA, tmp_path, "coco.json", "categories[0]", "id", "null")


def test_via_writes_a_class_without_description_as_a_blank_name(via, tmp_path):
    change(via, lambda content: content["categories"][0].update(name=""))
    refused(VIA, tmp_path, "coco.json", "categories[0]", "name")


def test_via_writes_points_without_outline_and_box(via, tmp_path):
    point = {"segmentation": [[]], "area": [], "bbox": [], "iscrowd": 0, "id": 3, "image_id": 1, "category_id": 1}
    change(via, lambda content: content["annotations"].append(point | {"keypoints": [3, 4, 2], "num_keypoints": 1}))
    refused(VIA, tmp_path, "coco.json", "annotation 3 (annotations[2])", "bbox")


def test_labelme2coco_writes_rectangles_as_two_corners(tmp_path):
    tool_exports.labelme_coco(tmp_path / "coco")
    change(
        tmp_path / "coco/annotations.json",
        lambda content: content["annotations"][0].update(segmentation=[list(map(float, LEFT))]),
    )
    refused(source("coco/annotations.json", "coco"), tmp_path, "empty masks", "1 of 2")


def test_the_package_labelme2coco_writes_negative_sides(tmp_path):
    tool_exports.labelme_coco(tmp_path / "coco")
    change(
        tmp_path / "coco/annotations.json",
        lambda content: content["annotations"][1].update(segmentation=[], bbox=[88.0, 48.0, -32.0, -32.0]),
    )
    refused(source("coco/annotations.json", "coco"), tmp_path, "annotation 1 (annotations[1])", "bbox")


def test_heaps_are_no_objects_where_flags_mean_crowds(tmp_path):
    shapes = [("cup", "brush", [LEFT, RIGHT], ""), ("alarm_clock", "brush", [LOW], "")]
    tool_exports.cvat(tmp_path / "cvat", "default", {"a.png": shapes})
    values = source("cvat/annotations/instances_default.json", "cvat/images/default")
    found, report = prepared.objects(values, tmp_path)
    assert list(by_category(found)) == ["alarm_clock"]
    assert report["objects"] == {"read": 2, "kept": 1, "left_out": 1}
    (row,) = report["left_out"]
    assert (row["reason"], row["count"]) == ("crowd region", 1)


@pytest.mark.parametrize("exif", [3, 6])
def test_turned_photos_are_read_as_they_are_shown(tmp_path, exif):
    tool_exports.cvat(tmp_path / "cvat", "default", {"a.jpg": [("cup", "polygon", [LEFT], "")]})
    tool_exports.draw(tmp_path / "cvat/images/default/a.jpg", {LEFT: RED}, exif)
    (cup,), _ = prepared.objects(source("cvat/annotations/instances_default.json", "cvat/images/default"), tmp_path)
    check_mask(cup, RED, LEFT)


def test_an_old_cvat_labels_the_stored_pixels(tmp_path):
    tool_exports.cvat(tmp_path / "cvat", "default", {"a.jpg": [("cup", "polygon", [LEFT], "")]})
    height, width = SIZE
    x0, y0, x1, y1 = LEFT
    # The stored pixels are the upright ones turned by half.
    tool_exports.draw(
        tmp_path / "cvat/images/default/a.jpg", {(width - x1, height - y1, width - x0, height - y0): RED}, 3
    )
    values = source("cvat/annotations/instances_default.json", "cvat/images/default", orientation="stored")
    (cup,), _ = prepared.objects(values, tmp_path)
    check_mask(cup, RED, LEFT)


def test_label_studio_mixes_the_frames_of_turned_photos(tmp_path):
    """Its COCO has the stored size, boxes in upright pixels, and outlines as upright shares of the stored sides."""
    folder, (height, width) = tmp_path / "labelstudio", SIZE
    tool_exports.labelstudio_coco(folder)
    tool_exports.draw(folder / "images/desk.jpg", {LEFT: RED, RIGHT: BLUE}, 6)

    def edit(content):
        content["images"][0].update(width=height, height=width, file_name="images/desk.jpg")
        assert content["info"]["contributor"] == "Label Studio"
        outline = content["annotations"][0]
        outline["segmentation"] = [
            (np.reshape(corners(LEFT), (-1, 2)) * (height / width, width / height)).ravel().tolist()
        ]

    change(folder / "result.json", edit)
    refused(source("labelstudio/result.json", "labelstudio"), tmp_path, "images/desk.jpg", "Label Studio", "JSON")
