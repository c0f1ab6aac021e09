"""`saved_model.pb` as a server should find it, and the same bytes from the same model.

TensorFlow writes it so that its own loader can go on with it in Python; what a server needs besides is put in here.
"""

import hashlib
import re
from pathlib import Path

from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2

__all__ = ["finish_graph_file"]

_NUMBERED = re.compile(r"(.*)_(\d+)")
_UNUSED = re.compile(r"_(\d+)(___redundant_placeholder)")
_INITIALIZER = re.compile(r"key_value_init\d+")  # of a table
_OWN = "__saved_model"  # how TensorFlow's own signatures begin


def finish_graph_file(folder, shapes):
    """Rewrites the graph of a SavedModel.

    - Each output of a signature gets a node of its own. A server fetches these, and TensorFlow leaves out what the
      others alone need: it never takes the function apart whose outputs are fetched themselves.
    - The declared shapes of inputs, which the graph does not rely on, are written into the signatures.
    - Functions and tables are numbered from 0 on: their numbers tell what else the process made before.
    - The fingerprint's random number becomes one that the content decides.

    Args:
        folder: path of the SavedModel.
        shapes: dict from a signature's name to a dict from the names of its inputs to `tf.TensorShape`.
    """
    path = Path(folder) / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (meta_graph,) = saved_model.meta_graphs
    for name, signature in sorted(meta_graph.signature_def.items()):
        if name.startswith(_OWN):
            continue
        for input_name, shape in shapes[name].items():
            signature.inputs[input_name].tensor_shape.CopyFrom(shape.as_proto())
        for output_name, info in sorted(signature.outputs.items()):
            node = meta_graph.graph_def.node.add(name=f"{name}_{output_name}_output", op="Identity", input=[info.name])
            node.attr["T"].type = info.dtype
            info.name = f"{node.name}:0"
    for node in _nodes(meta_graph.graph_def):
        node.attr.pop("_gradient_op_type", None)  # a number, for gradients that are not saved
    for function in meta_graph.graph_def.library.function:
        for argument in function.arg_attr.values():
            argument.attr.pop("_user_specified_name", None)  # a number, where no user gave one
    _name_tables(meta_graph.graph_def)
    library = meta_graph.graph_def.library
    names = _Names(function.signature.name for function in library.function)
    library.function.sort(key=lambda function: names.places.get(function.signature.name, -1))
    _rename(saved_model, names)
    content = saved_model.SerializeToString(deterministic=True)
    path.write_bytes(content)
    _write_fingerprint(Path(folder) / "fingerprint.pb", content)


def _nodes(graph):
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def _name_tables(graph):
    names = [node.attr["shared_name"] for node in _nodes(graph) if node.op == "HashTableV2"]
    for place, old in enumerate(sorted({name.s for name in names}, key=lambda old: (len(old), old))):
        for name in names:
            if name.s == old:
                name.s = f"table_{place}".encode()


class _Names:
    """New names of numbered functions, in the order in which these were made.

    Args:
        names: iterable of str, of all functions.
    """

    def __init__(self, names):
        found = [(_NUMBERED.fullmatch(name), name) for name in names]
        ordered = sorted((int(match[2]), name, match[1]) for match, name in found if match)
        self.places = {name: place for place, (_, name, _) in enumerate(ordered)}
        self._names = {name: f"{stem}_{place}" for place, (_, name, stem) in enumerate(ordered)}
        self._numbers = {str(number): str(place) for place, (number, _, _) in enumerate(ordered)}

    def __contains__(self, name):
        return self(name) != name

    def __call__(self, name):
        """The new name; anything else stays as it is."""
        if _UNUSED.search(name):  # an argument that a loop does not use is called after a function
            return _UNUSED.sub(lambda match: f"_{self._numbers.get(match[1], match[1])}{match[2]}", name)
        return _INITIALIZER.sub("key_value_init", self._names.get(name, name))


def _rename(message, names):
    """Replaces strings and keys anywhere in a message."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _rename_map(field, value, names)
        elif field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _rename(one, names)
        elif field.type == field.TYPE_STRING:
            if not field.is_repeated:
                setattr(message, field.name, names(value))
            else:
                value[:] = [names(one) for one in value]


def _rename_map(field, value, names):
    holds_messages = field.message_type.fields_by_name["value"].message_type is not None
    for key in [key for key in value if isinstance(key, str) and key in names]:
        if holds_messages:
            value[names(key)].CopyFrom(value[key])
        else:
            value[names(key)] = value[key]
        del value[key]
    for key in value:
        if holds_messages:
            _rename(value[key], names)
        elif isinstance(value[key], str):
            value[key] = names(value[key])


def _write_fingerprint(path, content):
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    digest = hashlib.sha256(content).digest()
    # TensorFlow compares none of these numbers with the files; registries tell models apart by them.
    for name in ("saved_model_checksum", "graph_def_program_hash", "signature_def_hash", "saved_object_graph_hash"):
        setattr(fingerprint, name, int.from_bytes(digest[:8]))
    fingerprint.uuid = str(int.from_bytes(digest[8:16]))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))
