import collections
import io
import time

import numpy as np
import pytest
from PIL import Image

from lts_keras.config.schema import ScenesSource
from lts_keras.data.prepare.masks import tight_box
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source, read_source
from lts_keras.data.sources.scenes import draw_scene

RELATIONS = {"of", "above", "over", "below", "under", "beneath"}
PLACES = {"left", "right", "top", "bottom", "leftmost", "rightmost", "uppermost", "lowest", "upper", "lower"}


def section(seed=0, **num_photos):
    return ScenesSource(num_photos=num_photos or {"train": 6, "testA": 6, "testB": 6}, seed=seed)


def photos(config):
    return list(read_source(config, "."))


def test_the_same_seed_draws_the_same_bytes():
    first, again, other = (photos(section(seed)) for seed in (3, 3, 4))
    assert [photo.image_bytes for photo in first] == [photo.image_bytes for photo in again]
    assert [photo.objects[0].expressions for photo in first] == [photo.objects[0].expressions for photo in again]
    assert first[0].image_bytes != other[0].image_bytes


def test_a_photo_does_not_depend_on_how_many_others_there_are():
    few, many = (photos(section(train=count)) for count in (2, 5))
    assert [photo.image_bytes for photo in few] == [photo.image_bytes for photo in many[:2]]


def test_photos_have_different_sizes_within_the_limits():
    sizes = {(photo.height, photo.width) for photo in photos(section(train=20))}
    assert len(sizes) > 10
    assert all(96 <= side <= 160 for size in sizes for side in size)
    for photo in photos(section(train=3)):
        assert Image.open(io.BytesIO(photo.image_bytes)).size == (photo.width, photo.height)


def test_masks_are_visible_parts_that_do_not_overlap():
    overlaps = 0
    for photo in photos(section(train=30)):
        together = sum(item.mask.astype(int) for item in photo.objects)
        assert together.max() == 1
        for item in photo.objects:
            assert item.box == tight_box(item.mask)
            assert item.mask.mean() > 0.008
        overlaps += any(item.mask.sum() < 0.7 * _box_area(item.box) for item in photo.objects)
    assert overlaps


def _box_area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def test_colours_in_the_photo_are_those_of_the_words():
    pure = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
    checked = 0
    for photo in photos(section(testA=30)):
        pixels = np.asarray(Image.open(io.BytesIO(photo.image_bytes))).astype(float)
        for item in photo.objects:
            words = " ".join(item.expressions).split()
            for word in set(words) & set(pure):
                assert np.argmax(pixels[item.mask].mean(0)) == np.argmax(pure[word])
                checked += 1
    assert checked > 10


def test_splits_have_their_kinds_of_expressions():
    words = collections.defaultdict(list)
    for photo in photos(section(train=60, testA=30, testB=30)):
        for item in photo.objects:
            words[item.split] += [set(text.split()) for text in item.expressions]
    assert not any(text & (RELATIONS | PLACES) for text in words["testA"])
    assert all(text & RELATIONS for text in words["testB"])
    assert any(text & RELATIONS for text in words["train"])
    assert any(text & PLACES and not text & RELATIONS for text in words["train"])
    assert any(not text & (RELATIONS | PLACES) for text in words["train"])


@pytest.mark.parametrize("split", ["val", "testA"])
def test_words_of_appearance_fit_one_shape_alone(split):
    """Checked against every shape of the scene, referred to or not."""
    kinds, colors = (
        {"circle", "square", "triangle", "star", "cross"},
        {"red", "green", "blue", "yellow", "purple", "white"},
    )
    sizes = {"small": "small", "little": "small", "large": "large", "big": "large"}
    checked = 0
    for seed in range(40):
        scene = _all_shapes(seed, split)
        for shape, texts in zip(scene["referred"], scene["texts"], strict=True):
            for text in texts:
                words = set(text.split())
                if words & (RELATIONS | PLACES):
                    continue
                fits = [
                    other
                    for other in scene["shapes"]
                    if words & kinds <= {other.kind}
                    and words & colors <= {other.color}
                    and {sizes[word] for word in words & set(sizes)} <= {other.size}
                ]
                assert fits == [shape]
                checked += 1
    assert checked > 50


def test_place_words_fit_the_outermost_shape():
    checked = 0
    for seed in range(60):
        scene = _all_shapes(seed, "val")
        for shape, texts in zip(scene["referred"], scene["texts"], strict=True):
            for text in texts:
                for word in ("leftmost", "rightmost"):
                    if text.removeprefix("the ") == f"{word} shape":
                        sign = 1 if word == "rightmost" else -1
                        assert max(scene["shapes"], key=lambda other, sign=sign: sign * other.x) is shape
                        checked += 1
    assert checked


def _all_shapes(seed, split):
    from lts_keras.data.sources import scenes

    seen, original = {}, scenes._encode

    def keep(rng, shapes, height, width):
        seen["shapes"] = shapes
        return original(rng, shapes, height, width)

    scenes._encode = keep
    try:
        _, seen["referred"], seen["texts"], _ = draw_scene(np.random.default_rng(seed), (120, 120), 5, split)
    finally:
        scenes._encode = original
    return seen


@pytest.mark.parametrize("photo_size", [(160, 96), (8, 96)])
def test_sizes_that_cannot_be_drawn_are_refused(photo_size):
    with pytest.raises(DataError, match="photo_size"):
        open_source(ScenesSource(photo_size=photo_size), ".")


def test_drawing_is_fast():
    """1,400 scenes in well under 30 s on one core; processor time, so that a busy machine does not matter."""
    source = open_source(section(train=100), ".")
    start = time.process_time()
    for entry in source.entries():
        source.read(entry.key)
    assert (time.process_time() - start) * 14 < 30
