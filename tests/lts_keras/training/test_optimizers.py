import keras
import numpy as np
import pytest

from lts_keras.config.schema import TrainConfig
from lts_keras.training.optimizers import ScaledAdamW, WarmupSchedule, make_optimizer


def test_the_paper_drops_the_rate_at_epoch_30():
    schedule = make_optimizer(TrainConfig(), steps_per_epoch=100)._learning_rate
    rates = [float(schedule(step)) for step in (0, 2999, 3000, 4499)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_warm_up_and_cosine_by_hand():
    schedule = WarmupSchedule(1.0, total_steps=110, warmup_steps=10, cosine=True)
    assert float(schedule(0)) == pytest.approx(0.1)
    assert float(schedule(4)) == pytest.approx(0.5)
    assert float(schedule(10)) == pytest.approx(1.0)
    assert float(schedule(60)) == pytest.approx(0.01 + 0.99 * 0.5)
    assert float(schedule(110)) == pytest.approx(0.01)


def test_multiplier_scales_the_step_of_its_variables_alone():
    model = keras.Sequential([keras.layers.Dense(1, name="slow"), keras.layers.Dense(1, name="fast")])
    model.build((None, 1))
    optimizer = ScaledAdamW(0.1, weight_decay=0, multiplier=0.1, prefix=model.layers[0].kernel.path.rpartition("/")[0])
    before = [layer.kernel.numpy() for layer in model.layers]
    optimizer.apply(
        [np.ones(variable.shape, "float32") for variable in model.trainable_variables], model.trainable_variables
    )
    steps = [(old - layer.kernel.numpy()).item() for old, layer in zip(before, model.layers, strict=True)]
    # The first step of Adam is the learning rate itself.
    assert steps == pytest.approx([0.01, 0.1], rel=1e-3)
