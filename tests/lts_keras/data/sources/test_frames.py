"""Which pixels annotations are in: the upright photo or the stored one, by what the source says and the sizes fit."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lts_keras.config.data_schema import CocoSource, ManifestSource
from lts_keras.data.orientation import upright
from lts_keras.data.sources import PhotoError, open_source

UPRIGHT = (60, 40)  # height, width; stored lying on its side
BOX = (5, 10, 25, 50)


def write_photo(path, orientation=6):
    """A photo whose upright pixels are red in BOX; returns the stored size."""
    pixels = np.full((*UPRIGHT, 3), 120, "uint8")
    x0, y0, x1, y1 = BOX
    pixels[y0:y1, x0:x1] = (255, 0, 0)
    # What is turned by 90 degrees clockwise to be shown is stored turned the other way.
    stored = {1: pixels, 6: np.rot90(pixels), 3: pixels[::-1, ::-1]}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    return stored.shape[:2]


def write_coco(root, size, name="photo.png", orientation=6, box=BOX):
    stored = write_photo(root / name, orientation)
    x0, y0, x1, y1 = box
    content = {
        "images": [{"id": 1, "file_name": name, "height": size[0], "width": size[1]}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
            }
        ],
        "categories": [{"id": 1, "name": "flag"}],
    }
    (root / "own.json").write_text(json.dumps(content))
    return stored


def read(root, **settings):
    source = open_source(CocoSource(name="own", instances="own.json", photos=".", **settings), root)
    (entry,) = source.entries()
    return source.read(entry.key)


def covered(photo):
    """Share of the mask's pixels that are red, in the frame that the record is read in."""
    pixels = np.asarray(Image.open(io.BytesIO(photo.image_bytes)))[..., :3]
    pixels = upright(pixels, photo.orientation).numpy()
    assert pixels.shape[:2] == (photo.height, photo.width) == photo.objects[0].mask.shape
    return (pixels[photo.objects[0].mask] == (255, 0, 0)).all(-1).mean()


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_ones_own_annotations_lie_in_the_upright_photo(tmp_path, orientation):
    write_coco(tmp_path, UPRIGHT, orientation=orientation)
    photo = read(tmp_path)
    assert photo.orientation == orientation and covered(photo) == 1
    assert photo.findings == (() if orientation == 1 else ("turned_photos",))


def test_a_size_that_fits_the_stored_pixels_alone_decides(tmp_path):
    stored_box = (10, 15, 50, 35)  # BOX turned by 90 degrees counter-clockwise: x' = y, y' = 40 - x
    write_coco(tmp_path, UPRIGHT[::-1], box=stored_box)
    photo = read(tmp_path)
    assert (photo.orientation, photo.height, photo.width) == (1, 40, 60) and covered(photo) == 1
    assert photo.findings == ("stored_photos", "frame_by_size")


@pytest.mark.parametrize(
    ("size", "settings", "words"),
    [
        ((50, 50), {}, "for 50 x 50 pixels. Received: 40 x 60 .with the EXIF orientation 6"),
        (UPRIGHT, {"orientation": "stored"}, "for 40 x 60 pixels. Received: 60 x 40"),
        (UPRIGHT[::-1], {"orientation": "upright"}, "for 60 x 40 pixels. Received: 40 x 60"),
    ],
)
def test_a_size_that_fits_neither_or_not_what_the_source_says_stops(tmp_path, size, settings, words):
    write_coco(tmp_path, size)
    with pytest.raises(PhotoError, match=words) as caught:
        read(tmp_path, **settings)
    assert caught.value.kind == "size_mismatches" and "photo.png" in str(caught.value)


def test_cocos_own_annotations_lie_in_the_stored_pixels(tmp_path):
    # Turned by 180 degrees, the size fits both frames.
    write_coco(tmp_path, UPRIGHT, "000000000001.jpg", 3, box=(15, 10, 35, 50))
    assert read(tmp_path).orientation == 1
    assert read(tmp_path, orientation="upright").orientation == 3
    assert read(tmp_path, coco_photos=False).orientation == 3
    (tmp_path / "photo.png").unlink(missing_ok=True)
    write_coco(tmp_path, UPRIGHT, "photo.png", 3)
    assert read(tmp_path).orientation == 3
    assert read(tmp_path, coco_photos=True).orientation == 1


def test_run_lengths_tell_the_frame_where_the_file_has_no_size(tmp_path):
    write_coco(tmp_path, UPRIGHT)
    content = json.loads((tmp_path / "own.json").read_text())
    content["images"][0] |= {"height": None, "width": None}
    assert read_changed(tmp_path, content).orientation == 6
    mask = np.zeros(UPRIGHT[::-1], "uint8")
    mask[15:35, 10:50] = 1
    runs = coco_mask.encode(np.asfortranarray(mask))
    content["annotations"][0] |= {"segmentation": runs | {"counts": runs["counts"].decode()}, "bbox": [10, 15, 40, 20]}
    (tmp_path / "refs.json").write_text(
        json.dumps({"refs": [{"ref_id": 1, "image_id": 1, "ann_id": 1, "sentences": ["the flag"]}]})
    )
    photo = read_changed(tmp_path, content, refs="refs.json")
    assert photo.orientation == 1 and covered(photo) == 1


def read_changed(root, content, **settings):
    (root / "own.json").write_text(json.dumps(content))
    return read(root, **settings)


@pytest.mark.parametrize(("size", "orientation"), [(UPRIGHT, 6), (UPRIGHT[::-1], 1)])
def test_the_size_of_a_manifests_mask_tells_the_frame(tmp_path, size, orientation):
    write_photo(tmp_path / "photo.png")
    mask = np.zeros(size, bool)
    mask[10:30, 10:30] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    line = {"image": "photo.png", "objects": [{"expressions": ["the flag"], "mask": "mask.png"}]}
    (tmp_path / "own.jsonl").write_text(json.dumps(line))
    source = open_source(ManifestSource(name="own", file="own.jsonl"), tmp_path)
    photo = source.read(source.entries()[0].key)
    assert photo.orientation == orientation and photo.objects[0].mask.shape == size
    said = open_source(ManifestSource(name="own", file="own.jsonl", orientation="upright"), tmp_path)
    if orientation == 1:
        with pytest.raises(PhotoError, match="for 60 x 40 pixels. Received: 40 x 60"):
            said.read(said.entries()[0].key)
    else:
        assert said.read(said.entries()[0].key).orientation == 6
