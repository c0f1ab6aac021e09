"""`HandleReloadConfigRequest`: other models, version policies and labels, while the server runs."""

import logging

from serving.api.reporting import reporting
from serving.core.settings import settings_from_proto
from serving.errors import invalid_argument
from serving.wire.protos import ReloadConfigResponse

__all__ = ["reload_config"]

logger = logging.getLogger(__name__)


def reload_config(context, request, call):
    """Answers a `ReloadConfigRequest`, once what it asks for is loaded.

    Args:
        context: `ServingContext`.
        request: `ReloadConfigRequest`.
        call: `Call`.

    Returns:
        `ReloadConfigResponse`, with the increase of each metric that the request names.

    Raises:
        RequestError: `INVALID_ARGUMENT` for a config that cannot be served, `FAILED_PRECONDITION` for a label of a
            version that is not served; the old models and labels stay.
    """
    with reporting(context, call, "HandleReloadConfigRequest") as report:
        report.request = request
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        before = {name: context.metric_value(name) for name in request.metric_names}
        for index, entry in enumerate(request.config.model_config_list.config):
            logger.info("Config entry %d: %s at %s", index, entry.name, entry.base_path)
        context.manager.reload(settings_from_proto(request.config))
        logger.info("Taken over gRPC, and lost when the server ends unless a --model_config_file says the same")
        response = report.response = ReloadConfigResponse()
        response.status.SetInParent()
        for name, value in before.items():
            response.metric.add(name=name, int64_value_increase=context.metric_value(name) - value)
        return response
