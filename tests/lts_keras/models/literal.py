"""The equations as the paper writes them, on a model's own layers: the reference that the fast form is held against."""

from lts_keras.layers.locator import NoLocator


def literal_forward(model, maps, token_ids, training=False):
    """Equations 1-10: everything upsampled and concatenated, one sentence per image.

    Returns:
        dict with the logits `mask` and `prior`, and `fused`.
    """
    sentence, words = model.sentence_encoder(token_ids, training=training)
    fused = model.fusion(maps, sentence, training=training)
    prior = None
    if not isinstance(model.locator, NoLocator):
        prior = model.locator(fused, sentence, words=words, token_ids=token_ids, training=training)
    mask = model.segmentation_head(fused, prior, training=training)
    return {"mask": mask, "prior": prior, "fused": fused}
