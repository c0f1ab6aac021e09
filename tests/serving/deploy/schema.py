"""A strict check of Kubernetes objects against the models of Kubernetes' own Python client."""

import re

from kubernetes import client
from kubernetes.client import models

_GROUPS = {"": "", "apps": "", "autoscaling": "", "policy": "", "networking.k8s.io": ""}


def problems(document, partial=False):
    """What is wrong with an object.

    Args:
        document: dict with `apiVersion` and `kind`.
        partial: bool. Whether fields that an object needs may be missing, as in a patch.

    Returns:
        list of str, each with the path of the field.
    """
    group, _, version = document["apiVersion"].rpartition("/")
    if group not in _GROUPS:
        return [f"apiVersion: {document['apiVersion']}"]
    kind = getattr(models, version[0].upper() + version[1:] + document["kind"], None)
    if kind is None:
        return [f"no {document['kind']} in {document['apiVersion']}"]
    return list(_walk(document, kind.__name__, document["kind"], partial))


def _walk(value, kind, path, partial):
    if value is None:
        if not partial:  # in a patch it takes a field away
            yield f"{path}: empty"
    elif match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{path}: a list is needed. Received: {value!r}"
            return
        for index, entry in enumerate(value):
            yield from _walk(entry, match[1], f"{path}[{index}]", partial)
    elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            yield f"{path}: a mapping is needed. Received: {value!r}"
            return
        for key, entry in value.items():
            yield from _walk(entry, match[1], f"{path}.{key}", partial)
    elif hasattr(models, kind):
        yield from _walk_model(value, getattr(models, kind), path, partial)
    elif kind == "object":  # a number or a text, as in ports
        if type(value) not in (int, str):
            yield f"{path}: {value!r}"
    elif type(value) is not {"str": str, "int": int, "bool": bool}.get(kind):
        yield f"{path}: {kind} is needed. Received: {value!r}"


def _walk_model(value, kind, path, partial):
    if not isinstance(value, dict):
        yield f"{path}: a {kind.__name__} is needed. Received: {value!r}"
        return
    fields = {key: name for name, key in kind.attribute_map.items()}
    for key, entry in value.items():
        if key in fields:
            yield from _walk(entry, kind.openapi_types[fields[key]], f"{path}.{key}", partial)
        else:
            yield f"{path}.{key}: no such field"
    try:  # the models' own checks: fields that are needed, values that are allowed
        kind(**{fields[key]: entry for key, entry in value.items() if key in fields}, local_vars_configuration=_CHECKED)
    except ValueError as error:
        if not (partial and "must not be `None`" in str(error)):
            yield f"{path}: {error}"


_CHECKED = client.Configuration()
_CHECKED.client_side_validation = True
