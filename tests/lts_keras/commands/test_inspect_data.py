import numpy as np
from PIL import Image

from lts_keras.commands.inspect_data import inspect_data
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
