import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lts_keras.config.read import parse_config
from lts_keras.data.sources.scenes import ScenesSource
from pipelines.quickstart import NUM_SCENES, draw_unseen, find_typical


@pytest.mark.parametrize(
    ("values", "index", "rank", "quartiles"),
    [
        ([0.3], 0, 1, (0.3, 0.3, 0.3)),
        ([0.2, 0.8], 1, 1, (0.35, 0.5, 0.65)),
        ([0.1, 0.9, 0.5], 2, 2, (0.3, 0.5, 0.7)),
        ([0.0, 1.0, 0.25, 0.75], 3, 2, (0.1875, 0.5, 0.8125)),
    ],
)
def test_the_typical_one_is_the_median(values, index, rank, quartiles):
    found = find_typical(values)
    assert found[:2] == (index, rank)
    np.testing.assert_allclose(found[2], quartiles)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_as_many_are_better_as_are_worse(values):
    index, rank, _ = find_typical(values)
    assert sum(value > values[index] for value in values) < rank <= sum(value >= values[index] for value in values)
    assert rank == (len(values) + 1) // 2


def test_unseen_scenes_are_drawn_as_the_splits_are_and_are_none_of_theirs():
    config = parse_config(
        {"data": {"sources": [{"kind": "scenes", "photo_size": [48, 80], "num_photos": {"val": 200}}]}}
    )
    scenes = [draw_unseen(config, number) for number in range(NUM_SCENES)]
    assert [scene[:2] for scene in scenes[:3]] == [draw_unseen(config, number)[:2] for number in range(3)]
    sizes = set()
    for content, expression, truth in scenes:
        with Image.open(io.BytesIO(content)) as photo:
            sizes.add(photo.size)
            assert truth.shape == photo.size[::-1] and truth.any() and expression
    assert len(sizes) > NUM_SCENES / 2 and {side for size in sizes for side in size} <= set(range(48, 81))
    source = ScenesSource(config.data.sources[0], ".")
    seen = {source.image_bytes(entry.key) for entry in source.entries()[:200]}
    assert len({content for content, _, _ in scenes} | seen) == NUM_SCENES + len(seen)
