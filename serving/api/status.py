"""`GetModelStatus`: what has become of each version of a model."""

from serving.api.reporting import reporting
from serving.errors import invalid_argument, not_found
from serving.wire.protos import GetModelStatusResponse

__all__ = ["get_model_status"]

_FOLDERS_NAMED = 3


def get_model_status(context, request, call):
    """Answers a `GetModelStatusRequest`.

    Args:
        context: `ServingContext`.
        request: `GetModelStatusRequest`, of one version or of all; a label is not looked at, as in TensorFlow Serving.
        call: `Call`.

    Returns:
        `GetModelStatusResponse`, the newest version first.

    Raises:
        RequestError: `NOT_FOUND`; it names what the model's folder holds and why that is no version.
    """
    with reporting(context, call, "GetModelStatus") as report:
        report.request, report.model = request, request.model_spec.name
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        states = context.manager.states(spec.name)
        if spec.HasField("version"):
            version = spec.version.value
            if version not in states:
                raise not_found(f"Could not find version {version} of model {spec.name}" + _reasons(context, spec.name))
            states = {version: states[version]}
        elif not states:
            raise not_found(f"Could not find any versions of model {spec.name}" + _reasons(context, spec.name))
        response = report.response = GetModelStatusResponse()
        for version, state in sorted(states.items(), reverse=True):
            entry = response.model_version_status.add(version=version, state=state.state)
            entry.status.error_code = state.error_code
            entry.status.error_message = state.error_message
        return response


def _reasons(context, name):
    """What was passed over in the model's folder, to stand behind a message."""
    passed_over = list(context.manager.passed_over(name))
    words = [f"{path}: {reason}" for path, reason in passed_over[:_FOLDERS_NAMED]]
    if len(passed_over) > _FOLDERS_NAMED:
        words.append(f"and {len(passed_over) - _FOLDERS_NAMED} more")
    return f" ({'; '.join(words)})" if words else ""
