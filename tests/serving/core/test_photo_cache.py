"""Which halves run for which request, and what is kept."""

import types

import numpy as np
import pytest

from serving.core.photo_cache import ENCODE, SEGMENT, PhotoCache

ANSWER = ("mask_png_bytes", "score")


class Halves:
    """Counts the runs of each signature; its features hold the photo's length and its answers the sentence's."""

    def __init__(self, feature_floats=256, without=()):
        inputs = {
            "serving_default": ("image_bytes", "expression"),
            "segment_expressions": ("image_bytes", "expression"),
            ENCODE: ("image_bytes",),
            SEGMENT: ("feature_0", "size", "expression"),
        }
        self.signatures = {
            name: types.SimpleNamespace(
                inputs=dict.fromkeys(names), outputs=dict.fromkeys(("feature_0", "size") if name == ENCODE else ANSWER)
            )
            for name, names in inputs.items()
            if name not in without
        }
        self.feature_floats, self.runs, self.timeouts = feature_floats, [], []

    def run(self, signature_name, inputs, outputs, timeout=None):
        self.runs.append(signature_name)
        self.timeouts.append(timeout)
        if signature_name == ENCODE:
            length = len(inputs["image_bytes"][0])
            return {"feature_0": np.full((1, self.feature_floats), length, np.float32), "size": np.array([[3, 4]])}
        photo = inputs["feature_0"][0, 0] if signature_name == SEGMENT else len(inputs["image_bytes"][0])
        return {"score": np.array([photo + len(text) for text in inputs["expression"]])}


def ask(cache, servable, photo=b"photo", sentences=(b"dog",), signature="segment_expressions", timeout=None):
    photos = [photo] if isinstance(photo, bytes) else photo
    inputs = {
        "image_bytes": np.array(photos, object),
        "expression": np.array(sentences, object),
    }
    return cache.run(servable, signature, inputs, ["score"], timeout)["score"].tolist()


def test_a_second_sentence_runs_the_second_half_alone():
    cache, servable = PhotoCache(10_000), Halves()
    assert ask(cache, servable) == [5 + 3]
    assert ask(cache, servable, sentences=(b"the cat", b"a")) == [5 + 7, 5 + 1]
    assert ask(cache, servable, signature="serving_default") == [5 + 3]
    assert servable.runs == [ENCODE, SEGMENT, SEGMENT, SEGMENT]
    assert (cache.hits, cache.misses) == (2, 1)


def test_another_photo_and_another_servable_are_encoded_for_themselves():
    cache, one, other = PhotoCache(10_000), Halves(), Halves()
    ask(cache, one)
    ask(cache, one, photo=b"another")
    ask(cache, other)
    assert one.runs.count(ENCODE) == 2
    assert other.runs.count(ENCODE) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"photo": [b"one", b"two"], "sentences": (b"a", b"b"), "signature": "serving_default"},
        {"sentences": (b"a", b"b"), "signature": "serving_default"},
        {"sentences": ()},
        {"photo": []},
    ],
    ids=["two photos", "rows that do not fit", "no sentence", "no photo"],
)
def test_what_is_no_single_photo_runs_as_it_comes(change):
    servable = Halves()
    cache = PhotoCache(10_000)
    try:
        ask(cache, servable, **change)
    except IndexError:
        assert change == {"photo": []}  # this servable looks at the first photo, a real graph refuses
    assert servable.runs == [change.get("signature", "segment_expressions")]


@pytest.mark.parametrize("without", [ENCODE, SEGMENT])
def test_a_model_without_halves_runs_as_it_comes(without):
    servable = Halves(without=(without,))
    assert ask(PhotoCache(10_000), servable) == [8]
    assert servable.runs == ["segment_expressions"]


def test_none_is_kept_when_switched_off():
    cache, servable = PhotoCache(0), Halves()
    ask(cache, servable)
    assert servable.runs == ["segment_expressions"]


def test_bytes_are_bounded_and_the_longest_unused_goes_first():
    one = 256 * 4 + 16  # a feature and the size
    cache, servable = PhotoCache(2 * one), Halves()
    for photo in (b"a", b"bb"):
        ask(cache, servable, photo=photo)
    ask(cache, servable, photo=b"a")
    ask(cache, servable, photo=b"ccc")  # drops bb
    assert cache.bytes == 2 * one
    before = servable.runs.count(ENCODE)
    ask(cache, servable, photo=b"a")
    assert servable.runs.count(ENCODE) == before
    ask(cache, servable, photo=b"bb")
    assert servable.runs.count(ENCODE) == before + 1
    assert cache.bytes == 2 * one


def test_an_encoding_larger_than_all_room_is_not_kept():
    cache, servable = PhotoCache(100), Halves()
    ask(cache, servable)
    assert cache.bytes == 0


def test_an_encoding_is_forgotten_after_its_time():
    now = [0.0]
    cache, servable = PhotoCache(10_000, seconds=60, clock=lambda: now[0]), Halves()
    ask(cache, servable)
    now[0] = 59
    ask(cache, servable)
    now[0] = 118
    ask(cache, servable)
    assert servable.runs.count(ENCODE) == 1
    now[0] = 179
    ask(cache, servable)
    assert servable.runs.count(ENCODE) == 2


def test_a_servable_that_is_gone_leaves_nothing():
    cache, servable = PhotoCache(10_000), Halves()
    ask(cache, servable)
    assert cache.bytes > 0
    del servable
    assert cache.bytes == 0


def test_the_second_half_has_the_time_that_the_first_left():
    now = [0.0]
    servable = Halves()
    cache = PhotoCache(10_000, clock=lambda: now[0])
    run = servable.run

    def slow(signature_name, *arguments, **rest):
        result = run(signature_name, *arguments, **rest)
        now[0] += 0.7
        return result

    servable.run = slow
    ask(cache, servable, timeout=1.0)
    assert servable.timeouts[0] == 1.0
    assert servable.timeouts[1] == pytest.approx(0.3)
