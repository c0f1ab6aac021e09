"""RefCOCO, RefCOCO+, RefCOCOg (UMD, Google) and gRefCOCO in the layout of the REFER toolkit."""

import io
import pickle

from lts_keras.data.schema import DataError
from lts_keras.data.sources.annotated import AnnotatedSource
from lts_keras.data.sources.annotations import Ref
from lts_keras.data.sources.fields import Fields, read_json, short
from lts_keras.data.sources.instances import read_instances

__all__ = ["ReferSource", "read_refs"]


class ReferSource(AnnotatedSource):
    """`<folder>/<dataset>/refs(<split_by>).p` (gRefCOCO: `grefs(<split_by>).json`) and `instances.json`.

    `ref_id` is the number of the file; where the source's name is not its data set's (so that several data sets may
    share one name), the data set stands before it: `refcoco+:13`.
    """

    def __init__(self, config, root):
        super().__init__(config, root)
        self.published_name = f"{config.dataset}/{config.split_by}"
        folder = self.root / config.folder / config.dataset
        self.photos = self.root / config.folder / config.photos
        refs_file = folder / f"refs({config.split_by}).p"
        general = folder / f"grefs({config.split_by}).json"
        if general.exists() and not refs_file.exists():
            refs_file = general
        self._files = (refs_file, folder / "instances.json")
        refs = read_refs(refs_file)
        needed = {key for _, ref in refs for key in ref.annotations}
        self.images, self.annotations = read_instances(self._files[1], needed)
        prefix = f"{self.ref_space}:" if self.ref_space else ""
        for image_id, ref in refs:
            if image_id not in self.images:
                raise DataError(f"{refs_file}: ref {ref.ref_id} is of photo {image_id}, not in {self._files[1]}")
            self.add_ref(image_id, Ref(prefix + ref.ref_id, ref.split, ref.expressions, ref.annotations))

    @property
    def ref_space(self):
        """The data set, where the source has another name: several may share that."""
        return "" if self.config.name == self.config.dataset else self.config.dataset

    @property
    def files(self):
        """See `Source`."""
        return self._files


def read_refs(path):
    """Reads a refs file: a pickle of Python 2 or 3, or gRefCOCO's JSON.

    Args:
        path: path; `.json` is read as JSON, all else as a pickle of plain data.

    Returns:
        List of (image id, `Ref`), splits as in the file; every sentence is kept, as its `raw` text is in none of the
        field's evaluations the cleaned `sent` is taken.

    Raises:
        DataError: the file is missing or damaged, would run code, or has another layout; the message names the ref.
    """
    content = read_json(path) if path.suffix == ".json" else _read_pickle(path)
    if not isinstance(content, list | tuple):
        raise DataError(f"{path}: not the REFER layout: expected: a list of refs. Received: {short(content)}")
    fields, found = Fields(path, "ref", "refs"), []
    for index, item in enumerate(content):
        ref = _ref(fields.at(index, item))
        found.append((fields.identity("image_id"), ref))
    return found


def _ref(fields):
    """One ref; gRefCOCO has a list of annotations, `-1` or nothing in it where no object is meant, and says so."""
    ref_id, split = fields.own_identity("ref_id"), _text(fields, "split", fields.values.get("split"))
    given = fields.values.get("ann_id")
    keys = []
    for key in given if isinstance(given, list | tuple) else [given]:
        fields.values = fields.values | {"ann_id": key}
        keys.append(fields.identity("ann_id"))
    no_target = fields.values.get("no_target")
    if no_target not in (None, False, True):
        raise fields.error("no_target", no_target, "true or false")
    keys = tuple(dict.fromkeys(key for key in keys if key != -1))
    if keys and no_target:
        raise fields.error("ann_id", given, "no annotation, as no_target is true")
    if not keys and not no_target and (no_target is not None or not isinstance(given, list | tuple)):
        raise fields.error("ann_id", given, "the id of an annotation, as no_target is not true")
    sentences = tuple(_sentence(fields, *one) for one in enumerate(fields.items("sentences")))
    return Ref(str(ref_id), split, sentences, keys)


def _sentence(fields, number, item):
    if not isinstance(item, dict) or "sent" not in item:
        raise fields.error(f"sentences[{number}]", item, "an object with `sent`")
    return _text(fields, f"sentences[{number}].sent", item["sent"])


def _text(fields, key, value):
    if isinstance(value, bytes):  # A str of Python 2.
        value = value.decode("utf-8", "replace")
    return fields.check_text(key, value)


class _PlainUnpickler(pickle._Unpickler):
    """Reads lists, dicts, strings and numbers; refuses everything that could run code.

    Of the two that Python has, the one in Python: the other takes 16 bytes for every number up to the largest one that
    a file gives to an object, so one wrong bit costs up to 64 GB. RefCOCO's 50,000 refs take 5 seconds instead of 2.
    """

    def find_class(self, module, name):
        raise _CodeFoundError(f"{module}.{name}")

    def persistent_load(self, key):
        raise _CodeFoundError(f"persistent object {key!r}")


class _CodeFoundError(Exception):
    pass


def _read_pickle(path):
    try:
        content = path.read_bytes()
        # latin1 keeps every byte of a Python 2 string; UTF-8 text is restored below.
        return _restore(_PlainUnpickler(io.BytesIO(content), encoding="latin1").load(), {})
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror or error}") from error
    except _CodeFoundError as error:
        raise DataError(f"{path}: refused: refs hold plain data only, and this pickle would run {error}") from None
    except Exception as error:  # A damaged pickle fails in any way, from EOFError to MemoryError.
        raise DataError(f"{path}: a damaged pickle: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _restore(value, seen):
    """UTF-8 in Python 2 strings, which latin1 has taken apart byte by byte.

    `seen`, what was made of lists and dicts by their `id`: a list that holds itself, or one list a million times, is
    taken once.
    """
    if isinstance(value, str):
        try:
            return value if value.isascii() else value.encode("latin1").decode("utf-8")
        except UnicodeError:
            return value
    if not isinstance(value, dict | list):
        return value
    if id(value) not in seen:
        made = seen[id(value)] = type(value)()
        if isinstance(value, dict):
            made.update((key, _restore(item, seen)) for key, item in value.items())
        else:
            made.extend(_restore(item, seen) for item in value)
    return seen[id(value)]
