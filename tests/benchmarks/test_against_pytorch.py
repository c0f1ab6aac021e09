import subprocess
import sys

import numpy as np
import pytest

from benchmarks.peer_numbers import (
    INFERENCE,
    TRAINING,
    infer,
    load_arrays,
    named_variables,
    peer_name,
    relative_difference,
    train_step,
)
from lts_keras.layers.darknet import darknet53
from lts_keras.models.variants import make_lts


@pytest.fixture(scope="module")
def model():
    return make_lts(
        vocabulary_size=20,
        backbone=darknet53(width=2),
        trainable_backbone="all",
        embedding_dim=4,
        gru_units=3,
        joint_dim=8,
        fusion_dim=4,
        aspp_dim=4,
        locator="filter",
        num_filters=2,
    )


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    target = np.zeros((2, 64, 64, 1), "float32")
    target[:, 10:40, 20:60] = 1
    return {
        "image": random.random((2, 64, 64, 3), dtype="float32"),
        "token_ids": np.array([[2, 3, 4], [5, 0, 0]], "int32"),
        "target": target,
    }


def run_benchmark(repo, *arguments):
    script = repo / "benchmarks" / "against_pytorch.py"
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("stem/conv/kernel", "backbone.stem.conv.kernel"),
        ("stages_3_down/norm/gamma", "backbone.stages.3.down.norm.gamma"),
        ("stages_2_residuals_7_expand/norm/moving_mean", "backbone.stages.2.residuals.7.expand.norm.moving_mean"),
        ("extra_5/conv/kernel", "backbone.extra.5.conv.kernel"),
        ("lts/sentence_encoder/embedding/embeddings", "sentence_encoder.embedding.embeddings"),
        ("lts/sentence_encoder/backward_gru/gru_cell/bias", "sentence_encoder.gru.backward.bias"),
        ("lts/fusion/sentence_projection/dense/kernel", "fusion.sentence_projection.dense.kernel"),
        ("lts/locator/projections_1/bias", "locator.projections.1.bias"),
        ("lts/locator/self_attention/query/kernel", "locator.self_attention.query.kernel"),
        ("lts/segmentation_head/dilated_2/conv/kernel", "segmentation_head.dilated.2.conv.kernel"),
        ("lts/segmentation_head/upsample_norm/beta", "segmentation_head.upsample_norm.beta"),
        ("seed_generator/seed_generator_state", None),
    ],
)
def test_names_of_the_pytorch_program(path, name):
    assert peer_name(path) == name


def test_every_weight_has_a_name_of_its_own(model):
    assert len(named_variables(model)) == len(model.weights)


def test_loading_is_strict(model):
    arrays = {name: np.array(variable) for name, variable in named_variables(model).items()}
    load_arrays(model, arrays | {"fusion.c5_projection.norm.beta": np.full(8, 0.25, "float32")})
    assert np.all(model.fusion.c5_projection.norm.beta == 0.25)
    missing = {name: array for name, array in arrays.items() if name != "backbone.stem.conv.kernel"}
    for wrong, message in (
        (missing, "missing backbone.stem.conv.kernel"),
        (arrays | {"other": np.zeros(1)}, "unknown other"),
        (arrays | {"backbone.stem.norm.beta": np.zeros(5)}, "backbone.stem.norm.beta has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            load_arrays(model, wrong)


def test_losses_are_equations_11_to_13(model, inputs):
    values = infer(model, inputs)
    assert set(values) == set(INFERENCE)
    total = 0
    for name, loss, stride, weight in (("mask", "segmentation", 4, 1), ("prior", "location", 8, 0.1)):
        cells = inputs["target"].reshape(2, 64 // stride, stride, 64 // stride, stride, 1).mean(axis=(2, 4))
        probability = 1 / (1 + np.exp(-values[name].astype("float64")))
        losses = -np.where(cells >= 0.5, np.log(probability), np.log1p(-probability))
        np.testing.assert_allclose(values[f"loss.{loss}"], losses.sum() / 2, rtol=1e-5)
        total += weight * losses.sum() / 2
    np.testing.assert_allclose(values["loss"], total, rtol=1e-5)


def test_a_training_step_has_all_gradients(model, inputs):
    values = train_step(model, inputs)
    gradients = [name for name in values if name.startswith("gradient.")]
    assert len(gradients) == len(model.trainable_variables) and set(TRAINING) < set(values)
    assert all(np.isfinite(values[name]).all() for name in values)


def test_difference_is_relative_to_the_largest_value():
    assert relative_difference(np.array([1.0, 99.0]), np.array([2.0, 100.0])) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="shapes"):
        relative_difference(np.zeros(2), np.zeros(3))


def test_wrong_use_is_one_line_and_code_2(repo, tmp_path):
    done = run_benchmark(repo, "--peers", str(tmp_path))
    assert done.returncode == 2 and f"Received: {tmp_path}" in done.stderr.splitlines()[-1]
    assert "memory" in run_benchmark(repo, "--help").stdout


@pytest.mark.slow
@pytest.mark.parametrize("locator", ["filter", "transformer"])
def test_same_numbers_as_pytorch(repo, shared_data, locator):
    if not (repo / ".venv-torch").is_dir():
        pytest.skip(".venv-torch is not there; benchmarks/against_pytorch.py makes it")
    arguments = ["--only", "numbers", "--size", "128", "--check", "--peers", str(shared_data / "peers")]
    done = run_benchmark(repo, *arguments, "--locator", locator)
    assert done.returncode == 0 and "targets: met" in done.stdout, done.stdout + done.stderr
