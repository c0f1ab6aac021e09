"""Which code made a result."""

import functools
import hashlib
import subprocess
from pathlib import Path

import lts_keras

__all__ = ["code_revision", "code_version"]


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


@functools.cache
def code_revision():
    """The commit of the checkout that the package is in.

    Returns:
        dict with `commit`, str, and `dirty`, bool, whether files that git tracks differ from it; both `None` outside
        a checkout.
    """
    root = Path(lts_keras.__file__).resolve().parent

    def git(*words):
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--error-unmatch", "__init__.py"):
            return {"commit": None, "dirty": None}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
