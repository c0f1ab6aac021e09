"""The client for `asyncio`: the same questions, answers and errors as `Client`, and none blocks the loop."""

import asyncio
import collections
import time

import grpc

from serving.client.requests import SEGMENT_SIGNATURES, Asking
from serving.client.retries import NO_RETRIES
from serving.errors import ServingError
from serving.wire.protos import ClassificationRequest, RegressionRequest

__all__ = ["AsyncClient"]


class AsyncClient(Asking):
    """Asks a server from one event loop. Make it in a coroutine, with `async with`, or `await close()`.

    Takes the arguments of `Client`. Its methods take and give what those of `Client` do; a cancelled one cancels its
    request, and the server is told.
    """

    _grpc = grpc.aio

    async def segment(self, image_bytes, expressions, timeout=None, prior=False):
        """Asks for the masks of expressions on one photo: a list of `Answer`; raises `ServingError`."""
        inputs = self._segment_inputs(image_bytes, expressions)
        outputs, spec = await self.predict(inputs, SEGMENT_SIGNATURES[prior], timeout=timeout)
        return self._read_answers(outputs, spec, len(expressions))

    async def segment_many(self, questions, at_a_time=4, timeout=None):
        """Asks about many photos, some at a time; a photo that is refused stops no other.

        Args:
            questions: iterable of `(image_bytes, expressions)`; read as the answers are taken, never far ahead.
            at_a_time: int, requests on their way at a time.
            timeout: float, seconds for each photo.

        Yields:
            For each photo, in order: list of `Answer`, or the `ServingError`.
        """

        async def ask(image_bytes, expressions):
            try:
                return await self.segment(image_bytes, expressions, timeout)
            except ServingError as error:
                return error

        waiting = collections.deque()
        try:
            for image_bytes, expressions in questions:
                waiting.append(asyncio.ensure_future(ask(image_bytes, expressions)))
                if len(waiting) >= at_a_time:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def predict(self, inputs, signature_name="serving_default", output_filter=(), timeout=None):
        """Calls any signature: `(dict of numpy arrays, ModelSpec of the model that answered)`."""
        request = self._predict_request(inputs, signature_name, output_filter)
        return self._read_outputs(await self._call(self._predictions.Predict, request, timeout))

    async def classify(self, examples, signature_name="", timeout=None):
        """Calls a signature for `tf.Example`s that tells classes: for each, a list of `(label, score)`."""
        request = self._examples_request(ClassificationRequest, examples, signature_name)
        return self._read_classes(await self._call(self._predictions.Classify, request, timeout))

    async def regress(self, examples, signature_name="", timeout=None):
        """Calls a signature for `tf.Example`s that tells a number: a list of float."""
        request = self._examples_request(RegressionRequest, examples, signature_name)
        return self._read_values(await self._call(self._predictions.Regress, request, timeout))

    async def metadata(self, timeout=None):
        """Returns the model's signatures: a dict from name to `SignatureDef`."""
        call = self._call(self._predictions.GetModelMetadata, self._metadata_request(), timeout)
        return self._read_metadata(await call)

    async def status(self, timeout=None):
        """Returns the states of the model's versions: a dict from version to `ModelVersionStatus`."""
        return self._read_status(await self._call(self._models.GetModelStatus, self._status_request(), timeout))

    async def wait_until_ready(self, timeout=60.0, version=None):
        """Waits until the server is reachable and the model answers, as `Client` does: the version."""
        until = time.monotonic() + timeout
        while True:
            try:
                patience = self._patience(until)
                call = self._call(self._models.GetModelStatus, self._status_request(), patience, NO_RETRIES)
                states = self._read_status(await call)
                ready = self._ready(states, version)
                if ready is not None:
                    return ready
                reason = self._why_not_ready(states)
            except ServingError as error:
                reason = str(error)
            if time.monotonic() > until:
                raise self._not_ready(timeout, reason)
            await asyncio.sleep(0.1)

    async def close(self):
        """Closes the channel."""
        await self._channel.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def _call(self, method, request, timeout=None, retries=None):
        attempts = self._begin(timeout, retries)
        while True:
            try:
                return await method(request, timeout=attempts.remaining())
            except grpc.RpcError as error:
                wait = attempts.wait_after(self.target, error)
            await asyncio.sleep(wait)
