"""Tensors on the wire, with TensorFlow as the other side."""

import subprocess
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.wire.dtypes import BFLOAT16, DTYPES, STRING
from serving.wire.protos import TensorProto
from serving.wire.tensors import LARGEST_SHORT_FORM_BYTES, dtype_name, dtype_number, fits, from_array, to_array

NUMBERS = [number for number in DTYPES if number != STRING]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def as_tensorflow(proto):
    return tf.make_tensor_proto(0).__class__.FromString(proto.SerializeToString())


def from_tensorflow(proto):
    return TensorProto.FromString(proto.SerializeToString())


def arrays(number):
    """Arrays of a dtype as TensorFlow has it."""
    dtype = tf.as_dtype(number).as_numpy_dtype
    if number != BFLOAT16:
        return hnp.arrays(dtype, SHAPES)
    return hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32)).map(lambda array: array.astype(dtype))


@pytest.mark.parametrize("number", NUMBERS, ids=dtype_name)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@given(data=st.data(), as_content=st.booleans())
@settings(max_examples=40)
def test_numbers_are_the_same_for_tensorflow(number, data, as_content):
    array = data.draw(arrays(number))
    proto = from_array(array, as_content=as_content)
    assert bool(proto.tensor_content) == (as_content and array.size > 0)
    read = tf.make_ndarray(as_tensorflow(proto))
    assert read.dtype == array.dtype and read.shape == array.shape
    np.testing.assert_array_equal(read.astype(DTYPES[number]), array.astype(DTYPES[number]))
    theirs = from_tensorflow(tf.make_tensor_proto(array, dtype=tf.as_dtype(number)))
    for each in (proto, theirs):
        ours = to_array("x", each, number, (None,) * array.ndim)
        assert ours.dtype == DTYPES[number]
        np.testing.assert_array_equal(ours, array.astype(DTYPES[number]))


@given(array=hnp.arrays(object, SHAPES, elements=st.binary(max_size=5)))
def test_strings_are_the_same_for_tensorflow(array):
    read = tf.make_ndarray(as_tensorflow(from_array(array)))
    assert read.reshape(-1).tolist() == array.reshape(-1).tolist() and read.shape == array.shape
    for proto in (from_array(array), from_tensorflow(tf.make_tensor_proto(array, dtype=tf.string))):
        assert to_array("x", proto, STRING, None).tolist() == array.tolist()


# Half of them lie in the middle between two bfloat16.
HALFWAY = st.integers(0, 2**16 - 1).map(lambda bits: float(np.array(bits << 16 | 0x8000, np.uint32).view(np.float32)))


@given(values=st.lists(st.floats(width=32) | HALFWAY, min_size=1, max_size=20))
def test_the_nearest_bfloat16_is_tensorflows(values):
    values = np.array(values, np.float32)
    read = tf.make_ndarray(as_tensorflow(from_array(values, BFLOAT16)))
    np.testing.assert_array_equal(read.astype(np.float32), tf.cast(values, tf.bfloat16).numpy().astype(np.float32))


@pytest.mark.parametrize(("value", "number"), [("é", STRING), (np.array(["a", "bc"]), STRING), ([1.5, 2.0], 1)])
def test_what_python_has_is_taken(value, number):
    read = tf.make_ndarray(as_tensorflow(from_array(value, number)))
    expected = np.char.encode(value, "utf-8") if number == STRING else value
    assert read.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize("number", [1, 3, 10, STRING, BFLOAT16, 19, 23], ids=dtype_name)
@given(claimed=st.integers(1, 50), sent=st.integers(0, 3))
@settings(max_examples=20)
def test_the_last_of_too_few_values_stands_for_the_rest(number, claimed, sent):
    values = np.array([b"a", b"b", b"c"] if number == STRING else [0, 1, 1], DTYPES[number])[: min(sent, claimed)]
    proto = from_array(values, number)
    proto.tensor_shape.dim[0].size = claimed
    read = to_array("x", proto, number, (None,))
    if number != STRING or len(values) == 1:  # TensorFlow's Python takes no other short list of strings; its C++ does
        np.testing.assert_array_equal(read, tf.make_ndarray(as_tensorflow(proto)).astype(DTYPES[number]))
    last = values[-1] if len(values) else (b"" if number == STRING else 0)
    assert read.tolist() == values.tolist() + [last] * (claimed - len(values))


def claim(number, shape, **fields):
    proto = TensorProto(dtype=number, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


BOUND = LARGEST_SHORT_FORM_BYTES // 4


@pytest.mark.parametrize(
    ("proto", "number", "shape", "words"),
    [
        (claim(1, [BOUND + 2], float_val=[1]), 1, None, f"claims {BOUND + 2} values and sends 1 in float_val"),
        (claim(1, [288, 416, 416, 3]), 1, (None, 416, 416, 3), "sends 0 in float_val"),
        (claim(7, [1024], string_val=[b"x" * 2000]), 7, (None,), "claims 1024 values and sends 1 in string_val"),
        (claim(7, [2**21], string_val=[b""]), 7, (None,), "has 2097152 strings"),
        (claim(7, [1], string_val=[b"a", b"b"]), 7, (None,), r"of shape \(1,\) needs 1 values. Received: 2"),
        (claim(1, [2], float_val=[1, 2, 3]), 1, None, "needs 2 values. Received: 3"),
        (claim(1, [2], tensor_content=b"123"), 1, None, "needs 8 bytes. Received: 3"),
        (claim(BFLOAT16, [2], tensor_content=b"123"), BFLOAT16, None, "needs 4 bytes. Received: 3"),
        (claim(10, [2], tensor_content=b"\x01\x02"), 10, None, "neither 0 nor 1"),
        (claim(4, [1], int_val=[256]), 4, None, "values in int_val that are no uint8"),
        (claim(6, [1], int_val=[-129]), 6, None, "no int8"),
        (claim(19, [1], half_val=[65536]), 19, None, "values in half_val that are no half"),
        (claim(1, [2], float_val=[1, 2]), 2, None, "expects double but float is provided"),
        (claim(77, []), 1, None, "expects float but dtype 77 is provided"),
        (claim(8, [], scomplex_val=[1, 0]), 8, None, "of type complex64, which this server does not take"),
        (claim(1, [2, 3], float_val=[1]), 1, (None, 4), r"expects shape \(None, 4\) but \(2, 3\) is provided"),
        (claim(1, [2, 3], float_val=[1]), 1, (None,), r"expects shape \(None,\) but \(2, 3\) is provided"),
        (claim(1, [-1], float_val=[1]), 1, None, r"has no valid shape: \(-1,\)"),
        (claim(1, [0, 2**62, 2**62]), 1, None, "has no valid shape"),
        (claim(1, [1] * 65, float_val=[1]), 1, None, "has 65 dimensions"),
    ],
)
def test_what_is_wrong_is_refused_in_words(proto, number, shape, words):
    with pytest.raises(RequestError, match=words) as error:
        to_array("x", proto, number, shape)
    assert error.value.code.name == "INVALID_ARGUMENT" and error.value.message.startswith('input "x" ')


def test_an_unknown_rank_is_refused():
    proto = claim(1, [], float_val=[1])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(RequestError, match="unknown rank"):
        to_array("x", proto, 1, None)


@pytest.mark.parametrize(
    ("value", "number", "words"),
    [
        (np.zeros(1, np.complex64), None, "arrays of complex64 cannot be sent"),
        ([1.5], 3, "values of float64 cannot be sent as int32"),
        ([300], 4, "300 do not fit in uint8"),
        ([-1], 23, "do not fit in uint64"),
        ([1], 8, "complex64 cannot be sent"),
        ([b"a", 5], STRING, "Received: int"),
    ],
)
def test_what_cannot_be_sent_is_said(value, number, words):
    with pytest.raises(ValueError, match=words):
        from_array(np.array(value, object) if number == STRING else value, number)


def test_a_small_message_takes_no_large_memory():
    """93 bytes claimed 571 MiB once."""
    program = """if True:
        import resource
        from serving.errors import RequestError
        from serving.wire.protos import TensorProto
        from serving.wire.tensors import to_array
        proto = TensorProto(dtype=1)
        for size in (288, 416, 416, 3):
            proto.tensor_shape.dim.add(size=size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            to_array("image", proto, 1, (None, 416, 416, 3))
        except RequestError:
            pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    grown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 4 * 1024  # KiB


@pytest.mark.parametrize(
    ("shape", "expected", "well"),
    [
        ((2, 3), (None, 3), True),
        ((2, 3), None, True),
        ((2,), (None, 3), False),
        ((2, 4), (None, 3), False),
        ((3,), (None, 1), False),
        ((1, 1), (None,), False),
        ((), (None,), False),
    ],
)
def test_fits(shape, expected, well):
    assert fits(shape, expected) is well


def test_names_and_numbers_are_tensorflows():
    words = {"float": "float32", "double": "float64", "half": "float16"}
    for number in DTYPES:
        assert dtype_number(tf.as_dtype(number).as_numpy_dtype) == number
        assert words.get(dtype_name(number), dtype_name(number)) == tf.as_dtype(number).name
