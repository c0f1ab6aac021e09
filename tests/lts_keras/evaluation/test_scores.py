import numpy as np
import pytest

from lts_keras.evaluation.scores import Scores
from lts_keras.evaluation.trivial import TrivialAnswers, place_of_words


def answer(mask, image_id="a", ref_id="1", point=(0, 0), expression="dog"):
    return {
        "mask": np.array(mask, bool),
        "point": list(point),
        "dataset": "d",
        "split": "val",
        "ref_id": ref_id,
        "image_id": image_id,
        "expression": expression,
    }


def test_values_by_hand_at_the_original_size():
    scores = Scores()
    first = answer([[1, 1, 0, 0]], point=(1, 0))
    scores.add(first, np.array([[1, 1, 1, 0]], bool), (0, 0, 3, 1))
    second = answer([[1, 1, 1, 0]], image_id="b", ref_id="2", point=(3, 0))
    scores.add(second, np.array([[1, 0, 0, 0]], bool), (0, 0, 1, 1))
    found = scores.result(bootstrap_samples=50)["slices"]["d/val"]
    assert first["iou"] == pytest.approx(2 / 3) and first["prior_hit"] and not second["prior_hit"]
    assert found["mean_iou"]["value"] == pytest.approx(0.5)
    assert found["overall_iou"]["value"] == pytest.approx(3 / 6)
    assert found["precision_at_60"]["value"] == 0.5
    assert found["localization_accuracy"]["value"] == 0.5
    assert found["mean_iou"]["low"] == pytest.approx(1 / 3) and found["mean_iou"]["high"] == pytest.approx(2 / 3)
    assert (found["num_expressions"], found["num_refs"], found["num_photos"]) == (2, 2, 2)


def test_bootstrap_draws_photos_not_expressions():
    rng = np.random.default_rng(0)
    together, apart = Scores(), Scores()
    truth = np.ones((1, 4), bool)
    for photo in range(8):
        mask = rng.random((1, 4)) > 0.5
        for copy in range(10):
            together.add(answer(mask, image_id=str(photo)), truth, (0, 0, 4, 1))
            apart.add(answer(mask, image_id=f"{photo}-{copy}"), truth, (0, 0, 4, 1))
    widths = []
    for scores in (together, apart):
        interval = scores.result(400)["slices"]["d/val"]["mean_iou"]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] > 2 * widths[1]


def test_an_object_with_a_box_alone_counts_for_localization():
    scores = Scores()
    scores.add(answer([[1, 1, 0, 0]], point=(2, 0)), None, (2, 0, 4, 1))
    found = scores.result(10)["slices"]["d/val"]
    assert found["localization_accuracy"]["value"] == 1.0
    assert found["mean_iou"]["value"] is None


def test_empty_truth_and_empty_answer_score_one():
    scores = Scores()
    scores.add(answer([[0, 0]]), np.zeros((1, 2), bool), (0, 0, 0, 0))
    assert scores.result(0)["slices"]["d/val"]["mean_iou"]["value"] == 1.0


def test_trivial_answers_by_hand():
    truth = np.zeros((20, 20), bool)
    truth[4:16, 4:16] = True  # the centred box of side 0.6
    trivial = TrivialAnswers()
    trivial.add("the dog on the left", truth, (4, 4, 16, 16), truth.shape)
    found = trivial.result()
    assert found["whole_image"]["mean_iou"] == pytest.approx(0.36)
    assert found["centered_box"]["mean_iou"] == 1.0 and found["centered_box"]["side"] == 0.6
    assert found["centered_box"]["localization_accuracy"] == 1.0
    assert found["left_right_rule"]["localization_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("Left dog", (0.25, 0.5)),
        ("dog, right", (0.75, 0.5)),
        ("top-left cup", (0.25, 0.25)),
        ("bottom right", (0.75, 0.75)),
        ("dog", (0.5, 0.5)),
    ],
)
def test_the_rule_reads_words_of_place(expression, place):
    assert place_of_words(expression) == place


def test_a_group_takes_data_sets_together():
    scores = Scores({"both": ("d", "e")})
    scores.add(answer([[1, 0]]), np.array([[1, 0]], bool), (0, 0, 1, 1))
    scores.add(answer([[1, 0]]) | {"dataset": "e"}, np.array([[0, 1]], bool), (1, 0, 2, 1))
    result = scores.result(0)
    both = result["slices"]["both"]
    assert both["mean_iou"]["value"] == 0.5
    assert (both["num_expressions"], both["num_refs"], both["num_photos"]) == (2, 2, 1)
    assert result["trivial"]["both"]["whole_image"]["mean_iou"] == 0.5
