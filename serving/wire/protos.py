"""TensorFlow Serving's messages, without TensorFlow: compiled from the files in `proto/` into a pool of their own.

The default pool would refuse a second `tensorflow.TensorProto` beside TensorFlow's in one process. On the wire both are
the same. After a change of a `.proto` file: `python -m grpc_tools.protoc -I serving/wire/proto --include_imports
--descriptor_set_out=serving/wire/proto/tensorflow_serving.binpb tensorflow_serving.proto tensorflow_profiler.proto`.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["POOL", "PROTO_SET", "message", "method_types"]

PROTO_SET = Path(__file__).parent / "proto" / "tensorflow_serving.binpb"
"""A `FileDescriptorSet`; tools such as grpcurl take it too."""

POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(PROTO_SET.read_bytes()).file:
    POOL.Add(_file)


def message(name):
    """The class of a message by its full name, for example `tensorflow.serving.PredictRequest`; KeyError for none."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def method_types(service):
    """What a service's methods take and give.

    Args:
        service: full name, for example `tensorflow.serving.ModelService`.

    Returns:
        dict from the method's name to `(request class, response class)`.
    """
    return {
        method.name: tuple(message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
        for method in POOL.FindServiceByName(service).methods
    }


TensorProto = message("tensorflow.TensorProto")
SignatureDef = message("tensorflow.SignatureDef")
Example = message("tensorflow.Example")
ModelSpec = message("tensorflow.serving.ModelSpec")
PredictRequest = message("tensorflow.serving.PredictRequest")
PredictResponse = message("tensorflow.serving.PredictResponse")
ClassificationRequest = message("tensorflow.serving.ClassificationRequest")
ClassificationResponse = message("tensorflow.serving.ClassificationResponse")
RegressionRequest = message("tensorflow.serving.RegressionRequest")
RegressionResponse = message("tensorflow.serving.RegressionResponse")
MultiInferenceRequest = message("tensorflow.serving.MultiInferenceRequest")
MultiInferenceResponse = message("tensorflow.serving.MultiInferenceResponse")
GetModelMetadataRequest = message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap = message("tensorflow.serving.SignatureDefMap")
GetModelStatusRequest = message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message("tensorflow.serving.GetModelStatusResponse")
ModelVersionStatus = message("tensorflow.serving.ModelVersionStatus")
ReloadConfigRequest = message("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse = message("tensorflow.serving.ReloadConfigResponse")
ModelServerConfig = message("tensorflow.serving.ModelServerConfig")
PredictionLog = message("tensorflow.serving.PredictionLog")
MonitoringConfig = message("tensorflow.serving.MonitoringConfig")
SSLConfig = message("tensorflow.serving.SSLConfig")
BatchingParameters = message("tensorflow.serving.BatchingParameters")
