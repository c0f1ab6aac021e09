"""Sentences, uploads and files of the page, without the page."""

import io
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from serving.client.answers import Answer
from serving.demo.asking import MOST_SENTENCES, Found, read_sentences, read_upload
from serving.demo.files import write_files
from serving.demo.layers import render
from serving.demo.scenes import SCENES, draw_scene
from serving.errors import UsageError


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def answer(height=20, width=30, prior=None, empty=False):
    mask = np.zeros((height, width), bool)
    if not empty:
        mask[5:10, 8:20] = True
    box = (0, 0, 0, 0) if empty else (8, 5, 20, 10)
    return Answer(mask, 0.0 if empty else 0.9, 0.4, box, (12, 7), 3, png(mask.astype(np.uint8) * 255), prior)


def found(*answers):
    sentences = [f"thing {number}" for number in range(len(answers))]
    return Found(Image.new("RGB", (30, 20), "white"), sentences, list(answers), 0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "Say what"), (None, "Say what"), (" \n ", "Say what"), ("dog\n?!", "no word"), ("dog\n" * 40, "At most")],
)
def test_sentences_that_cannot_be_asked_are_told_in_words(text, words):
    with pytest.raises(UsageError, match=words):
        read_sentences(text)


def test_sentences_are_the_lines():
    assert read_sentences(" the dog \n\n the cat\r\n") == ["the dog", "the cat"]
    assert read_sentences("the\tdog\x02\n\x00") == ["the dog"]
    assert len(read_sentences("dog\n" * MOST_SENTENCES)) == MOST_SENTENCES


def test_jpeg_and_png_go_as_they_are_and_others_as_png(tmp_path):
    photo = Image.new("RGB", (8, 6), "red")
    for kind, same in (("JPEG", True), ("PNG", True), ("WEBP", False), ("BMP", False)):
        path = tmp_path / kind
        photo.save(path, kind)
        content, picture = read_upload(path)
        assert (content == path.read_bytes()) == same
        assert picture.size == (8, 6)
        assert Image.open(io.BytesIO(content)).format == (kind if same else "PNG")


def test_other_pictures_are_turned_and_keep_what_is_transparent(tmp_path):
    photo = Image.new("RGBA", (8, 6), (255, 0, 0, 0))
    photo.paste((255, 0, 0, 255), (0, 0, 4, 6))
    turn = photo.getexif()
    turn[0x0112] = 6
    photo.save(tmp_path / "turned.webp", exif=turn, lossless=True)
    content, picture = read_upload(tmp_path / "turned.webp")
    sent = Image.open(io.BytesIO(content))
    assert (sent.size, picture.size, sent.mode) == ((6, 8), (6, 8), "RGBA")
    assert (picture.getpixel((3, 1)), picture.getpixel((3, 6))) == ((255, 0, 0), (128, 128, 128))


def test_what_is_no_picture_is_told_in_words(tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(UsageError, match="no picture"):
        read_upload(tmp_path / "no.jpg")
    with pytest.raises(UsageError, match="photo first"):
        read_upload(None)


def test_files_hold_what_was_found(tmp_path):
    paths = write_files(found(answer(), answer(empty=True)), tmp_path)
    assert [path.name for path in paths] == ["overlay.png", "masks.zip", "answers.json", "answers.svg"]
    told = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert [one["area"] for one in told] == [60, 0]
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        masks = [np.asarray(Image.open(archive.open(name))) > 0 for name in archive.namelist()]
    assert [int(mask.sum()) for mask in masks] == [60, 0]
    assert "M8,5" in (tmp_path / "answers.svg").read_text()


def test_outlines_are_the_mask_holes_too(tmp_path):
    ring = answer()
    ring.mask[6:9, 10:15] = False
    write_files(found(ring), tmp_path)
    (path,) = re.findall(r'<path d="([^"]+)" [^>]*fill-rule="evenodd"', (tmp_path / "answers.svg").read_text())
    drawn = np.zeros((20, 30), bool)
    for border in path.split("M")[1:]:
        corners = [tuple(map(float, corner.split(","))) for corner in re.findall(r"[\d.]+,[\d.]+", border)]
        for row, column in np.ndindex(drawn.shape):
            drawn[row, column] ^= inside(corners, column + 0.5, row + 0.5)
    np.testing.assert_array_equal(drawn, ring.mask)


def inside(corners, x, y):
    """Whether a polygon of level and upright edges has a place within: it crosses the way to the left an odd number of
    times."""
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    return sum(x0 == x1 < x and min(y0, y1) < y < max(y0, y1) for (x0, y0), (x1, y1) in edges) % 2 == 1


def test_the_prior_is_a_layer_where_there_is_one():
    prior = np.zeros((10, 15), np.float32)
    prior[3, 6] = 1
    assert 'class="layer prior of-1"' in render(found(answer(prior=prior)))
    assert "opacity-prior" in render(found(answer(prior=prior)))
    assert "opacity-prior" not in render(found(answer()))


def test_an_empty_mask_is_said_to_be_nothing():
    assert "nothing found" in render(found(answer(empty=True)))
    assert "nothing found" not in render(found(answer()))


def test_sentences_are_text_and_no_markup():
    one = Found(Image.new("RGB", (30, 20)), ["<script>x</script> & “y”"], [answer()], 0.1)
    assert "<script>" not in render(one)
    assert "&lt;script&gt;" in render(one)


@pytest.mark.parametrize("shapes", [shapes for shapes, _ in SCENES])
def test_scenes_show_their_shapes_on_a_ground_that_is_not_plain(shapes):
    assert draw_scene(shapes) == draw_scene(shapes)
    pixels = np.asarray(Image.open(io.BytesIO(draw_scene(shapes)))).astype(int)
    ground = np.ones(pixels.shape[:2], bool)
    for _, color, (x0, y0, x1, y1) in shapes:
        assert tuple(pixels[(y0 + y1) // 2, (x0 + x1) // 2]) == color
        ground[y0 - 5 : y1 + 5, x0 - 5 : x1 + 5] = False  # with their soft edges
    assert (np.ptp(pixels, axis=-1)[ground] == 0).all()  # grey
    assert pixels[ground].std() > 10
