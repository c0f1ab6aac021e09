"""Digests of the code that decides what is in records and reports, so that they are made again when it changes."""

import ast
import functools
import hashlib
import importlib.metadata
import json
from pathlib import Path

__all__ = ["check_code", "count_code", "record_code", "text_code"]

_DATA = Path(__file__).parent.parent
_TEXT = ("text.py", "words.py")
_COUNTED = ("findings", "mask_findings", "sentences", "statistics")
_RECORDS = (
    *("schema.py", "left_out.py", "orientation.py", *_TEXT, "sources/*.py", "sources/class_names.json"),
    *("prepare/mask*.py", "prepare/read.py", "prepare/records.py", "prepare/write.py", "checks/statistics.py"),
)
_COUNTS = (*_TEXT, "prepare/split_counts.py", *(f"checks/{name}.py" for name in _COUNTED))
_CHECKS = (*_TEXT, "checks/*.py")
_PACKAGES = ("pillow", "pycocotools", "scipy", "tensorflow", "tensorflow-text")


def record_code():
    """Digest of what decides the bytes of records, the versions of the libraries that draw masks included."""
    return _digest(_RECORDS)


def count_code():
    """Digest of what decides the counts that are kept beside each shard."""
    return _digest(_COUNTS)


def check_code():
    """Digest of what decides the vocabulary and the findings of a report."""
    return _digest(_CHECKS)


def text_code():
    """Digest of what makes words of an expression."""
    return _digest(_TEXT)


@functools.cache
def _digest(patterns):
    total = hashlib.sha256()
    paths = sorted({path for pattern in patterns for path in _DATA.glob(pattern)})
    for path in paths:
        content = path.read_text(encoding="utf-8")
        content = _meaning(content) if path.suffix == ".py" else content
        total.update(f"{path.relative_to(_DATA).as_posix()}\n{content}\n".encode())
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    total.update(json.dumps(versions, sort_keys=True).encode())
    return total.hexdigest()


def _meaning(text):
    """What Python makes of a module: comments, docstrings and the look of the code do not count."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                one
                for one in node.body
                if not (isinstance(one, ast.Expr) and isinstance(getattr(one.value, "value", None), str))
            ]
    return ast.dump(tree)
