import numpy as np
import pytest

from lts_keras.evaluation.facts import Facts
from lts_keras.evaluation.scores import Scores
from lts_keras.evaluation.trivial import TrivialAnswers, place_of_words
from tests.lts_keras.evaluation.rows import facts, row

BOX_ALONE = Facts((0.9, 0.8), 4, None, None, None, True, True)


def test_values_by_hand_at_the_original_size():
    scores = Scores()
    first, one = row([[1, 1, 0, 0]], [[1, 1, 1, 0]], point=(1, 0)), [[1, 1, 1, 0]]
    second, other = row([[1, 1, 1, 0]], [[1, 0, 0, 0]], image_id="b", ref_id="2", point=(3, 0)), [[1, 0, 0, 0]]
    scores.add(first, facts(one))
    scores.add(second, facts(other))
    found = scores.result(bootstrap_samples=50)["slices"]["d/val"]
    assert found["mean_iou"]["value"] == pytest.approx(0.5)
    assert found["overall_iou"]["value"] == pytest.approx(3 / 6)
    assert found["precision_at_60"]["value"] == 0.5
    assert found["localization_accuracy"]["value"] == 0.5
    # Two photos say next to nothing: 12.7 standard errors of 1 / 6.
    assert (found["mean_iou"]["low"], found["mean_iou"]["high"]) == (0, 1)
    assert (found["num_expressions"], found["num_refs"], found["num_photos"]) == (2, 2, 2)


def test_bootstrap_draws_photos_not_expressions():
    rng = np.random.default_rng(0)
    together, apart = Scores(), Scores()
    truth = np.ones((1, 4), bool)
    for photo in range(8):
        mask = rng.random((1, 4)) > 0.5
        for copy in range(10):
            together.add(row(mask, truth, image_id=str(photo)), facts(truth))
            apart.add(row(mask, truth, image_id=f"{photo}-{copy}"), facts(truth))
    widths = []
    for scores in (together, apart):
        interval = scores.result(400)["slices"]["d/val"]["mean_iou"]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] > 2 * widths[1]


def test_an_object_with_a_box_alone_counts_for_localization():
    scores = Scores()
    scores.add(row([[1, 1, 0, 0]], None, box=(2, 0, 4, 1), point=(2, 0)), BOX_ALONE)
    found = scores.result(10)["slices"]["d/val"]
    assert found["localization_accuracy"]["value"] == 1.0
    assert found["mean_iou"]["value"] is None


def test_empty_truth_and_empty_answer_score_one_and_point_at_nothing():
    scores = Scores()
    scores.add(row([[0, 0]], [[0, 0]]), facts([[0, 0]], None, None))
    found = scores.result(0)["slices"]["d/val"]
    assert found["mean_iou"]["value"] == 1.0 and found["localization_accuracy"]["value"] is None


def test_trivial_answers_by_hand():
    truth = np.zeros((20, 20), bool)
    truth[4:16, 4:16] = True  # the centred box of side 0.6
    trivial = TrivialAnswers()
    trivial.add(facts(truth, center_hit=True, rule_hit=False))
    trivial.add(facts(np.zeros((20, 20), bool), None, None))
    found = trivial.result()
    assert found["whole_image"]["mean_iou"] == pytest.approx(0.36 / 2)
    assert found["centered_box"]["mean_iou"] == 0.5 and found["centered_box"]["side"] == 0.6
    assert found["centered_box"]["localization_accuracy"] == 1.0
    assert found["left_right_rule"]["localization_accuracy"] == 0.0


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
    scores.add(row([[1, 0]], [[1, 0]]), facts([[1, 0]]))
    scores.add(row([[1, 0]], [[0, 1]], dataset="e"), facts([[0, 1]]))
    result = scores.result(0)
    both = result["slices"]["both"]
    assert both["mean_iou"]["value"] == 0.5
    assert (both["num_expressions"], both["num_refs"], both["num_photos"]) == (2, 2, 1)
    assert result["trivial"]["both"]["whole_image"]["mean_iou"] == 0.5
