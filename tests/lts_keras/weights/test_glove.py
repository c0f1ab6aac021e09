import gzip
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lts_keras.weights import WeightsError
from lts_keras.weights.glove import glove_words, load_glove, read_glove

LINES = ["the 0.5 -1.25 2", "dog 1e-3 0 4.0", "é 7 8 9", "dog 9 9 9"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_rows_of_words(file):
    matrix, report = load_glove(file, ["dog", "xyzzy", "é"], dim=3)
    assert matrix.shape == (5, 3) and matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[0], 0)  # padding
    np.testing.assert_allclose(matrix[2], [1e-3, 0, 4], rtol=1e-6)  # the first of two lines counts
    np.testing.assert_array_equal(matrix[4], [7, 8, 9])
    assert matrix[1].any() and matrix[3].any()  # unknown, and a word without a vector
    assert report.num_found == 2 and report.missing == ("xyzzy",) and report.num_lines == 4
    assert report.coverage == pytest.approx(2 / 3) and "2 of 3 words found (66.7%), 1 random" in str(report)


def test_random_rows_are_the_same_every_time(file):
    first, again, other = (load_glove(file, ["a", "b", "dog"], dim=3, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first[1:4] != other[1:4]).all()


def test_no_word_found_and_no_word_wanted(file):
    matrix, report = load_glove(file, ["xyzzy"], dim=3)
    assert report.num_found == 0 and np.isfinite(matrix).all() and matrix[2].any()
    matrix, report = load_glove(file, [], dim=3)
    assert matrix.shape == (2, 3) and report.coverage == 1


@given(
    words=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=8),
        min_size=1,
        max_size=20,
        unique=True,
    ),
    newline=st.sampled_from(["\n", "\r\n", " \n"]),
    counts=st.booleans(),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_reads_what_was_written(tmp_path_factory, words, newline, counts, mark):
    vectors = np.random.default_rng(len(words)).normal(size=(len(words), 4)).astype("float32")
    lines = [f"{word} {' '.join(map(str, vector))}" for word, vector in zip(words, vectors, strict=True)]
    path = tmp_path_factory.mktemp("glove") / "vectors.txt"
    head = f"{len(words)} 4{newline}" if counts else ""
    path.write_bytes((mark + head + newline.join(lines) + newline).encode("utf-8"))
    assert list(glove_words(path)) == words
    found, num_lines = read_glove(path, words)
    assert num_lines == len(words) == len(found)
    for word, vector in zip(words, vectors, strict=True):
        np.testing.assert_array_equal(found[word], vector)


def test_word_with_spaces_is_passed_over(file):
    file.write_text(". . . 1 2 3\n" + "\n".join(LINES), encoding="utf-8")
    assert set(read_glove(file, ["dog", ".", ". . ."], 3)[0]) == {"dog"}


@pytest.mark.parametrize("words", [["\x85", "\xa0", "a\xa0b"], ["\u2028", "\u3000", "\x1c"], ["\ufeff", "dog"]])
@pytest.mark.parametrize("head", ["", "3 3\n", "2000000 3 \n", "\ufeff", "\ufeff3 3\r\n"])
def test_next_line_and_other_spaces_are_words_like_all_others(tmp_path, head, words):
    """The vectors of 840 billion words have such ones."""
    path = tmp_path / "glove.txt"
    lines = [f"{word} 1 2 {number}" for number, word in enumerate(["first", *words])]
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8", newline="")
    vectors, num_lines = read_glove(path, ["first", *words], 3)
    assert [vector[2] for vector in vectors.values()] == list(range(len(words) + 1)) and num_lines == len(words) + 1


def test_words_come_in_the_order_of_the_file(file):
    file.write_bytes(b"\xef\xbb\xbf4 3\nthe 1 2 3\n. . . 1 2 3\n\xff 1 2 3\nthe x y z\n\xc3\xa9 1 2 3\ncut 1")
    words = glove_words(file, 3)
    assert [next(words) for _ in range(3)] == ["the", "the", "é"]
    with pytest.raises(WeightsError, match="line 7: a line has a word and 3 numbers. Received: 1 numbers"):
        next(words)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("glove.txt", "\n".join(LINES))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("\n".join(LINES).encode("utf-16"), "UTF-16 or UTF-32 text"),
        ("\ufeff".encode("utf-16-be") + "\n".join(LINES).encode("utf-16-be"), "UTF-16 or UTF-32 text"),
        ("\n".join(LINES).encode("utf-32"), "UTF-16 or UTF-32 text"),
        ("\n".join(LINES).encode("utf-16-le"), "UTF-16 text or binary"),
        (gzip.compress("\n".join(LINES).encode()), "a compressed file"),
        (zipped(), "a compressed file"),
        (b"2 3\ndog " + np.zeros(3, "<f4").tobytes(), "UTF-16 text or binary"),
    ],
    ids=["16", "16 big", "32", "16 without mark", "gzip", "zip", "word2vec's .bin"],
)
def test_another_encoding_is_refused_in_one_line(file, content, received):
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"glove.txt: word vectors are read from UTF-8 text.*{received}") as caught:
        read_glove(file, ["dog"], 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (1, "the 1 2", "a word and 3 numbers. Received: 2"),
        (2, "cat 1 2 3 4", "a word and 3 numbers. Received: 4"),
        (3, "", "Received: 0 numbers"),
        (4, "dog", "Received: 0 numbers"),
        (2, "dog 1 two 3", "Received: 'two'"),
        (2, "dog 1  3", "Received: ''"),
        (2, " dog 1 2 3", "a space at its start, or two spaces in a row"),
        (1, "the  1 2 3", "a space at its start, or two spaces in a row"),
        (5, "end 1 2", "Received: 2 numbers"),
        (2, "dog 1 nan 3", "Received: 'nan'"),
        (2, "dog 1 2 1e60", "Received: '1e60'"),
    ],
)
def test_a_bad_line_is_named(file, number, line, message):
    lines = [*LINES[: number - 1], line, *LINES[number:], *(["end 1 2 3"] if number < 5 else [])]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(WeightsError, match=f"glove.txt, line {number}: .*{message}") as caught:
        load_glove(file, ["dog"], dim=3)
    assert "\n" not in str(caught.value)


def test_another_width_than_the_models_is_an_error(file):
    with pytest.raises(WeightsError, match="line 1: a line has a word and 300 numbers. Received: 3"):
        load_glove(file, ["dog"])


@pytest.mark.parametrize("content", [b"", b"400000 300\n"])
def test_a_file_without_vectors_is_an_error(tmp_path, content):
    (tmp_path / "glove.txt").write_bytes(content)
    with pytest.raises(WeightsError, match="holds no word vectors"):
        read_glove(tmp_path / "glove.txt", ["dog"])
    with pytest.raises(WeightsError, match="No such file"):
        read_glove(tmp_path / "missing.txt", ["dog"])


def test_shared_vectors(shared_data):
    matrix, report = load_glove(shared_data / "data" / "glove" / "glove.6B.300d.subset.txt", ["dog", "the", "qqqqqq"])
    assert report.num_lines == 3582 and report.missing == ("qqqqqq",)
    assert matrix[2] @ matrix[2] > 1 and matrix.shape == (5, 300)
