"""The client that waits for each answer."""

import collections
import concurrent.futures
import time

import grpc

from serving.client.requests import SEGMENT_SIGNATURES, Asking
from serving.client.retries import NO_RETRIES
from serving.errors import ServingError
from serving.wire.protos import ClassificationRequest, RegressionRequest

__all__ = ["Client"]


class Client(Asking):
    """Asks a server; one client may be used by many threads. Use it in a `with` block, or `close` it.

    Args:
        target: str, `host:port`, or `unix:/path` for a socket of this machine. Loopback addresses and sockets are never
            asked through a proxy, whatever `http_proxy` says.
        model_name: str.
        timeout: float, seconds that a request may take, with all its attempts; each call may say another; `None` for
            no limit.
        version: int, version to ask for; the newest if `None`.
        credentials: `grpc.ChannelCredentials` for TLS, see `read_credentials`; plain text if `None`.
        version_label: str, label of the version to ask for, instead of `version`.
        retries: `Retries`; `NO_RETRIES` for none.
        server_name: str, the name in the server's certificate where `target` has another.
    """

    def segment(self, image_bytes, expressions, timeout=None, prior=False):
        """Asks for the masks of expressions on one photo, which the server encodes once.

        Args:
            image_bytes: bytes of a JPEG or PNG file.
            expressions: list of str.
            timeout: float, seconds; the client's own if `None`.
            prior: bool. Whether the answers have the position prior too; models exported before it was served answer
                `FAILED_PRECONDITION` then.

        Returns:
            List of `Answer`, in the order of the expressions.

        Raises:
            ServingError: if the server refuses or cannot be reached.
        """
        inputs = self._segment_inputs(image_bytes, expressions)
        outputs, spec = self.predict(inputs, SEGMENT_SIGNATURES[prior], timeout=timeout)
        return self._read_answers(outputs, spec, len(expressions))

    def segment_many(self, questions, at_a_time=4, timeout=None):
        """Asks about many photos, some at a time; a photo that is refused stops no other.

        Args:
            questions: iterable of `(image_bytes, expressions)`; read as the answers are taken, never far ahead.
            at_a_time: int, requests on their way at a time.
            timeout: float, seconds for each photo.

        Yields:
            For each photo, in order: list of `Answer`, or the `ServingError`.
        """

        def ask(image_bytes, expressions):
            try:
                return self.segment(image_bytes, expressions, timeout)
            except ServingError as error:
                return error

        waiting = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
            try:
                for image_bytes, expressions in questions:
                    waiting.append(pool.submit(ask, image_bytes, expressions))
                    if len(waiting) >= at_a_time:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def predict(self, inputs, signature_name="serving_default", output_filter=(), timeout=None):
        """Calls any signature.

        Args:
            inputs: dict of arrays; strings as str, or as object arrays of bytes.
            signature_name: str.
            output_filter: names of the outputs to send back; all if empty.
            timeout: float, seconds; the client's own if `None`.

        Returns:
            `(dict of numpy arrays, ModelSpec of the model that answered)`.

        Raises:
            ServingError: if the server refuses or cannot be reached.
        """
        request = self._predict_request(inputs, signature_name, output_filter)
        return self._read_outputs(self._call(self._predictions.Predict, request, timeout))

    def classify(self, examples, signature_name="", timeout=None):
        """Calls a signature for `tf.Example`s that tells classes.

        Args:
            examples: list of dicts from a feature's name to its value or values: numbers, text or bytes.
            signature_name: str; the default signature if empty.
            timeout: float, seconds; the client's own if `None`.

        Returns:
            For each example, a list of `(label, score)`.

        Raises:
            ServingError: if the server refuses or cannot be reached.
        """
        request = self._examples_request(ClassificationRequest, examples, signature_name)
        return self._read_classes(self._call(self._predictions.Classify, request, timeout))

    def regress(self, examples, signature_name="", timeout=None):
        """As `classify`, through a signature that tells a number: a list of float."""
        request = self._examples_request(RegressionRequest, examples, signature_name)
        return self._read_values(self._call(self._predictions.Regress, request, timeout))

    def metadata(self, timeout=None):
        """Returns the model's signatures: a dict from name to `SignatureDef`."""
        return self._read_metadata(self._call(self._predictions.GetModelMetadata, self._metadata_request(), timeout))

    def status(self, timeout=None):
        """Returns the states of the model's versions: a dict from version to `ModelVersionStatus`."""
        return self._read_status(self._call(self._models.GetModelStatus, self._status_request(), timeout))

    def wait_until_ready(self, timeout=60.0, version=None):
        """Waits until the server is reachable and the model answers: this version of it, or the client's own.

        Returns:
            int, the newest version that answers, or the one that was asked for.

        Raises:
            ServingError: if it does not within `timeout` seconds, with the last reason.
        """
        until = time.monotonic() + timeout
        while True:
            try:
                patience = self._patience(until)
                call = self._call(self._models.GetModelStatus, self._status_request(), patience, NO_RETRIES)
                states = self._read_status(call)
                ready = self._ready(states, version)
                if ready is not None:
                    return ready
                reason = self._why_not_ready(states)
            except ServingError as error:
                reason = str(error)
            if time.monotonic() > until:
                raise self._not_ready(timeout, reason)
            time.sleep(0.1)

    def close(self):
        """Closes the channel."""
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, method, request, timeout=None, retries=None):
        attempts = self._begin(timeout, retries)
        while True:
            try:
                return method(request, timeout=attempts.remaining())
            except grpc.RpcError as error:
                wait = attempts.wait_after(self.target, error)
            time.sleep(wait)
