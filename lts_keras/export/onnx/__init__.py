"""The network as ONNX files, for runtimes without TensorFlow: whole, in halves, and in 8 bits.

The converter runs in a process of its own, on a graph whose weights are inputs: each of its passes would copy them, and
none of its memory is given back. They become constants afterwards.
"""

__all__ = ["check_halves", "check_onnx", "export_halves", "export_onnx"]


def __getattr__(name):
    # Imported on first use: the processes that are started need no Keras.
    if name in ("check_halves", "check_onnx"):
        from lts_keras.export.onnx import check

        return getattr(check, name)
    if name in ("export_halves", "export_onnx"):
        from lts_keras.export.onnx import write

        return getattr(write, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
