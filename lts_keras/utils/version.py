"""Which code made a result."""

import functools
import hashlib
from pathlib import Path

import lts_keras

__all__ = ["code_version"]


@functools.cache
def code_version():
    """Version of the package and a digest of its sources, for example `"0.1.0+3f2a9c417be0"`.

    The digest and not a commit: a wheel has no repository around it, and an edited checkout is not its commit.
    """
    sources = hashlib.sha256()
    root = Path(lts_keras.__file__).parent
    for path in sorted(root.rglob("*.py")):
        sources.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{lts_keras.__version__}+{sources.hexdigest()[:12]}"
