"""Threshold and presence chosen on one split: by hand, by brute force, and the same in every way to an answer."""

import json
import math
import re
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.data.input.geometry import restore_probabilities
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from lts_keras.evaluation.calibration import choose_presence_threshold, choose_threshold, fit_presence
from lts_keras.evaluation.evaluate import evaluate
from lts_keras.evaluation.reliability import reliability
from lts_keras.export import export
from lts_keras.models.trained import trained_model
from lts_keras.prediction.presence import Presence
from tests.small_models import photo_bytes, small_model

ASKED, MISSING = "right", "the red dog"
"""What the model of `sure_model` is surest of and least sure of, on any photo of noise."""


# The numbers


def test_without_any_sign_presence_is_the_share_of_expressions_with_a_target():
    found = fit_presence([0.5] * 8, [0.5] * 8, [True] * 6 + [False] * 2)
    assert found == Presence(pytest.approx(math.log(3), abs=1e-5), pytest.approx(0), pytest.approx(0))
    assert found.threshold is None


@pytest.mark.parametrize("sign", ["mask", "prior"])
def test_two_kinds_of_answers_get_the_share_of_each(sign):
    """With two values of one sign, logistic regression without penalty gives each value its own share exactly."""
    values, has_target = [0.9] * 10 + [0.2] * 10, [True] * 8 + [False] * 2 + [True] * 3 + [False] * 7
    other = [0.5] * 20
    found = fit_presence(*((values, other) if sign == "mask" else (other, values)), has_target)
    weight = (math.log(8 / 2) - math.log(3 / 7)) / (math.log(9) - math.log(1 / 4))
    assert getattr(found, f"{sign}_weight") == pytest.approx(weight, rel=0.02)
    assert found.bias == pytest.approx(math.log(4) - weight * math.log(9), abs=0.03)
    sure = [float(found(*(tf.constant(one) for one in pair))) for pair in zip(values, other, strict=True)]
    if sign == "mask":
        assert sure[0] == pytest.approx(0.8, abs=0.01) and sure[-1] == pytest.approx(0.3, abs=0.01)


def penalized_loss(weights, mask, prior, has_target):
    total = 0.0
    for one, other, there in zip(mask, prior, has_target, strict=True):
        z = weights[0] + weights[1] * math.log(one / (1 - one)) + weights[2] * math.log(other / (1 - other))
        total += math.log1p(math.exp(-z if there else z))
    return total / len(mask) + 0.0005 * (weights[1] ** 2 + weights[2] ** 2)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30))
def test_no_weights_nearby_fit_better(seed, count):
    random = np.random.default_rng(seed)
    mask, prior = random.uniform(0.02, 0.98, (2, count))
    has_target = np.arange(count) % 2 == 0
    found = fit_presence(mask, prior, has_target)
    weights = np.array([found.bias, found.mask_weight, found.prior_weight])
    best = penalized_loss(weights, mask, prior, has_target)
    for step in np.concatenate([np.eye(3), -np.eye(3), random.normal(size=(10, 3))]) * 0.05:
        assert penalized_loss(weights + step, mask, prior, has_target) > best


def test_answers_that_can_be_told_apart_whole_give_finite_weights():
    found = fit_presence([0.9, 0.8, 1.0, 0.1, 0.2, 0.0], [0.5] * 6, [True] * 3 + [False] * 3)
    assert 0.1 < found.mask_weight < 100 and math.isfinite(found.bias)
    sure = found(np.array([0.9, 0.2]), np.array([0.5, 0.5]))
    assert sure[0] > 0.9 and sure[1] < 0.1


@pytest.mark.parametrize(("there", "named"), [(True, "3, all with one"), (False, "3, all without one")])
def test_nothing_can_be_fitted_to_one_kind_alone(there, named):
    with pytest.raises(DataError, match=f"with and without a target. Found: {named}"):
        fit_presence([0.1, 0.5, 0.9], [0.5] * 3, [there] * 3)


def test_the_presence_threshold_lies_half_way_between_the_two_kinds():
    assert choose_presence_threshold([0.9, 0.6, 0.2, 0.4], [True, True, False, False]) == pytest.approx(0.5)
    # Each kind counts half, however many there are: 0.7 empties both without a target and one of four with one.
    found = choose_presence_threshold([0.9, 0.8, 0.8, 0.3, 0.6, 0.2], [True] * 4 + [False] * 2)
    assert found == pytest.approx(0.7)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_has_a_better_balanced_accuracy(pairs):
    presence = np.array([value / 20 for value, _ in pairs])
    has_target = np.array([there for _, there in pairs])
    if has_target.all() or not has_target.any():
        return

    def balanced(threshold):
        kept = sum(p >= threshold for p, there in zip(presence, has_target, strict=True) if there) / has_target.sum()
        empty = sum(p < threshold for p, there in zip(presence, has_target, strict=True) if not there)
        return (kept + empty / (~has_target).sum()) / 2

    found = choose_presence_threshold(presence, has_target)
    assert 0 <= found <= 1
    assert balanced(found) == pytest.approx(max(balanced(number / 200) for number in range(0, 203)))


@pytest.mark.parametrize(
    ("mean_iou", "best"), [([0.1, 0.3, 0.2, 0.1], 0.2), ([0.3, 0.1, 0.3, 0.3], 0.3), ([0.2, 0.2, 0.1, 0.2], 0.2)]
)
def test_the_best_threshold_and_of_equals_the_nearest_to_the_papers(mean_iou, best):
    assert choose_threshold({"thresholds": [0.1, 0.2, 0.3, 0.4], "mean_iou": mean_iou}) == best


def test_reliability_counts():
    table = reliability([0.0, 0.05, 0.1, 0.95, 1.0], [False, True, True, True, False], bins=10)
    assert [one["count"] for one in table] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert table[0]["presence"] == pytest.approx(0.025) and table[0]["right"] == 0.5
    assert table[1]["right"] == 1.0 and table[9]["presence"] == pytest.approx(0.975)
    assert table[5] == {"low": 0.5, "high": 0.6, "count": 0, "presence": None, "right": None}


# A world in which some expressions have no target


def sure_model():
    """An untrained model whose largest mask probability hangs on the words more than on the photo."""
    model = small_model(threshold=0.3)
    for weight in model.weights:
        if weight.path.endswith("embeddings"):
            weight.assign(40 * weight)
        if weight.path.endswith("segmentation_head/score/kernel"):
            weight.assign(20 * weight)
        if weight.path.endswith("segmentation_head/score/bias"):
            weight.assign(20 * weight - 5)
    return model


def draw_world(folder, splits):
    """Photos with one square each that `ASKED` refers to, and `MISSING`, which refers to nothing."""
    random, lines = np.random.default_rng(0), []
    for number, split in enumerate(split for split, count in splits.items() for _ in range(count)):
        width, height = 40 + 8 * (number % 3), 40
        x, y = int(random.integers(0, width - 20)), int(random.integers(0, height - 20))
        picture = Image.fromarray(random.integers(90, 160, (height, width, 3), dtype=np.uint8))
        ImageDraw.Draw(picture).rectangle([x, y, x + 15, y + 15], fill="#d01010")
        picture.save(folder / f"{number}.png")
        square = [x, y, x + 16, y, x + 16, y + 16, x, y + 16]
        objects = [
            {"expressions": [ASKED], "category": "square", "polygons": [square]},
            {"expressions": [MISSING], "no_target": True},
        ]
        lines.append({"image": f"{number}.png", "split": split, "objects": objects})
    (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A judged work directory with the model of `sure_model`."""
    folder = tmp_path_factory.mktemp("world")
    model = sure_model()
    draw_world(folder, {"train": 2, "val": 10, "testA": 6})
    model.save_to_preset(folder / "train" / "preset")
    values = {
        "data": {"root": str(folder), "sources": [{"kind": "manifest", "name": "own", "file": "manifest.jsonl"}]},
        "evaluate": {
            "threshold": "best",
            "presence": True,
            "calibration_split": "val",
            "splits": ["testA"],
            "bootstrap_samples": 5,
        },
        "export": {"batch_sizes": [1, 2], "onnx": False},
    }
    config = parse_config(values)
    prepare(config, folder)
    metrics = evaluate(config, folder)
    return types.SimpleNamespace(folder=folder, config=config, metrics=metrics, values=values, model=model)


@pytest.fixture(scope="module")
def chosen(world):
    return json.loads((world.folder / "evaluate" / "calibration.json").read_text())


def test_another_size_and_the_training_split_have_values_of_their_own(world, chosen, tmp_path, capsys):
    (tmp_path / "data").symlink_to(world.folder / "data")
    (tmp_path / "train").symlink_to(world.folder / "train")
    metrics = evaluate(changed(world, image_size=96, calibration_split="train"), tmp_path)
    assert "calibration_split: train: a model is surer of what it was trained on" in capsys.readouterr().out
    found = json.loads((tmp_path / "evaluate" / "at_96" / "calibration.json").read_text())
    assert not (tmp_path / "evaluate" / "calibration.json").exists()
    assert found["image_size"] == 96 and found["split"] == "train" and found["presence"] != chosen["presence"]
    assert metrics["presence"] == found["presence"] and metrics["model"]["image_size"] == 96


def rows_of(world):
    return json.loads((world.folder / "evaluate" / "predictions.json").read_text())


def test_the_calibration_holds_what_was_chosen_and_what_it_is_of(world, chosen):
    assert chosen["split"] == "val" and chosen["data_digest"] == world.metrics["data_digest"]
    assert len(chosen["preset"]) == 64
    assert world.metrics["threshold"] == chosen["threshold"] == choose_threshold(chosen["sweep"])
    assert world.metrics["presence"] == chosen["presence"]
    assert sum(one["count"] for one in chosen["reliability"]) == 20
    assert {row["split"] for row in rows_of(world)} == {"testA"}
    assert world.model.threshold == 0.3 and world.model.presence == Presence()


def test_the_threshold_is_the_best_of_the_split_when_it_is_tried_out(world, chosen):
    """An independent count: probabilities at the photo's size against the drawn squares."""
    predictor = trained_model(world.config, world.folder).predictor()
    lines = [json.loads(line) for line in (world.folder / "manifest.jsonl").read_text().splitlines()]
    ious = {threshold: [] for threshold in (chosen["threshold"], 0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.9)}
    for line in (line for line in lines if line["split"] == "val"):
        photo, texts = world.folder / line["image"], [ASKED, MISSING]
        sure = [answer.presence for answer in predictor.predict_many(photo, texts)]
        masks, _, (height, width) = predictor.segment(predictor.read_pixels(photo), tf.constant(texts))
        x0, y0, x1, _, _, y1, *_ = line["objects"][0]["polygons"][0]
        truth = np.zeros((height, width), bool)
        truth[y0:y1, x0:x1] = True
        for mask, presence, true in zip(masks, sure, (truth, np.zeros_like(truth)), strict=True):
            probabilities = restore_probabilities(mask, height, width, 64).numpy()[..., 0]
            for threshold, found in ious.items():
                answer = (probabilities > threshold) & (presence >= chosen["presence"]["threshold"])
                union = (answer | true).sum()
                found.append((answer & true).sum() / union if union else 1.0)
    ious = {threshold: np.mean(found) for threshold, found in ious.items()}
    assert max(ious.values()) == pytest.approx(ious[chosen["threshold"]], abs=1e-3)
    place = chosen["sweep"]["thresholds"].index(chosen["threshold"])
    assert chosen["sweep"]["mean_iou"][place] == pytest.approx(ious[chosen["threshold"]], abs=1e-3)


def test_nothing_is_there_in_evaluation_predictor_and_served_graph_alike(world, chosen):
    rows = {(row["image_id"], row["expression"]): row for row in rows_of(world)}
    predictor = trained_model(world.config, world.folder).predictor()
    export(world.config, world.folder, progress=lambda line: None)
    served = tf.saved_model.load(str(world.folder / "export" / "saved_model")).signatures["segment_expressions"]
    found = []
    for photo in sorted({row["image_id"] for row in rows.values()}):
        path = world.folder / photo.removeprefix("own:")
        answers = predictor.predict_many(path, [ASKED, MISSING])
        outputs = served(image_bytes=tf.constant([path.read_bytes()]), expression=tf.constant([ASKED, MISSING]))
        for number, text in enumerate((ASKED, MISSING)):
            row, answer = rows[photo, text], answers[number]
            png = tf.io.decode_png(outputs["mask_png_bytes"][number], 1).numpy()[..., 0] > 0
            np.testing.assert_array_equal(png, answer.mask)
            np.testing.assert_array_equal(coco_mask.decode(row["segmentation"]) > 0, answer.mask)
            sure = [row["presence"], answer.presence, float(outputs["presence"][number])]
            assert max(sure) - min(sure) < 1e-4
            if answer.presence < chosen["presence"]["threshold"]:
                assert not answer.mask.any() and answer.score == row["score"] == outputs["score"][number] == 0
                assert answer.box == (0, 0, 0, 0) and row["found"] == "nothing"
            found.append((text == MISSING, not answer.mask.any()))
    assert (True, True) in found and (False, False) in found
    right = np.mean([missing == empty for missing, empty in found])
    assert right > 0.9, "this model tells the two expressions apart"
    judged = world.metrics["slices"]["own/testA"]
    assert judged["n_acc"]["value"] == np.mean([empty for missing, empty in found if missing])
    assert judged["t_acc"]["value"] == np.mean([not empty for missing, empty in found if not missing])
    card = (world.folder / "export" / "model_card.md").read_text()
    assert f"| mask threshold | {chosen['threshold']} |" in card
    assert f"below {chosen['presence']['threshold']:.4g} an empty mask" in card and "should be empty" in card


def changed(world, **options):
    return parse_config(world.values | {"evaluate": world.values["evaluate"] | options})


def test_without_presence_nothing_changes_in_the_masks(world, tmp_path):
    (tmp_path / "data").symlink_to(world.folder / "data")
    (tmp_path / "train").symlink_to(world.folder / "train")
    metrics = evaluate(changed(world, threshold=None, presence=False), tmp_path)
    assert metrics["presence"] is None and metrics["calibration"] is None and metrics["threshold"] == 0.3
    assert not (tmp_path / "evaluate" / "calibration.json").exists()
    predictor = world.model.predictor()
    for row in json.loads((tmp_path / "evaluate" / "predictions.json").read_text()):
        path = world.folder / row["image_id"].removeprefix("own:")
        np.testing.assert_array_equal(
            coco_mask.decode(row["segmentation"]) > 0, predictor(path, row["expression"]).mask
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"calibration_split": "test"},
            r"evaluate\.calibration_split: test: .*no such split. Found: \['testA', 'train'",
        ),
        ({"calibration_split": "testB", "threshold": None}, "evaluate.calibration_split: testB: "),
    ],
)
def test_a_split_that_is_not_there_is_named(world, options, message):
    with pytest.raises(DataError, match=message):
        evaluate(changed(world, **options), world.folder)


@pytest.fixture
def copy(world, tmp_path):
    """A work directory as `world` left it, that may be changed."""
    (tmp_path / "data").symlink_to(world.folder / "data")
    shutil.copytree(world.folder / "train", tmp_path / "train")
    (tmp_path / "evaluate").mkdir()
    shutil.copy(world.folder / "evaluate" / "calibration.json", tmp_path / "evaluate")
    return tmp_path


def test_values_that_were_not_chosen_here_are_refused(world, copy):
    path = copy / "evaluate" / "calibration.json"
    model = trained_model(world.config, copy)
    assert model.threshold == world.metrics["threshold"] and model.presence.threshold is not None
    assert trained_model(changed(world, threshold=0.4), copy).threshold == 0.4
    with pytest.raises(ConfigError, match="chosen on val, and evaluate.calibration_split is train; run `lts evaluate`"):
        trained_model(changed(world, calibration_split="train"), copy)
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"presence": None}))
    with pytest.raises(ConfigError, match="made without evaluate.presence: true"):
        trained_model(changed(world, threshold=0.4), copy)
    assert trained_model(changed(world, presence=False), copy).presence == Presence()
    path.write_text(json.dumps(whole | {"threshold": None}))
    with pytest.raises(ConfigError, match="made without evaluate.threshold: best"):
        trained_model(world.config, copy)
    path.write_text(json.dumps(whole | {"data_digest": "0" * 64}))
    with pytest.raises(ConfigError, match="chosen on other data than what lies in .*/data"):
        trained_model(world.config, copy)
    (copy / "data").unlink()
    trained_model(world.config, copy)
    path.write_text("cut")
    with pytest.raises(ConfigError, match="calibration.json: cannot be read: .*run `lts evaluate` again"):
        trained_model(world.config, copy)
    path.unlink()
    with pytest.raises(ConfigError, match=r"json: no such file, .*threshold: best .*run `lts evaluate` first$"):
        export(world.config, copy)
    with pytest.raises(ConfigError, match="run `lts evaluate` first with evaluate.image_size: null"):
        export(changed(world, image_size=96), copy)


def test_another_training_needs_another_calibration(world, copy):
    small_model(seed=1).save_to_preset(copy / "train" / "preset")
    with pytest.raises(ConfigError, match="calibration.json: chosen for another training than the one in .*/preset"):
        trained_model(world.config, copy)


def blocks(repo, kind):
    page = (repo / "docs" / "evaluation.md").read_text(encoding="utf-8")
    section = page[page.index("## Threshold and presence") :].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)


def test_the_page_shows_a_configuration_and_python_that_work(repo, tmp_path, monkeypatch, capsys):
    (text,) = blocks(repo, "yaml")
    config = parse_config(yaml.safe_load(text))
    assert config.evaluate.threshold == "best" and config.evaluate.presence and config.bless.split == "testA"
    monkeypatch.chdir(tmp_path)
    sure_model().save_to_preset("runs/quickstart/train/preset")
    Path("runs/quickstart/demo").mkdir()
    Path("runs/quickstart/demo/photo.jpg").write_bytes(photo_bytes())
    (code,) = blocks(repo, "python")
    exec(compile(code, "docs/evaluation.md", "exec"), names := {})
    assert capsys.readouterr().out == f"{names['answer'].presence} {names['answer'].presence >= 0.6}\n"
