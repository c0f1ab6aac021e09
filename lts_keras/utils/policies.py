"""Dtype policies inside serialized networks."""

__all__ = ["replace_policy"]


def replace_policy(config, policy):
    """A copy of a serialized layer, model or config in which every dtype policy has another name.

    Args:
        config: what `keras.saving.serialize_keras_object` or `get_config` gives.
        policy: str, for example `"mixed_bfloat16"`.

    Returns:
        The same structure; types that stand as plain strings, such as those of inputs, stay.
    """
    if isinstance(config, list | tuple):
        return [replace_policy(item, policy) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return config | {"config": {"name": policy}}
    return {key: replace_policy(value, policy) for key, value in config.items()}
