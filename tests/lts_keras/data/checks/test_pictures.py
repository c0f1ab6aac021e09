import base64
import io

import numpy as np
import pytest
from PIL import Image

from lts_keras.data.checks.pictures import draw_object, read_pixels
from lts_keras.data.schema import Photo

GREY = np.full((60, 90, 3), 128, "uint8")


def decode(uri):
    kind, content = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"), "int32")


def rectangle(height, width, x0, y0, x1, y1):
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_the_mask_is_tinted_and_nothing_else():
    picture = decode(draw_object(GREY, rectangle(60, 90, 20, 10, 60, 40)))
    red = picture[..., 0] - picture[..., 2] > 40
    assert picture.shape == (60, 90, 3)
    # JPEG's colours bleed by a few pixels.
    assert red[14:36, 24:56].all() and not red[:6].any() and not red[:, 66:].any()


def test_the_box_is_drawn_where_it_is():
    picture = decode(draw_object(GREY, box=(20.0, 10.0, 60.0, 40.0)))
    yellow = picture[..., 0] - picture[..., 2] > 60
    assert yellow[9:12, 22:58].any(0).mean() > 0.9 and yellow[12:38, 59:62].any(1).mean() > 0.9
    assert not yellow[16:34, 26:54].any()


@pytest.mark.parametrize("box", [(10, 10, 10, 22), (45, 30, 45, 30), (4000, 10, 4020, 22), (-50, -50, -40, -40)])
def test_a_box_without_area_can_still_be_seen(box):
    picture = decode(draw_object(GREY, box=box))
    assert (picture[..., 0] - picture[..., 2] > 60).sum() > 8


def test_a_mask_of_one_pixel_of_a_large_photo_can_still_be_seen():
    photo = np.full((2000, 3000, 3), 128, "uint8")
    picture = decode(draw_object(photo, rectangle(2000, 3000, 1500, 1000, 1501, 1001)))
    assert picture.shape == (240, 360, 3)
    assert (picture[..., 0] - picture[..., 2] > 20).any()


@pytest.mark.parametrize(("orientation", "shape"), [(1, (60, 90, 3)), (6, (90, 60, 3))])
def test_pixels_are_turned_as_the_annotations_are(orientation, shape):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x112] = 6
    Image.fromarray(GREY).save(buffer, "JPEG", exif=exif)
    photo = Photo("a", buffer.getvalue(), *shape[:2], (), orientation)
    assert read_pixels(photo).shape == shape
