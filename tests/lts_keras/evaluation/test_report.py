import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.config.schema import Config
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.prepare.records import find_shards, parse_record, read_records
from lts_keras.data.schema import Photo, ReferredObject
from lts_keras.data.text import read_vocabulary
from lts_keras.evaluation import report
from lts_keras.evaluation.scores import Scores
from tests.lts_keras.data.photos import write_photos
from tests.lts_keras.evaluation.rows import facts, row
from tests.turned import flat_scene, turned_photo

SCENES = {"kind": "scenes", "num_photos": {"train": 4, "val": 4, "testA": 2}, "photo_size": [48, 64]}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A work directory with an untrained preset and answers made from the truth: right, shifted or empty."""
    from lts_keras.models.variants import make_lts

    workdir = tmp_path_factory.mktemp("evaluated")
    config = parse_config({"name": "page <b>", "data": {"sources": [SCENES]}, "evaluate": {"num_pictures": 6}})
    prepare(config, workdir)
    vocabulary = read_vocabulary(workdir / "data/vocabulary.txt")
    small = {"embedding_dim": 8, "gru_units": 8, "joint_dim": 16, "fusion_dim": 8, "aspp_dim": 8}
    make_lts(vocabulary=vocabulary, image_size=64, backbone="darknet_tiny", **small).save_to_preset(
        workdir / "train/preset"
    )
    scores, predictions = Scores(), []
    for path in find_shards(workdir / "data", ["val", "testA"]):
        for serialized in read_records(path):
            predictions += _answers(parse_record(serialized), scores, len(predictions))
    folder = workdir / "evaluate"
    folder.mkdir()
    (folder / "predictions.json").write_text(json.dumps(predictions))
    metrics = scores.result(20) | {"threshold": 0.25, "code_version": "1+abc", "data_digest": "d" * 64}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return config, workdir


def _answers(record, scores, number):
    predictions = []
    for index, ref_id in enumerate(record["ref_id"].numpy()):
        truth = decode_mask(record["mask_png"][index].numpy())
        mask = [truth, np.roll(truth, 8, 1), np.zeros_like(truth)][(number + index) % 3]
        y, x = np.argwhere(truth)[0]
        answer = row(
            mask,
            truth,
            ref_id=ref_id.decode(),
            expression=record["expressions"][index][0].numpy().decode() + " & <i>",
            image_id=record["photo_id"].numpy().decode(),
            dataset="scenes",
            split=record["split"][index].numpy().decode(),
            point=[int(x), int(y)],
        )
        scores.add(answer, facts(truth))
        encoded = coco_mask.encode(np.asfortranarray(mask, "uint8"))
        answer["segmentation"] = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        predictions.append(answer)
    return predictions


@pytest.fixture(scope="module")
def page(evaluated):
    """Path of the page."""
    return report.write_report(*evaluated)


def test_the_page_has_everything_in_itself(page):
    text = page.read_text()
    assert text.count("<article>") == 6 and text.count("<img") == 24
    assert set(re.findall(r"<figcaption>(\w+)<", text)) == {"photo", "prior", "mask", "truth"}
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "the whole photo" in text and "left/right/top/bottom rule" in text
    assert text.count("<h2>scenes/") == 2


def test_expressions_and_names_are_text_and_no_markup(page):
    text = page.read_text()
    assert "&amp; &lt;i&gt;" in text and "page &lt;b&gt;" in text
    assert "<i>" not in text


def test_without_a_preset_the_prior_is_left_out(evaluated, tmp_path):
    config, workdir = evaluated
    (tmp_path / "data").symlink_to(workdir / "data")
    shutil.copytree(workdir / "evaluate", tmp_path / "evaluate")
    text = report.write_report(config, tmp_path).read_text()
    assert "<figcaption>mask<" in text and "<figcaption>prior<" not in text


def test_no_evaluation_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match=r"metrics\.json: no evaluation here; run `lts evaluate` first"):
        report.write_report(Config(), tmp_path)


def test_the_page_fits_a_phone_and_a_desk(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium for a screenshot; on Debian: apt-get install chromium")
    # A browser's window is never as narrow as a phone, so the widths are those of frames in it; what overflows them
    # goes into the title, which --dump-dom prints.
    frames = "".join(f'<iframe src="{page.as_uri()}" style="width:{width}px"></iframe>' for width in (360, 1200))
    (tmp_path / "frames.html").write_text(
        f"{frames}<script>onload = () => {{ document.title = 'beyond: ' + [...document.querySelectorAll('iframe')]"
        ".map((one) => one.contentDocument.documentElement.scrollWidth > one.clientWidth) }</script>"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--window-size=1200,2000"]
    frames = [*command, "--dump-dom", (tmp_path / "frames.html").as_uri()]
    dom = subprocess.run(frames, capture_output=True, text=True, timeout=120)
    assert "<title>beyond: false,false</title>" in dom.stdout, dom.stdout[-500:] + dom.stderr[-500:]
    picture = tmp_path / "page.png"
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120)
    assert len(Image.open(picture).convert("RGB").getcolors(maxcolors=10**6)) > 500, "text, bars and photos are drawn"


def prediction(number, iou, photo=None):
    return {"ref_id": str(number), "image_id": photo or str(number), "iou": iou}


def test_good_answers_come_from_the_best_third_and_bad_ones_from_the_worst():
    predictions = [prediction(number, number / 29) for number in range(30)]
    chosen = report.choose(predictions, 8, seed=1)
    good, bad = ([one["iou"] for one in chosen[group]] for group in ("good", "bad"))
    assert len(good) == len(bad) == 4
    assert min(good) >= 20 / 29 and good == sorted(good, reverse=True)
    assert max(bad) <= 9 / 29 and bad == sorted(bad)
    assert chosen == report.choose(predictions, 8, seed=1)


def test_photos_that_were_not_shown_come_first():
    predictions = [prediction(number, 1 - number / 100, f"photo{number % 3}") for number in range(30)]
    assert len({one["image_id"] for one in report.choose(predictions, 6)["good"]}) == 3


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_answers_are_enough(count):
    chosen = report.choose([prediction(number, 0.5) for number in range(count)], 24)
    assert all(len(group) <= max(count, 0) for group in chosen.values())


def test_boxes_without_a_mask_have_no_place_in_it():
    assert report.choose([prediction(0, None)], 4) == {"good": [], "bad": []}


def test_the_text_table_lines_up_and_leaves_parts_of_splits_out():
    metric = {metric: {"value": 0.5, "low": 0.4, "high": 0.6} for metric in report.METRICS}
    boxes = {metric: {"value": None} for metric in report.METRICS}
    slices = {"a/val": metric, "a/val/small": metric, "longer/val": boxes}
    table = report.format_slices({name: values | {"num_expressions": 7} for name, values in slices.items()})
    lines = table.splitlines()
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    assert "0.500 [0.40, 0.60]" in lines[1] and "small" not in table and " - " in lines[2]


def test_pictures_lie_in_the_frame_of_the_record(evaluated, tmp_path, monkeypatch):
    content, photos, wanted, sizes = turned_photo(flat_scene(40, 72), 6), [], [], []
    for name, orientation, size in (("upright", 6, (40, 72)), ("stored", 1, (72, 40))):
        mask = np.zeros(size, bool)
        mask[:9, :5] = True
        item = ReferredObject(name, "own", "val", ("the dog",), mask, None)
        photos.append(Photo(name, content, *size, (item,), orientation))
        encoded = coco_mask.encode(np.asfortranarray(mask, "uint8"))
        answer = {"dataset": "own", "ref_id": name, "expression": "the dog", "split": "val", "image_id": name}
        answer |= {"point": [3, 8], "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()}}
        wanted.append(answer)
    (tmp_path / "data").mkdir()
    write_photos(tmp_path / "data", photos)
    (tmp_path / "train").symlink_to(evaluated[1] / "train")
    monkeypatch.setattr(report, "_embed", lambda picture: sizes.append(picture.shape[:2]))
    for titled in report._pictures(wanted, evaluated[0], tmp_path):
        assert [title for title, _ in titled] == ["photo", "prior", "mask", "truth"]
    assert sizes == [(40, 72)] * 4 + [(72, 40)] * 4
