"""A refiner, from another model's features to metrics with and without it; small and mostly untraced."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.commands import cli
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.data.features.files import write_sentence
from lts_keras.data.features.folder import FeatureFolder
from lts_keras.data.input.feature_dataset import check_sentences, feature_dataset, feature_validation_dataset
from lts_keras.data.prepare import records
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from lts_keras.data.text import read_vocabulary
from lts_keras.evaluation.networks import ModelNetwork
from lts_keras.evaluation.refiner_networks import CoarseNetwork
from lts_keras.evaluation.report import write_report as report
from lts_keras.evaluation.rows import rows_and_facts
from lts_keras.export.features import write_features
from lts_keras.export.run import export
from lts_keras.models.refiner import Refiner
from lts_keras.prediction.fused import fused_and_prior
from lts_keras.training.parts import Parts
from lts_keras.training.refiner_parts import compile_refiner, refiner_datasets
from lts_keras.training.train import train
from tests.small_models import small_model

DATA = {"sources": [{"kind": "scenes", "num_photos": {"train": 5, "val": 3}, "photo_size": [64, 64]}]}
SIZE = 64


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A work directory with drawn scenes of 64 x 64 pixels."""
    workdir = tmp_path_factory.mktemp("prepared")
    prepare(parse_config({"data": DATA}), workdir)
    return workdir


def sentences(workdir, split):
    """Yields `(ref_id, expression, mask, photo_id)` of the scenes, read from the records."""
    for path in records.find_shards(workdir / "data", [split]):
        for serialized in records.read_records(path):
            record = records.parse_record(serialized)
            for number, ref_id in enumerate(record["ref_id"].numpy()):
                mask = decode_mask(record["mask_png"][number].numpy())
                for text in record["expressions"][number].numpy():
                    yield ref_id.decode(), text.decode(), mask, record["photo_id"].numpy().decode()


@pytest.fixture(scope="module")
def drawn(prepared, tmp_path_factory):
    """A folder whose coarse masks are noise around the truth, on 32 x 32 cells: masks at the photos' own size."""
    folder, random = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    lines = []
    for split in ("train", "val"):
        for ref_id, text, mask, _ in sentences(prepared, split):
            file = f"{len(lines)}.npz"
            prior = mask.reshape(32, 2, 32, 2).mean((1, 3)) * 4 - 2 + random.normal(0, 1.5, (32, 32))
            write_sentence(folder / file, random.normal(size=(32, 32, 2)), prior[..., None])
            lines.append(json.dumps({"file": file, "dataset": "scenes", "ref_id": ref_id, "expression": text}))
    header = {"format": 1, "channels": 2, "grid": 32, "image_size": SIZE, "prior": "logits", "threshold": 0.4}
    (folder / "features.json").write_text(json.dumps(header))
    (folder / "index.jsonl").write_text("\n".join(dict.fromkeys(lines)))
    return folder


def given(prepared, folder):
    """A configuration as plain values, which are YAML too as JSON."""
    return {
        "data": {"prepared": str(prepared / "data"), "features": str(folder)},
        "model": {"refiner_channels": 2, "aspp_dim": 2, "aspp_rates": [1]},
        "train": {"epochs": 2, "batch_size": 16, "validation_split": None},
        "evaluate": {"bootstrap_samples": 5},
    }


def config(prepared, folder, *overrides):
    return parse_config(given(prepared, folder), overrides)


def compile_eager(model, config, steps):
    compile_refiner(model, config, steps)
    model.run_eagerly = True


def run(config, workdir, lines=None):
    parts = Parts(compile_model=compile_eager, make_datasets=refiner_datasets)
    return train(config, workdir, ([] if lines is None else lines).append, parts)


def copy(folder, path):
    shutil.copytree(folder, path)
    return path


def test_samples_are_features_and_the_mask_of_their_sentence(prepared, drawn):
    features = FeatureFolder(drawn)
    rows = list(sentences(prepared, "val"))
    batch = feature_validation_dataset(prepared / "data", features, batch_size=len(rows) + 3)
    ((x, y, weight),) = list(batch)
    assert x["features"].shape == (len(rows) + 3, 32, 32, 2) and y["mask"].shape == (len(rows) + 3, 64, 64, 1)
    for number, (ref_id, text, mask, _) in enumerate(rows):
        stored, prior = features.read("scenes", ref_id, text)
        np.testing.assert_array_equal(x["features"][number], stored)
        np.testing.assert_array_equal(x["prior"][number], prior)
        # A cell of the refiner's grid is a pixel of these photos.
        np.testing.assert_array_equal(y["mask"][number][..., 0], mask)
    assert weight["mask"].numpy().tolist() == [1] * len(rows) + [0] * 3


def test_an_epoch_has_each_object_once_and_further_ones_fill_it(prepared, drawn):
    refs = {(ref, photo) for ref, _, _, photo in sentences(prepared, "train")}
    dataset = feature_dataset(
        prepared / "data", FeatureFolder(drawn), batch_size=4, ids=True, repeat=True, epochs=1, deterministic=True
    )
    batches = list(dataset)
    seen = [one for x, _, _ in batches for one in x["ref_id"].numpy().tolist()]
    assert len(batches) == -(-len(refs) // 4) and len(seen) == 4 * len(batches)
    assert len(set(seen[: len(refs)])) == len({ref for ref, _ in refs})
    again = [one for x, _, _ in dataset for one in x["ref_id"].numpy().tolist()]
    assert again == seen


def test_killed_and_begun_again_it_ends_in_the_same_weights_and_its_preset_is_judged(prepared, drawn, tmp_path, capsys):
    whole = run(config(prepared, drawn), tmp_path / "whole")
    run(config(prepared, drawn, "train.epochs=1"), tmp_path / "cut")
    resumed = run(config(prepared, drawn), tmp_path / "cut")
    for one, other in zip(Refiner.from_preset(whole).weights, Refiner.from_preset(resumed).weights, strict=True):
        np.testing.assert_array_equal(one, other)
    history = json.loads((tmp_path / "whole/train/history.json").read_text())
    assert {"loss", "mask_mean_iou"} <= history.keys() and len(history["loss"]) == 2
    judged_as_counted(prepared, drawn, tmp_path / "whole", capsys)
    with pytest.raises(ConfigError, match=r"model.refiner_channels: a refiner answers from another model's features"):
        export(config(prepared, drawn), tmp_path / "whole", lambda line: None)


def judged_as_counted(prepared, drawn, workdir, capsys):
    """With and without the segmentation module: what `lts evaluate` writes equals counts made by numpy alone."""
    path = workdir / "given.yaml"
    path.write_text(json.dumps(given(prepared, drawn)))
    assert cli.main(["evaluate", "--config", str(path), "--workdir", str(workdir)]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((workdir / "evaluate/metrics.json").read_text())
    coarse = json.loads((workdir / "evaluate/coarse/metrics.json").read_text())
    features, model = FeatureFolder(drawn), Refiner.from_preset(workdir / "train/preset")
    assert metrics["features_digest"] == coarse["features_digest"] == features.digest
    assert (metrics["threshold"], coarse["threshold"]) == (0.25, 0.4)
    assert metrics["coarse"] == {"threshold": 0.4, "slices": coarse["slices"]}
    page = report(config(prepared, drawn), workdir).read_text(encoding="utf-8")
    assert "the coarse masks alone" in page and ">refiner<" in page.replace(" ", "").replace("\n", "")
    counted = {"with": [], "without": []}
    for ref_id, text, mask, _ in sentences(prepared, "val"):
        stored, prior = features.read("scenes", ref_id, text)
        refined = model({"features": stored[None], "prior": prior[None]}, training=False)["mask"].numpy()[0, ..., 0]
        answers = {"with": refined > np.log(0.25 / 0.75), "without": doubled(prior[..., 0]) > np.log(0.4 / 0.6)}
        for name, answer in answers.items():
            counted[name].append(((answer & mask).sum(), (answer | mask).sum()))
    for name, found in (("with", metrics), ("without", coarse)):
        both, either = np.array(counted[name]).T
        values = {key: one["value"] for key, one in found["slices"]["scenes/val"].items() if isinstance(one, dict)}
        assert values["mean_iou"] == pytest.approx((both / either).mean(), abs=1e-3)
        assert values["overall_iou"] == pytest.approx(both.sum() / either.sum(), abs=1e-3)
        assert values["precision_at_50"] == pytest.approx((both / either > 0.5).mean())
        rows = json.loads(
            (workdir / "evaluate" / {"with": "", "without": "coarse"}[name] / "predictions.json").read_text()
        )
        assert len(rows) == len(both)
        counted[name] = values["mean_iou"]
    assert f"mean_iou {counted['with'] - counted['without']:+.3f}  " in printed.split("difference:")[1]


def doubled(prior):
    """Bilinear to twice the size, centres half a cell apart, edges repeated."""
    for _ in range(2):
        padded = np.pad(prior, ((1, 1), (0, 0)), "edge")
        near = np.stack([padded[:-2], padded[2:]], 1)
        prior = (0.25 * near + 0.75 * prior[:, None]).reshape(-1, prior.shape[1]).T
    return prior


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.features=null"], "model.refiner_channels: a refiner needs data.features"),
        (["train.sampling=per_image"], "train.sampling: a refiner takes sentences one by one"),
        (["train.augment.flip=0.5"], "train.augment.flip cannot go with model.refiner_channels"),
        (["model.refiner_channels=null"], "data.features needs model.refiner_channels"),
        (["model.refiner_channels=3"], "model.refiner_channels must be 2. Received: 3"),
        (["train.split=val"], "no line for the sentence"),
        (["data.features={folder}/none"], "no such folder"),
    ],
)
def test_what_cannot_be_trained_is_one_line(overrides, line, prepared, drawn, tmp_path):
    folder = tmp_path / "features"
    shutil.copytree(drawn, folder)
    if "train.split=val" in overrides:
        kept = (drawn / "index.jsonl").read_text().splitlines()[:-1]
        (folder / "index.jsonl").write_text("\n".join(kept))
    with pytest.raises((ConfigError, DataError), match=line):
        run(config(prepared, folder, *(one.format(folder=folder) for one in overrides)), tmp_path / "run")


def test_a_line_of_no_sentence_of_the_data_is_named(prepared, drawn, tmp_path):
    folder = copy(drawn, tmp_path / "features")
    lines = (folder / "index.jsonl").read_text().splitlines()
    stranger = json.dumps(json.loads(lines[0]) | {"ref_id": "nobody"})
    (folder / "index.jsonl").write_text("\n".join([*lines[:2], stranger, *lines[2:]]))
    with pytest.raises(DataError, match=r"index.jsonl: line 3: no sentence .* of ref nobody of scenes"):
        check_sentences(prepared / "data", FeatureFolder(folder), ["train"])


def test_a_wrong_value_met_in_training_is_one_line_and_other_features_begin_anew(prepared, drawn, tmp_path):
    run(config(prepared, drawn, "train.epochs=1"), tmp_path / "run")
    folder, lines = copy(drawn, tmp_path / "features"), []
    for path in folder.glob("*.npz"):
        write_sentence(path, np.full((32, 32, 2), np.nan), np.zeros((32, 32, 1)))
    with pytest.raises(DataError, match="features must be finite. Found: nan") as error:
        run(config(prepared, folder, "train.epochs=1"), tmp_path / "run", lines)
    assert str(error.value).startswith(str(folder)) and "\n" not in str(error.value)
    assert any("which differs in features: starting anew" in line for line in lines)


@pytest.fixture(scope="module")
def weak(prepared):
    """A model that locates and does not segment."""
    words = read_vocabulary(prepared / "data/vocabulary.txt")
    return small_model(vocabulary=words, segmentation=False, fusion_dim=4, max_tokens=12)


@pytest.fixture(scope="module")
def written(prepared, weak, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "features"
    return write_features(weak, prepared / "data", ["train", "val"], folder, "weak", lambda line: None)


def test_the_coarse_masks_of_a_model_without_segmentation_are_its_own(prepared, weak, written):
    coarse = CoarseNetwork(written, weak.vocabulary)
    rows = [list(rows_and_facts(one, prepared / "data", ["val"])) for one in (ModelNetwork(weak), coarse)]
    assert len(rows[0]) == len(list(sentences(prepared, "val")))
    for (own, _), (read, _) in zip(*rows, strict=True):
        assert own["intersection"] == read["intersection"] and own["union"] == read["union"]
        assert {"point", "segmentation", "found"} <= own.keys()
        assert all(own[key] == read[key] for key in ("expression", "point", "segmentation", "found", "unknown_words"))
    assert any(own["intersection"] for own, _ in rows[0])


def test_features_are_those_of_the_literal_equations(weak):
    random = np.random.default_rng(0)
    image, ids = tf.constant(random.random((2, 64, 64, 3), "float32")), tf.constant([[2, 3, 0], [4, 0, 0], [5, 6, 7]])
    index = tf.constant([0, 1, 1])
    fused, prior = fused_and_prior(weak, image, ids, index)
    sentence, _ = weak.encode_sentence(ids)
    literal = weak.fusion({name: tf.gather(value, index) for name, value in weak.backbone(image).items()}, sentence)
    np.testing.assert_allclose(fused, literal, atol=1e-4)
    np.testing.assert_allclose(prior, weak.locator(literal, sentence), atol=1e-4)


def test_writing_goes_on_where_it_was_cut_off_and_keeps_to_one_model(prepared, weak, written, tmp_path):
    folder, lines = copy(written.folder, tmp_path / "features"), []
    (folder / "index.jsonl").unlink()
    gone = sorted(folder.glob("*/*.npz"))[:3]
    for path in gone:
        path.unlink()
    again = write_features(weak, prepared / "data", ["train", "val"], folder, "weak", lines.append)
    assert again.digest == written.digest and ", 3 of them new, " in lines[-1]
    with pytest.raises(DataError, match="features of another model, data or threshold: weak"):
        write_features(weak, prepared / "data", ["val"], folder, "another", lines.append)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").write_bytes(b"1")
    with pytest.raises(DataError, match="neither empty nor a folder of features"):
        write_features(weak, prepared / "data", ["val"], tmp_path / "photos", "weak", lines.append)


def test_the_command_writes_the_splits_that_are_named(prepared, weak, tmp_path, capsys):
    weak.save_to_preset(tmp_path / "preset")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/data").symlink_to(prepared / "data")
    (tmp_path / "weak.yaml").write_text(json.dumps({"name": "weak", "data": DATA}))
    words = ["write-features", "--config", f"{tmp_path}/weak.yaml", "--workdir", f"{tmp_path}/run"]
    words += ["--preset", f"{tmp_path}/preset", "--output", f"{tmp_path}/features"]
    assert cli.main([*words, "--split", "nope"]) == 2
    assert "--split: " in capsys.readouterr().err
    assert cli.main([*words, "--split", "val"]) == 0
    features = FeatureFolder(tmp_path / "features")
    keys = {("scenes", ref_id, text) for ref_id, text, *_ in sentences(prepared, "val")}
    assert set(features.files) == keys
    assert (features.header.channels, features.header.grid, features.header.threshold) == (8, 8, 0.5)
