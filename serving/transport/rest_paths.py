"""Paths of the REST interface, as TensorFlow Serving reads them."""

import dataclasses
import re
import urllib.parse

from serving.errors import invalid_argument

__all__ = ["API_PATH", "RestPath", "read_path"]

# TensorFlow Serving matches without regard to case and then compares what it found with regard to it, and takes the
# query as a part of the path; so does this.
API_PATH = re.compile(r"/v1/.*", re.ASCII | re.IGNORECASE)
_MODEL = r"([^/:]+)"
_CHOICE = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/{_MODEL}{_CHOICE}:(classify|regress|predict)", re.ASCII | re.IGNORECASE)
_MOST_DIGITS = 19  # of a number below 2**63
_NOTHING = re.compile(r"(?!)")
_GET = re.compile(rf"/v1/models(?:/{_MODEL})?{_CHOICE}(?:/(metadata))?", re.ASCII | re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class RestPath:
    """What a path asks for.

    Attributes:
        action: `"predict"`, `"classify"`, `"regress"`, `"metadata"` or `"status"`.
        model: str, empty if the path names none.
        version: int or `None`.
        label: str or `None`.
    """

    action: str
    model: str
    version: int | None = None
    label: str | None = None

    def fill(self, model_spec):
        """Writes model, version and label into a `ModelSpec`."""
        model_spec.name = self.model
        if self.version is not None:
            model_spec.version.value = self.version
        if self.label is not None:
            model_spec.version_label = self.label


def read_path(method, path):
    """Reads a path.

    Args:
        method: str, of HTTP.
        path: str, as it stands in the request, with the query.

    Returns:
        `RestPath`.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words.
    """
    found = {"POST": _POST, "GET": _GET}.get(method, _NOTHING).fullmatch(path)
    malformed = invalid_argument(f"Malformed request: {method} {path}")
    if not found:
        raise malformed
    model, version, label, action = found.groups()
    if version is not None:
        digits = version.lstrip("0") or "0"  # thousands of digits are no number for Python
        if len(digits) > _MOST_DIGITS or int(digits) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        version = int(digits)
    if method == "POST" and action not in ("classify", "regress", "predict"):
        raise malformed
    if method == "GET":
        action = "metadata" if action == "metadata" else "status"
        if model is None:
            raise invalid_argument("Missing model name in request.")
    return RestPath(action, _decode(model), version, _decode(label))


def _decode(text):
    """Replaces `%XX`; a plus sign stays one."""
    return None if text is None else urllib.parse.unquote(text, errors="replace")
