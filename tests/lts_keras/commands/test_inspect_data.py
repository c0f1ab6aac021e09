import numpy as np
from PIL import Image

from lts_keras.commands.inspect_data import inspect_data, show_strangest
from lts_keras.config.read import parse_config
from lts_keras.data import text
from tests.lts_keras.data.photos import SIZES, make_photo, write_photos


def test_sheets_of_plain_and_augmented_samples_are_drawn(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    photos = [make_photo(number, size) for number, size in enumerate(SIZES)]
    tokenizer = write_photos(tmp_path / "data", photos)
    text.write_vocabulary(tmp_path / "data/vocabulary.txt", tokenizer.vocabulary)
    config = parse_config({"model": {"image_size": 64, "max_tokens": 6}})
    inspect_data(config, tmp_path)
    printed = capsys.readouterr().out
    sheets = []
    for name in ("plain", "augmented"):
        path = tmp_path / f"inspect/samples_{name}.png"
        assert str(path) in printed
        sheets.append(np.asarray(Image.open(path).convert("RGB")))
        # Twelve samples of three panels each: most of the sheet is picture, none of it empty.
        assert sheets[-1].shape[1] > 1000 and sheets[-1].std() > 30
    assert not np.array_equal(*sheets)


def test_the_strangest_records_are_printed_and_written(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    write_photos(tmp_path / "data", [make_photo(number, size) for number, size in enumerate(SIZES)])
    words = *"left the one thing right box plain hidden".split(), *(f"{number:03d}" for number in range(6))
    (tmp_path / "glove.txt").write_text("".join(f"{word} 0.1 0.2\n" for word in words))
    values = {"model": {"image_size": 64, "max_tokens": 6}, "weights": {"glove": str(tmp_path / "glove.txt")}}
    path = show_strangest(parse_config(values), tmp_path, tmp_path / "inspect/strangest.html")
    printed = capsys.readouterr().out
    assert path.is_file() and str(path) in printed.replace("\n", "")
    # The last photo's number is the one word that the file does not have: two sentences of one object, one of another.
    assert "word without a vector" in printed and "006, 3 times" in printed and "largest mask" in printed
    assert "1 of 15 words are not in the file of word vectors" in path.read_text()
    del values["weights"]
    show_strangest(parse_config(values), tmp_path, path)
    assert "unknown words are not looked for" in capsys.readouterr().out
    assert "Not looked for" in path.read_text()
