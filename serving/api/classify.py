"""`Classify`: examples in, classes and scores out."""

from serving.api.infer import INPUTS, infer
from serving.api.running import type_word
from serving.errors import invalid_argument
from serving.wire.protos import ClassificationResponse

__all__ = ["CLASSIFY", "check_classification", "classify", "fill_classifications"]

CLASSIFY = "tensorflow/serving/classify"
CLASSES, SCORES = "classes", "scores"


def classify(context, request, call):
    """Answers a `ClassificationRequest`.

    Args:
        context: `ServingContext`.
        request: `ClassificationRequest`.
        call: `Call`.

    Returns:
        `ClassificationResponse`.

    Raises:
        RequestError: for a wrong request, no room, a deadline that is over or a client that is gone.
        tf.errors.OpError: from the graph, for example for an example without a feature that it needs.
    """
    return infer(
        context, request, call, "Classify", check_classification, ClassificationResponse(), fill_classifications
    )


def check_classification(servable, signature_name, check_method_name):
    """Checks that a signature classifies.

    Args:
        servable: `Servable`.
        signature_name: str, one of its signatures.
        check_method_name: bool. Whether the signature must say so itself.

    Returns:
        Names of its outputs that make a classification.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words.
    """
    signature = servable.signatures[signature_name]
    if check_method_name and signature.method_name != CLASSIFY:
        raise invalid_argument(
            f"Expected classification signature method_name to be {CLASSIFY}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    definition = servable.signature_defs[signature_name]
    if INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {definition}")
    outputs = [name for name in (CLASSES, SCORES) if name in signature.outputs]
    if not outputs:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {definition}"
        )
    return outputs


def fill_classifications(result, outputs, rows):
    """Writes classes and scores into a `ClassificationResult`.

    Args:
        result: `ClassificationResult` to fill.
        outputs: dict with `classes` (strings) or `scores` (float32) or both, each `(rows, classes)`.
        rows: int, number of examples.

    Raises:
        RequestError: `INVALID_ARGUMENT` if they are of other types or shapes.
    """
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, array, kind, word in ((CLASSES, classes, "O", "STRING"), (SCORES, scores, "f", "FLOAT")):
        if array is not None:
            _check_output(name, array, kind, word, rows)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    given = scores if classes is None else classes
    labels = (
        [[label.decode("utf-8", "replace") for label in row] for row in classes.tolist()]
        if classes is not None
        else None
    )
    numbers = scores.tolist() if scores is not None else None
    for row in range(rows):
        target = result.classifications.add()
        for column in range(given.shape[1]):
            entry = target.classes.add()
            if labels is not None:
                entry.label = labels[row][column]
            if numbers is not None:
                entry.score = numbers[row][column]


def _check_output(name, array, kind, word, rows):
    if array.ndim != 2:
        shape = ",".join(map(str, array.shape))
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got [{shape}]")
    if array.dtype.kind != kind or (kind == "f" and array.dtype.itemsize != 4):
        raise invalid_argument(f"Expected {name} Tensor of DT_{word}. Got: {type_word(array)}")
    if array.shape[0] != rows:
        raise invalid_argument(f"Expected {name} output batch size of {rows}. Got: {array.shape[0]}")
