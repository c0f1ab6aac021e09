"""`GetModelMetadata`: the signatures of a model, as its SavedModel declares them."""

from serving.api.reporting import reporting
from serving.api.running import leased
from serving.errors import invalid_argument
from serving.wire.protos import GetModelMetadataResponse, SignatureDefMap

__all__ = ["get_model_metadata"]

SIGNATURE_DEF = "signature_def"


def get_model_metadata(context, request, call):
    """Answers a `GetModelMetadataRequest`.

    Args:
        context: `ServingContext`.
        request: `GetModelMetadataRequest`.
        call: `Call`.

    Returns:
        `GetModelMetadataResponse`.

    Raises:
        RequestError: for a wrong request, or an unknown model or version.
    """
    with reporting(context, call, "GetModelMetadata") as report:
        report.request, report.model = request, request.model_spec.name
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {field} is not supported")
        with leased(context, request.model_spec, report) as servable:
            signatures = SignatureDefMap()
            for name, definition in servable.signature_defs.items():
                signatures.signature_def[name].CopyFrom(definition)
            response = report.response = GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            response.metadata[SIGNATURE_DEF].Pack(signatures)
            return response
