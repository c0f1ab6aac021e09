"""Small models with random weights: made in a second, and their masks have an inside and an outside."""

import keras
import numpy as np

from lts_keras.models.variants import make_lts

WORDS = ("the", "left", "right", "red", "blue", "dog", "man", "circle")


def small_model(seed=0, **arguments):
    """An `LTS` at 64 x 64 on a backbone of five convolutions; the same seed gives the same weights."""
    keras.utils.set_random_seed(seed)
    image = x = keras.Input((None, None, 3))
    maps = {}
    for stage, name in enumerate(("c1", "c2", "c3", "c4", "c5")):
        x = keras.layers.Conv2D(8 * (stage + 1), 3, strides=2, padding="same", activation="relu", name=f"conv_{name}")(
            x
        )
        maps[name] = x
    backbone = keras.Model(image, {name: maps[name] for name in ("c3", "c4", "c5")}, name="small_backbone")
    options = {
        "image_size": 64,
        "vocabulary": list(WORDS),
        "max_tokens": 6,
        "embedding_dim": 8,
        "gru_units": 8,
        "joint_dim": 16,
        "fusion_dim": 16,
        "aspp_dim": 8,
        "trainable_backbone": "all",
        "threshold": 0.5,
    }
    model = make_lts(backbone=backbone, **(options | arguments))
    random = np.random.default_rng(seed)
    for weight in model.weights:
        # Fresh batch norms and biases would make every model much the same function.
        if not weight.path.endswith(("kernel", "embeddings", "seed_generator_state")) and "float" in str(weight.dtype):
            weight.assign(weight.numpy() + random.uniform(0, 0.5, weight.shape).astype("float32"))
    return model


def photo_bytes(height=60, width=80, seed=0, quality=90):
    """A JPEG of coloured noise in large cells: bytes."""
    import io

    from PIL import Image

    random = np.random.default_rng(seed)
    cells = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()
