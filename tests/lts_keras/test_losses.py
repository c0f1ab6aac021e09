import math

import numpy as np
import pytest

from lts_keras.losses import BoxSupervision, SummedBinaryCrossentropy, lts_losses


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_sum_over_pixels_mean_over_batch_by_hand():
    logits = np.array([[[2.0], [-1.0]], [[0.5], [3.0]]], "float32").reshape(2, 1, 2, 1)
    target = np.array([[1.0, 0.0], [0.0, 1.0]], "float32").reshape(2, 1, 2, 1)
    first = -math.log(sigmoid(2)) - math.log(1 - sigmoid(-1))
    second = -math.log(1 - sigmoid(0.5)) - math.log(sigmoid(3))
    assert float(SummedBinaryCrossentropy()(target, logits)) == pytest.approx((first + second) / 2, rel=1e-6)
    assert float(SummedBinaryCrossentropy("mean")(target, logits)) == pytest.approx((first + second) / 4, rel=1e-6)


def test_weight_zero_leaves_an_expression_out():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(1, 3, 2, 2, 1)), rng.integers(0, 2, (1, 3, 2, 2, 1))
    loss = SummedBinaryCrossentropy()
    weighted = float(loss(target, logits, sample_weight=np.array([[1.0, 0.0, 1.0]])))
    kept = float(loss(target[:, ::2], logits[:, ::2]))
    # The mean goes over the whole batch, so that the scale does not depend on how many were left out.
    assert weighted == pytest.approx(kept * 2 / 3, rel=1e-6)


@pytest.mark.parametrize("logit", [-1e30, -200.0, 0.0, 200.0, 1e30])
def test_finite_for_every_logit(logit):
    logits = np.full((1, 2, 2, 1), logit, "float32")
    assert np.isfinite(float(SummedBinaryCrossentropy()(np.ones_like(logits), logits)))


def test_sum_in_float32_where_float16_would_overflow():
    logits = np.full((1, 104, 104, 1), -40, "float16")
    loss = float(SummedBinaryCrossentropy()(np.ones_like(logits), logits))
    assert loss == pytest.approx(40 * 104 * 104, rel=1e-5)


def test_the_two_balances_of_equation_13_are_the_same():
    rng = np.random.default_rng(1)
    maps = {"mask": rng.normal(size=(2, 104, 104, 1)), "prior": rng.normal(size=(2, 52, 52, 1))}
    totals = []
    for location_weight, reduction in ((0.1, "sum"), (0.025, "mean")):
        arguments = lts_losses(location_weight, reduction)
        parts = {name: float(arguments["loss"][name](maps[name] > 0.3, maps[name])) for name in maps}
        weighted = {name: arguments["loss_weights"][name] * parts[name] for name in maps}
        totals.append(weighted["prior"] / weighted["mask"])
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_unknown_reduction_is_named():
    with pytest.raises(ValueError, match="Received: 'median'"):
        SummedBinaryCrossentropy("median")


def box_target(box, edges=0.0):
    """Filled box and all-equal edges, `(1, height, width, 5)`."""
    box = np.asarray(box, "float32")
    return np.concatenate([box[..., None], np.full((*box.shape, 4), edges, "float32")], -1)[None]


def test_projection_term_by_hand():
    logits = np.full((1, 2, 2, 1), -100.0, "float32")
    logits[0, 0, 0], logits[0, 0, 1] = 100.0, 0.0  # probabilities 1 and 0.5 in the first row
    # Largest of each row: (1, 0) against the box's (1, 0); of each column: (1, 0.5) against (1, 0).
    rows, columns = 1 - 2 * 1 / (1 + 1), 1 - 2 * 1 / (1.25 + 1)
    loss = BoxSupervision(projection=0.3, pairwise=0.0)
    expected = 0.3 * (rows + columns) * 4  # cells
    assert float(loss(box_target([[1, 0], [0, 0]]), logits)) == pytest.approx(expected, rel=1e-5)


def test_pairwise_term_by_hand():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(1, 5, 6, 1)), box_target(np.zeros((5, 6)))
    target[0, 1:3, 1:4, 0] = 1
    target[0, :, :, 1:] = rng.integers(0, 2, (5, 6, 4))
    # A neighbour outside has no edge, as `color_edges` makes them.
    for channel, (down, right) in enumerate(((0, 2), (2, 0), (2, 2), (2, -2))):
        for y in range(5):
            for x in range(6):
                if not (y + down < 5 and 0 <= x + right < 6):
                    target[0, y, x, 1 + channel] = 0
    total, count = 0.0, 0
    for channel, (down, right) in enumerate(((0, 2), (2, 0), (2, 2), (2, -2))):
        for y in range(5):
            for x in range(6):
                if target[0, y, x, 1 + channel] == 0:
                    continue
                other = (0, y + down, x + right)
                if target[0, y, x, 0] or target[(*other, 0)]:
                    p, q = sigmoid(logits[0, y, x, 0]), sigmoid(logits[(*other, 0)])
                    total -= math.log(p * q + (1 - p) * (1 - q))
                    count += 1
    assert count > 5
    loss = BoxSupervision(projection=0.0, pairwise=0.5)
    assert float(loss(target, logits.astype("float32"))) == pytest.approx(0.5 * total / count * 30, rel=1e-5)


def test_a_box_without_edges_teaches_by_projection_alone_and_all_stays_finite():
    for logit in (-1e4, 0.0, 1e4):
        logits = np.full((1, 2, 4, 4, 1), logit, "float32")
        target = np.stack([box_target(np.ones((4, 4)), 1.0), box_target(np.zeros((4, 4)))], axis=1)
        values = [float(BoxSupervision(*weights)(target, logits)) for weights in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))]
        assert np.isfinite(values).all() and values[2] == pytest.approx(values[0] + values[1])


def test_weight_zero_leaves_objects_with_a_mask_out_of_box_supervision():
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(2, 4, 4, 1)).astype("float32"), rng.integers(0, 2, (2, 4, 4, 5)).astype("float32")
    loss = BoxSupervision()
    both = float(loss(target, logits, sample_weight=np.array([1.0, 0.0])))
    assert both == pytest.approx(float(loss(target[:1], logits[:1])) / 2, rel=1e-5)
