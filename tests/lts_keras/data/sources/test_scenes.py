import collections
import hashlib
import io
import math
import time

import numpy as np
import pytest
from PIL import Image

from lts_keras.config.schema import ScenesSource
from lts_keras.data.prepare.masks import tight_box
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source, read_source
from lts_keras.data.sources.scene_drawing import Look, draw_shapes, encode
from lts_keras.data.sources.scenes import draw_scene

RELATIONS = {"of", "above", "over", "below", "under", "beneath"}
HARDER = {
    "max_shapes": 7,
    "kinds": ("circle", "square", "triangle", "star", "cross", "ring", "moon", "arrow"),
    "scale": (0.5, 1.0),
    "rivals": 0.6,
    "overlap": 0.45,
    "clutter": 6,
}
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


@pytest.mark.parametrize(("split", "look"), [("val", Look()), ("testA", Look()), ("val", Look(**HARDER))])
def test_words_of_appearance_fit_one_shape_alone(split, look):
    """Checked against every shape of the scene, referred to or not."""
    kinds, colors = (
        set(HARDER["kinds"]),
        {"red", "green", "blue", "yellow", "purple", "white"},
    )
    sizes = {"small": "small", "little": "small", "large": "large", "big": "large"}
    checked = 0
    for seed in range(40):
        scene = _all_shapes(seed, split, look)
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


def _all_shapes(seed, split, look=Look()):  # noqa: B008, frozen
    from lts_keras.data.sources import scenes

    seen, original = {}, scenes.encode

    def keep(rng, shapes, *others):
        seen["shapes"] = shapes
        return original(rng, shapes, *others)

    scenes.encode = keep
    try:
        _, seen["referred"], seen["texts"], _ = draw_scene(np.random.default_rng(seed), (120, 120), look, split)
    finally:
        scenes.encode = original
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


def test_the_default_look_draws_what_it_always_drew():
    """Scores that are written down hang on these bytes; the digest was taken before there were other looks."""
    digest = hashlib.sha256()
    for photo in photos(section(train=4, testA=2, testB=2)):
        pixels = np.asarray(Image.open(io.BytesIO(photo.image_bytes)))
        digest.update(repr((pixels.shape, [item.expressions for item in photo.objects])).encode())
        for item in photo.objects:
            digest.update(item.mask.tobytes())
    assert digest.hexdigest()[:16] == "b49859177ecebd18"


def test_options_draw_other_scenes_and_are_part_of_a_photos_identity():
    plain = open_source(section(train=1), ".")
    for key, value in HARDER.items():
        other = open_source(ScenesSource(num_photos={"train": 1}, **{key: value}), ".")
        assert other.fingerprint("train/0") != plain.fingerprint("train/0"), key
    assert open_source(ScenesSource(num_photos={"train": 1}, clutter=0), ".").fingerprint(
        "train/0"
    ) == plain.fingerprint("train/0")


def test_rivals_are_of_the_same_kind():
    """Counted on drawn shapes: how many have another of their kind in the scene."""
    shares = {}
    for rivals in (0.0, 1.0):
        rng, look = np.random.default_rng(1), Look(rivals=rivals)
        scenes = [draw_shapes(rng, (128, 128), look) for _ in range(30)]
        shares[rivals] = np.mean([sum(o.kind == s.kind for o in shapes) > 1 for shapes in scenes for s in shapes])
    assert shares[0.0] < 0.6 and shares[1.0] == 1.0


def test_scale_makes_shapes_smaller():
    areas = {}
    for scale in (0.5, 1.0):
        rng = np.random.default_rng(2)
        shapes = [
            s for _ in range(20) for s in draw_shapes(rng, (128, 128), Look(kinds=("circle",), scale=(scale, scale)))
        ]
        areas[scale] = [s.radius for s in shapes]
    assert max(areas[0.5]) <= 0.5 * 0.52 * 128 / 2 and min(areas[1.0]) >= 0.24 * 128 / 2


def test_clutter_changes_the_background_alone():
    rng = np.random.default_rng(3)
    shapes = draw_shapes(rng, (96, 96), Look())
    pictures = []
    for clutter in (0, 30):
        drawn = encode(np.random.default_rng(4), shapes, (96, 96), Look(clutter=clutter))
        pictures.append(np.asarray(Image.open(io.BytesIO(drawn))).astype(int))
    inside = np.any([shape.mask for shape in shapes], axis=0)
    difference = np.abs(pictures[0] - pictures[1]).mean(-1)
    # Noise and shades are drawn anew behind the lines; a line is further off than these.
    assert np.mean(difference[~inside] > 60) > 3 * np.mean(difference[inside] > 60)


@pytest.mark.parametrize("kind", ["ring", "moon", "arrow"])
def test_further_kinds_are_drawn_and_named(kind):
    (photo,) = photos(ScenesSource(num_photos={"train": 1}, kinds=(kind,), photo_size=(96, 96)))
    assert {item.category for item in photo.objects} == {kind}
    rng = np.random.default_rng(5)
    shape = max(draw_shapes(rng, (160, 160), Look(kinds=(kind,))), key=lambda shape: shape.visible)
    disc = math.pi * shape.radius**2
    # A ring and a moon are discs with a part cut out; an arrow is thin.
    assert 0.2 * disc < shape.mask.sum() < 0.75 * disc
    assert bool(shape.mask[round(shape.y), round(shape.x)]) is (kind == "arrow")


@pytest.mark.parametrize(("scale", "error"), [((0.2, 1.0), DataError), ((1.0, 0.5), ValueError), ((0.5,), ValueError)])
def test_scales_that_cannot_be_drawn_are_refused(scale, error):
    with pytest.raises(error, match="scale"):
        open_source(ScenesSource(scale=scale), ".")
