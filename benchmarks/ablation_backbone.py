"""The backbone of the ablations: a small Darknet that has learnt drawn scenes without a word of language.

The paper's rows share a backbone that was trained beforehand on detection and is frozen. Its stand-in here learns which
kind of shape and which colour lie in each cell of its three maps, of scenes that no ablation draws.
"""

import io

import numpy as np

__all__ = ["CLASSES", "draw_batch", "train_backbone"]

_PADDED = 128
"""Side of the squares that scenes are drawn in."""
CLASSES = {"kind": 8, "color": 6}
"""What a cell holds, one more beside these for the background."""


def draw_batch(rng, source, size, count):
    """Draws scenes, and what lies in every cell of a map at stride 8.

    Args:
        rng: `numpy.random.Generator`.
        source: `ScenesSource` of the data package, whose look the scenes have.
        size: int. Side of the square photos in pixels, a multiple of 8.
        count: int.

    Returns:
        Tuple of uint8 `(count, size, size, 3)` and a dict of float32 `(count, size / 8, size / 8, classes + 1)`, the
        share of each cell that each kind and each colour covers; the last one is the background.
    """
    from PIL import Image

    from lts_keras.data.sources.scene_drawing import COLORS, draw_shapes, encode

    cells, colors = size // 8, list(COLORS)
    photos = np.zeros((count, size, size, 3), np.uint8)
    shares = {name: np.zeros((count, cells, cells, number + 1), np.float32) for name, number in CLASSES.items()}
    for index in range(count):
        shapes = draw_shapes(rng, (size, size), source.look)
        photos[index] = np.asarray(Image.open(io.BytesIO(encode(rng, shapes, (size, size), source.look))))
        for shape in shapes:
            share = shape.mask.reshape(cells, 8, cells, 8).mean((1, 3))
            shares["kind"][index, :, :, source.look.kinds.index(shape.kind)] += share
            shares["color"][index, :, :, colors.index(shape.color)] += share
    for values in shares.values():
        values[..., -1] = 1 - values.sum(-1)
    return photos, shares


def train_backbone(
    source_config, path, num_photos=3000, steps=2400, batch_size=16, sizes=(64, 96, 128), progress=print
):
    """Trains the backbone and writes it as a `.keras` file.

    Args:
        source_config: `ScenesSource` of the configuration; its seed must be one that no ablation uses.
        path: file to write.
        num_photos: int. Scenes drawn.
        steps: int.
        batch_size: int.
        sizes: sides at which it sees photos, one a batch in turn, multiples of 32.
        progress: function that takes a line of text.
    """
    import keras
    import tensorflow as tf

    from lts_keras.data.sources.scenes import ScenesSource
    from lts_keras.layers.darknet import darknet_tiny
    from lts_keras.utils.files import atomic_write

    source = ScenesSource(source_config, ".")
    rng = np.random.default_rng([source_config.seed, 8])
    photos, shares = draw_batch(rng, source, _PADDED, num_photos)
    progress(f"drew {num_photos} scenes for the backbone")
    keras.utils.set_random_seed(source_config.seed)
    backbone = darknet_tiny(dtype="mixed_bfloat16")
    heads = {
        (name, what): keras.layers.Dense(number + 1, dtype="float32")
        for name in ("c3", "c4", "c5")
        for what, number in CLASSES.items()
    }
    model = keras.Model(backbone.input, {f"{n} {w}": head(backbone.output[n]) for (n, w), head in heads.items()})
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.01))
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=False)
    def step(image, targets):
        with tf.GradientTape() as tape:
            loss = _loss(model(image, training=True), targets)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    losses = []
    for number in range(steps):
        rows = rng.integers(0, num_photos, batch_size)
        size = sizes[number % len(sizes)]
        image = tf.image.resize(tf.cast(photos[rows], tf.float32) / 255, (size, size), antialias=True)
        losses.append(step(image, {name: tf.constant(values[rows]) for name, values in shares.items()}))
        if (number + 1) % 200 == 0:
            progress(f"backbone: step {number + 1} of {steps}, loss {np.mean([float(x) for x in losses]):.3f}")
            losses.clear()
    copy = darknet_tiny(dtype="float32")
    copy.set_weights(backbone.get_weights())
    atomic_write(path, _as_keras_file(copy))


def _loss(outputs, targets):
    """Cross-entropy of what each cell of each map holds, in nats a cell, summed over the six heads."""
    import tensorflow as tf

    loss = 0.0
    for name, logits in outputs.items():
        # Area shares at this map's own cells.
        target = tf.image.resize(targets[name.split()[1]], tf.shape(logits)[1:3], method="area")
        loss += tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
    return loss


def _as_keras_file(model):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "backbone.keras"
        model.save(file)
        return file.read_bytes()
