"""What an `LTS` knows before its segmentation module: fused features and prior, as a refiner takes them."""

from keras import ops

from lts_keras.layers.locator import join_halves, locate

__all__ = ["fused_and_prior"]


def fused_and_prior(model, image, token_ids, image_index):
    """Features and coarse mask of each sentence: F_m3 of equation 7, H_mask of equation 8 or 9.

    Args:
        model: `LTS` with a locator.
        image: float32 `(B, S, S, 3)`.
        token_ids: int32 `(N, T)`.
        image_index: int32 `(N,)`, the image that each sentence belongs to.

    Returns:
        `(fused, prior)`: `(N, S / 8, S / 8, 2 * fusion_dim)`, and float32 logits `(N, S / 8, S / 8, 1)`.
    """
    features = model.encode_image(image, training=False)
    features = {name: ops.take(value, image_index, axis=0) for name, value in features.items()}
    sentence, words = model.encode_sentence(token_ids, training=False)
    joint, visual = model.fusion.fuse(features, sentence, training=False), features["visual"]
    prior = locate(model.locator, joint, visual, sentence, words=words, token_ids=token_ids, training=False)
    return join_halves(joint, visual), ops.cast(prior, "float32")
