"""Photos as cameras, tools and mistakes make them: read as other decoders read them, or refused by name."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from lts_keras.data.schema import DataError
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.prepared import objects

PIXELS = np.zeros((40, 60, 3), "uint8") + np.array([40, 120, 200], "uint8")
PIXELS[5:30, 10:20] = [220, 30, 60]
GREY = PIXELS[..., 0]
PLAIN = Image.fromarray(PIXELS)
BOX = [10, 5, 20, 30]


def saved(image, kind, **options):
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def with_a_clear_color():
    image = PLAIN.quantize(8)
    return saved(image, "PNG", transparency=int(np.asarray(image)[0, 0]))


def manifest(root, *names):
    """A manifest of photos of one name each and one box; returns the configuration as plain values."""
    lines = [{"image": name, "objects": [{"expressions": ["it"], "box": BOX}]} for name in names]
    (root / "own.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return {"data": {"sources": [{"kind": "manifest", "name": "own", "file": "own.jsonl"}]}}


def as_pillow_has_it(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


PHOTOS = {
    "cmyk.jpg": saved(PLAIN.convert("CMYK"), "JPEG", quality=95),
    "mpo.jpg": saved(PLAIN, "MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
    "progressive.jpg": saved(PLAIN, "JPEG", progressive=True),
    "grey.jpg": saved(GREY, "JPEG"),
    "grey.png": saved(GREY, "PNG"),
    "palette.png": saved(PLAIN.quantize(8), "PNG"),
    "animated.png": saved(PLAIN, "PNG", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
    "a_jpeg_in_truth.png": saved(PLAIN, "JPEG"),
    "a_png_in_truth.jpg": saved(PLAIN, "PNG"),
    "trailing.jpg": saved(PLAIN, "JPEG") + b"\0" * 100 + b"more",
    "trailing.png": saved(PLAIN, "PNG") + b"more",
    "no suffix": saved(PLAIN, "PNG"),
    "-o #1 100%.png": saved(PLAIN, "PNG"),
    "кружка 杯 \U0001f600.png": saved(PLAIN, "PNG"),
    "e\u0301.png": saved(PLAIN, "PNG"),
    "UPPER.JPEG": saved(PLAIN, "JPEG"),
    f"{'long' * 50}.png": saved(PLAIN, "PNG"),
}


def test_odd_photos_are_those_of_another_decoder(tmp_path):
    for name, content in PHOTOS.items():
        (tmp_path / name).write_bytes(content)
    found, report = objects(manifest(tmp_path, *PHOTOS), tmp_path)
    assert report["photos"] == {"total": len(PHOTOS), "unreadable_photos": 0, "size_mismatches": 0}
    assert [one["photo"] for one in found] == [f"own:{name}" for name in PHOTOS]
    for one, content in zip(found, PHOTOS.values(), strict=True):
        difference = np.abs(one["pixels"] - as_pillow_has_it(content))
        assert difference.max() <= 3, one["photo"]


def test_sixteen_bits_and_transparency(tmp_path):
    (tmp_path / "deep.png").write_bytes(saved(GREY.astype("uint16") * 257, "PNG"))
    (tmp_path / "clear.png").write_bytes(with_a_clear_color())
    deep, clear = (one["pixels"] for one in objects(manifest(tmp_path, "deep.png", "clear.png"), tmp_path)[0])
    np.testing.assert_array_equal(deep, np.repeat(GREY[..., None], 3, 2))
    # As everywhere: grey shows through.
    np.testing.assert_array_equal(clear[0, 0], [128, 128, 128])
    np.testing.assert_array_equal(clear[5:30, 10:20], PIXELS[5:30, 10:20])


REFUSED = {
    "photo.webp": saved(PLAIN, "WEBP"),
    "photo.gif": saved(PLAIN, "GIF"),
    "photo.bmp": saved(PLAIN, "BMP"),
    "photo.tiff": saved(PLAIN, "TIFF"),
    "a_webp_in_truth.jpg": saved(PLAIN, "WEBP"),
    "cut.jpg": saved(PLAIN, "JPEG")[:500],
    "cut.png": saved(PLAIN, "PNG")[:-40],
    "empty.jpg": b"",
    "text.png": b"<html>404</html>",
    "half of it is noise.png": saved(PLAIN, "PNG")[:60] + b"\xff" * 80,
}


@pytest.mark.parametrize(("written", "found"), [("e\u0301.png", "\u00e9.png"), ("\u00e9.png", "e\u0301.png")])
def test_a_name_of_the_same_letters_is_named(tmp_path, written, found):
    (tmp_path / found).write_bytes(saved(PLAIN, "PNG"))
    with pytest.raises(DataError, match="No such file or directory; there is") as caught:
        objects(manifest(tmp_path, written), tmp_path)
    assert ascii(found) in str(caught.value)


def test_what_is_no_photo_is_refused_by_name(tmp_path):
    (tmp_path / "sound.png").write_bytes(data_trees.jpeg(1, kind="PNG"))
    for name, content in REFUSED.items():
        (tmp_path / name).write_bytes(content)
    values = manifest(tmp_path, "sound.png", *REFUSED, "missing.png")
    with pytest.raises(DataError, match="unreadable photos: 11 of 12, more than data.check.max_unreadable_photos: 0"):
        objects(values, tmp_path)
    found, report = objects({"data": values["data"] | {"check": {"max_unreadable_photos": 1.0}}}, tmp_path)
    assert [one["photo"] for one in found] == ["own:sound.png"]
    assert report["objects"] == {"read": 12, "kept": 1, "left_out": 11}
    lines = [problem["message"] for problem in report["problems"] if problem["kind"] == "unreadable_photos"]
    for name in (*REFUSED, "missing.png"):
        assert sum(line.startswith(f"{tmp_path / name}: ") for line in lines) == 1, name
