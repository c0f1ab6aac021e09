import dataclasses

import numpy as np
import pytest

from lts_keras.data.checks.strangest import find_strangest, render_strangest
from lts_keras.data.schema import DataError
from tests.lts_keras.data.photos import make_photo, write_photos

HEIGHT, WIDTH = 40, 50


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def write(folder, *objects):
    """One photo for each list of (mask, box, sentences)."""
    photos = []
    for number, items in enumerate(objects):
        photo = make_photo(number, (HEIGHT, WIDTH))
        pattern = photo.objects[0]
        made = [
            dataclasses.replace(pattern, ref_id=f"{number}-{place}", mask=mask, box=box, expressions=tuple(texts))
            for place, (mask, box, texts) in enumerate(items)
        ]
        photos.append(dataclasses.replace(photo, objects=tuple(made)))
    folder.mkdir(exist_ok=True)
    write_photos(folder, photos, num_shards=min(2, len(photos)))
    return folder


def ids(found):
    return [one.ref_id for one in found]


def test_the_ends_are_found_in_order_and_no_more_than_asked_for(tmp_path):
    sizes = [(5, 5), (30, 30), (1, 1), (50, 40), (10, 10)]
    objects = [[(rectangle(0, 0, *size), (0, 0, *size), [f"thing {number}"])] for number, size in enumerate(sizes)]
    found = find_strangest(write(tmp_path / "data", *objects), num=2)
    assert (found.num_objects, found.num_masks) == (5, 5)
    assert ids(found.largest) == ["3-0", "1-0"] and ids(found.smallest) == ["2-0", "0-0"]
    assert [one.value for one in found.largest] == [1.0, 900 / 2000]
    assert found.smallest[0].value == pytest.approx(1 / 2000)
    assert found.farthest == []
    assert (found.largest[0].photo_id, found.largest[0].slice) == ("made:003", "made/train")


def test_masks_far_from_their_boxes_are_measured_in_pixels(tmp_path):
    mask = rectangle(10, 10, 20, 20)
    objects = [(mask, (10, 10, 21, 20), ["near"]), (rectangle(10, 10, 20, 21), (10, 10, 20, 35), ["far"])]
    farther = rectangle(10, 10, 20, 22), (30.0, 10.0, 40.0, 22.0), ["farther"]
    found = find_strangest(write(tmp_path / "data", [*objects, farther]))
    assert [(one.ref_id, one.value) for one in found.farthest] == [("0-2", 20), ("0-1", 14)]
    assert found.farthest[0].box == (30, 10, 40, 22)


def test_a_mask_that_refs_share_counts_once_and_boxes_alone_and_no_target_do_not(tmp_path):
    mask = rectangle(10, 10, 20, 20)
    objects = [(mask, (10, 10, 20, 20), ["one"]), (mask, (10, 10, 20, 20), ["two"])]
    objects += [(None, (1, 1, 9, 9), ["three"]), (rectangle(0, 0, 0, 0), None, ["four"])]
    found = find_strangest(write(tmp_path / "data", objects))
    assert (found.num_objects, found.num_masks, found.num_sentences) == (4, 1, 4)
    assert ids(found.largest) == ids(found.smallest) == ["0-0"]


def test_sentences_are_counted_once_an_object_as_the_model_reads_them(tmp_path):
    mask, box = rectangle(10, 10, 20, 20), (10, 10, 20, 20)
    texts = (["the cup", "The cup!"], ["THE CUP", "a mug"], ["a mug", "alone"], ["the cup"])
    found = find_strangest(write(tmp_path / "data", *([(mask, box, one)] for one in texts)))
    # The first object has one sentence in two ways of writing.
    assert found.repeated == [("the cup", 3), ("a mug", 2)]
    assert found.words["cup"] == 4 and found.words["alone"] == 1
    assert found.unknown_words({"the", "a", "cup"}) == [("mug", 2, "a mug"), ("alone", 1, "alone")]
    assert found.unknown_words(found.words) == []


def test_the_page_shows_every_kind_and_needs_nothing_beside_it(tmp_path):
    mask = rectangle(10, 10, 20, 20)
    objects = [(mask, (30, 10, 40, 20), ["<script>x</script>"])], [(rectangle(0, 0, 50, 40), (0, 0, 50, 40), ["big"])]
    found = find_strangest(write(tmp_path / "data", *objects))
    page = render_strangest(found, "mine", unknown=[("x", 1, "<i>x</i>")])
    assert page.count("data:image/jpeg;base64,") == 1 + 2 + 2
    assert "<script>" not in page and "<i>" not in page and "20 pixels apart" in page
    assert "Not looked for" in render_strangest(found, "mine") and 'src="http' not in page
    assert "Every word has one." in render_strangest(found, "mine", unknown=[])


def test_no_data_and_damaged_data_are_one_line(tmp_path):
    with pytest.raises(DataError, match="run `lts prepare` first"):
        find_strangest(tmp_path)
    folder = write(tmp_path / "data", [(rectangle(1, 1, 9, 9), (1, 1, 9, 9), ["one"])])
    shard = next(folder.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match="tfrecord: the shard is cut or damaged") as caught:
        find_strangest(folder)
    assert "\n" not in str(caught.value)
