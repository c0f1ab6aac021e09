import collections
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lts_keras.config.errors import ConfigError
from lts_keras.config.schema import Config
from lts_keras.data.schema import Photo, ReferredObject
from lts_keras.evaluation import page_data, page_pictures, printed, report, report_page
from lts_keras.evaluation.charts import bar_chart, line_chart
from lts_keras.evaluation.slices import parts_of
from lts_keras.evaluation.stored import read_evaluation
from tests.lts_keras.data.photos import write_photos
from tests.lts_keras.evaluation.drawn import drawn_rows, write_evaluation
from tests.turned import flat_scene, turned_photo


@pytest.fixture(scope="module")
def page(evaluated):
    """Path of the page."""
    return report.write_report(*evaluated)


def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium to look at the page; on Debian: apt-get install chromium")
    return [found, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]


def test_the_page_has_everything_in_itself(page):
    text = page.read_text()
    assert text.count("<article") == 8 and text.count("<img") == 32
    assert set(re.findall(r"<figcaption>(\w+)<", text)) == {"photo", "prior", "mask", "truth"}
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "the whole photo" in text and "left/right/top/bottom rule" in text
    for title in ("Scores", "Training", "scenes/val", "scenes/testA", "Answers"):
        assert text.count(f"<h2>{title}</h2>") == 1
    assert [kind in text for kind in ("The best", "Around the median", "The worst", "Drawn by chance")] == [True] * 4


def test_all_five_precisions_and_the_counts_are_told(page, evaluated):
    text = page.read_text()
    assert all(f'<th scope="col">P@{percent}</th>' in text for percent in (50, 60, 70, 80, 90))
    rows = [row for row in read_evaluation(evaluated[1]).rows if row["split"] == "val"]
    found = collections.Counter(row["found"] for row in rows)
    shown = re.search(r"<h2>scenes/val</h2>.*?background</th><td>(\d+)</td><td>([\d.]+) %", text, re.S)
    assert int(shown[1]) == found["background"]
    assert float(shown[2]) == pytest.approx(100 * found["background"] / len(rows), abs=0.05)


def test_expressions_and_names_are_text_and_no_markup(page):
    text = page.read_text()
    assert "&amp; &lt;script&gt;" in text and "page &lt;b&gt;" in text
    assert len(re.findall("<script", text)) == len(re.findall("</script>", text)) == 2, "the page's own two alone"
    table = json.loads(re.search(r'id="table">(.*?)</script>', text, re.S)[1])
    assert any("<script>" in value for _, values in table["dimensions"] for value in values)


def test_headings_pictures_and_tables_can_be_heard(page):
    text = page.read_text()
    assert all('alt="' in image and 'alt=""' not in image for image in re.findall(r"<img[^>]*>", text))
    assert not re.findall(r"<th(?! scope=|></th|ead)[^>]*>", text.replace(' class="few"', ""))
    charts = re.findall(r'<svg class="chart"[^>]*>', text)
    assert charts and all('aria-label="' in chart for chart in charts)
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_without_a_preset_the_prior_is_left_out(evaluated, tmp_path):
    config, workdir = evaluated
    (tmp_path / "data").symlink_to(workdir / "data")
    shutil.copytree(workdir / "evaluate", tmp_path / "evaluate")
    text = report.write_report(config, tmp_path).read_text()
    assert "<figcaption>mask<" in text and "<figcaption>prior<" not in text
    assert "<h2>Training</h2>" not in text, "no history, no curves"


def test_no_evaluation_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match=r"metrics\.json: no evaluation here; run `lts evaluate` first"):
        report.write_report(Config(), tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("metrics.json", lambda one: [], "cut or damaged; run `lts evaluate` again"),
        ("metrics.json", lambda one: one.pop("parts") and one, "another version .* parts is missing"),
        ("predictions.json", lambda one: [row.pop("found") and row for row in one], "found is missing"),
        ("predictions.json", lambda one: [row | {"area": "big"} for row in one], "damaged: area is .*big"),
        ("predictions.json", lambda one: [], "no expression was judged"),
    ],
)
def test_an_evaluation_that_is_old_or_damaged_is_one_clear_line(file, change, message, tmp_path):
    folder = write_evaluation(tmp_path / "evaluate", drawn_rows(3))
    (folder / file).write_text(json.dumps(change(json.loads((folder / file).read_text()))))
    with pytest.raises(ConfigError, match=f"{re.escape(file)}: .*{message}|{re.escape(file)}: {message}"):
        read_evaluation(tmp_path)


def test_half_a_file_is_one_clear_line(tmp_path):
    folder = write_evaluation(tmp_path / "evaluate", drawn_rows(3))
    (folder / "predictions.json").write_text((folder / "predictions.json").read_text()[:-9])
    with pytest.raises(ConfigError, match=r"predictions\.json: cut or damaged"):
        read_evaluation(tmp_path)


def test_the_page_fits_a_phone_and_a_desk(page, tmp_path):
    command = [*browser(), "--window-size=1200,2000"]
    # A browser's window is never as narrow as a phone, so the widths are those of frames in it; what overflows them
    # goes into the title, which --dump-dom prints.
    frames = "".join(f'<iframe src="{page.as_uri()}" style="width:{width}px"></iframe>' for width in (360, 1200))
    (tmp_path / "frames.html").write_text(
        f"{frames}<script>onload = () => {{ document.title = 'beyond: ' + [...document.querySelectorAll('iframe')]"
        ".map((one) => one.contentDocument.documentElement.scrollWidth > one.clientWidth) }</script>"
    )
    frames = [*command, "--dump-dom", (tmp_path / "frames.html").as_uri()]
    dom = subprocess.run(frames, capture_output=True, text=True, timeout=120)
    assert "<title>beyond: false,false</title>" in dom.stdout, dom.stdout[-500:] + dom.stderr[-500:]
    picture = tmp_path / "page.png"
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120)
    assert len(Image.open(picture).convert("RGB").getcolors(maxcolors=10**6)) > 500, "text, bars and photos are drawn"


def test_the_filter_counts_in_the_page_itself(tmp_path):
    rows = drawn_rows(2000, slices=("coco/val", "refer/testA"))
    evaluation = read_evaluation(write_evaluation(tmp_path / "evaluate", rows).parent)
    cards = {"best": [(row, []) for row in evaluation.rows[:60]]}
    choose = (
        "<script>const pick = (one, text) => { one.value = [...one.options].find((o) => o.text === text).value };"
        "const [a, b] = document.querySelectorAll('select.part');"
        "pick(slice, 'coco/val'); pick(a, 'place words: yes'); pick(b, 'object size: large');"
        "document.getElementById('filter').dispatchEvent(new Event('input'));</script></body>"
    )
    text = report_page.render_report("filtered", evaluation, cards, {}).replace("</body>", choose)
    (tmp_path / "page.html").write_text(text)
    command = [*browser(), "--dump-dom", (tmp_path / "page.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    def fits(row):
        return row["dataset"] == "coco" and row["place_words"] and row["has_target"] and row["area"] >= 0.15

    there = [row for row in rows if fits(row)]
    iou = np.mean([row["iou"] for row in there if row["iou"] is not None])
    located = np.mean([row["prior_hit"] for row in there])
    told = re.sub("<[^>]*>", "", re.search(r'<output id="told"[^>]*>(.*?)</output>', dom, re.S)[1])
    shown = sum(map(fits, rows[:60]))
    assert told.startswith(f"{len(there)} expressions · mean IoU {iou:.3f} · P@50 "), told
    assert f"localization {located:.3f}" in told and told.endswith(f"{shown} answers shown")
    articles = re.findall(r"<article[^>]*>", dom)
    assert 0 < sum("hidden" not in article for article in articles) == shown < 60


def test_the_text_of_a_large_evaluation_stays_below_100_kb(tmp_path):
    slices = ("coco/val", "refer/val", "refer/testA", "boxes/testB", "other/val")
    rows = drawn_rows(10_834, slices=slices, photos=1500, expression="words " * 60, category="class " * 20)
    evaluation = read_evaluation(write_evaluation(tmp_path, rows, samples=2, presence={"threshold": 0.5}))
    cards = {kind: [(row, []) for row in group] for kind, group in page_data.choose(rows, 24).items()}
    history = {name: [0.5] * 400 for name in ("loss", "val_loss", "val_mask_mean_iou", "learning_rate")}
    page = report_page.render_report("large", evaluation, cards, history)
    assert 20_000 < report_page.text_bytes(page) == len(page.encode()) <= 100_000
    assert f"{sum(row['dataset'] == 'coco' for row in rows)} expressions of" in page
    assert "may say that nothing is there" in page


@pytest.mark.parametrize("most_classes", [3, 50])
def test_the_filters_sums_are_those_of_the_rows(most_classes):
    rows = drawn_rows(400, slices=("coco/val", "refer/testA"))
    table, members = page_data.filter_table(rows, most_classes)
    values = [(dimension, value) for dimension, its in table["dimensions"] for value in its]
    parts = parts_of(rows)
    assert ("class", "other classes") in values or most_classes == 50
    for number, name in enumerate(table["slices"]):
        columns = [[int(one or "0", 36) for one in column.split(",")] for column in table["sums"][number]]
        place = 0
        for one in range(len(values)):
            for other in range(one, len(values)):
                there = [row for row, its in zip(rows, members, strict=True) if {one, other} <= set(its)]
                there = [row for row in there if page_data.slice_name(row) == name]
                assert columns[0][place] == len(there)
                assert columns[2][place] == pytest.approx(100 * sum(row["iou"] or 0 for row in there), abs=0.51)
                assert columns[5][place] == sum(bool(row["prior_hit"]) for row in there)
                place += 1
        assert table["totals"][number][0] == sum(page_data.slice_name(row) == name for row in rows)
    for numbers, one in zip(members, range(len(rows)), strict=True):
        for dimension, value in (values[number] for number in numbers):
            assert value == "other classes" or one in parts[dimension][value]


def answer(number, iou, photo=None, has_target=True):
    return {"ref_id": str(number), "image_id": photo or str(number), "iou": iou, "has_target": has_target}


def test_the_best_the_median_and_the_worst_are_what_they_are_called():
    rows = [answer(number, number / 40) for number in range(41)]
    chosen = page_data.choose(rows, 12, seed=1)
    assert [round(40 * row["iou"]) for row in chosen["best"]] == [40, 39, 38]
    assert [round(40 * row["iou"]) for row in chosen["worst"]] == [0, 1, 2]
    assert sorted(round(40 * row["iou"]) for row in chosen["median"]) == [19, 20, 21]
    shown = [row["ref_id"] for group in chosen.values() for row in group]
    assert len(shown) == len(set(shown)) == 12
    assert chosen == page_data.choose(rows, 12, seed=1) != page_data.choose(rows, 12, seed=2)


def test_answers_to_no_target_are_not_among_the_best():
    rows = [answer(number, 1.0, has_target=False) for number in range(9)] + [answer(10 + n, n / 10) for n in range(9)]
    assert all(row["has_target"] for kind in ("best", "median", "worst") for row in page_data.choose(rows, 8)[kind])


def test_photos_that_were_not_shown_come_first():
    rows = [answer(number, 1 - number / 100, f"photo{number % 3}") for number in range(30)]
    assert len({row["image_id"] for row in page_data.choose(rows, 12)["best"]}) == 3


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_few_answers_are_enough(count):
    chosen = page_data.choose([answer(number, 0.5) for number in range(count)], 24)
    assert sum(map(len, chosen.values())) == count


def test_objects_with_a_box_alone_are_drawn_and_not_ranked():
    chosen = page_data.choose([answer(0, None)], 4)
    assert [len(chosen[kind]) for kind in ("best", "median", "worst", "drawn")] == [0, 0, 0, 1]


def test_lines_differ_in_their_style_and_not_in_colour_alone():
    chart = line_chart("a <b>", {name: [(0, 0.0), (1, 0.5)] for name in ("one", "two", "three")}, "x", (0.5, "here"))
    lines = re.findall(r'<polyline class="line" points="([^"]*)"(?: stroke-dasharray="([^"]*)")?', chart)
    assert len(lines) == 6 and len({dash for _, dash in lines}) == 3, "each with a sample beside its name"
    assert "a &lt;b&gt;" in chart and "here" in chart


def test_a_bar_is_as_high_as_its_value():
    bars = [{"label": name, "note": "", "value": value} for name, value in (("a", 0.25), ("b", 1.0), ("c", None))]
    heights = [float(one) for one in re.findall(r'<rect[^>]*height="([\d.]+)"', bar_chart("t", bars, "x", 1))]
    assert len(heights) == 2 and heights[0] == pytest.approx(heights[1] / 4, abs=0.06)
    assert bar_chart("t", bars[2:], "x") == line_chart("t", {"a": []}, "x") == ""


def test_the_mean_by_area_is_that_of_the_objects_in_it():
    rows = [{"iou": iou, "area": area, "has_target": True} for iou, area in ((0.2, 0.02), (0.6, 0.03), (0.9, 0.5))]
    bars = page_data.iou_by_area([*rows, {"iou": 1.0, "area": 0.0, "has_target": False}])
    assert [(bar["label"], bar["note"]) for bar in bars if bar["value"]] == [("1–3 %", "n = 2"), ("30–100 %", "n = 1")]
    assert bars[1]["value"] == pytest.approx(0.4) and (bars[1]["low"], bars[1]["high"]) == pytest.approx((0.3, 0.5))


def test_the_text_table_lines_up():
    metric = {metric: {"value": 0.5, "low": 0.4, "high": 0.6} for metric in printed.METRICS}
    boxes = {metric: {"value": None} for metric in printed.METRICS}
    slices = {"a/val": metric | {"giou": {"value": 0.25}}, "longer/val": boxes}
    table = printed.format_slices({name: values | {"num_expressions": 7} for name, values in slices.items()})
    lines = table.splitlines()
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    assert "0.500 [0.40, 0.60]" in lines[1] and " - " in lines[2]
    assert lines[0].split() == (
        "mean IoU overall IoU P@50 P@60 P@70 P@80 P@90 localization gIoU cIoU N-acc T-acc expressions".split()
    )


def test_pictures_lie_in_the_frame_of_the_record(evaluated, tmp_path):
    content, photos, wanted = turned_photo(flat_scene(40, 72), 6), [], []
    for name, orientation, size in (("upright", 6, (40, 72)), ("stored", 1, (72, 40))):
        mask = np.zeros(size, bool)
        mask[:9, :5] = True
        item = ReferredObject(name, "own", "val", ("the dog",), mask, None)
        photos.append(Photo(name, content, *size, (item,), orientation))
        encoded = coco_mask.encode(np.asfortranarray(mask, "uint8"))
        row = {"dataset": "own", "ref_id": name, "expression": "the dog", "split": "val", "image_id": name}
        wanted.append(row | {"segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()}})
    write_photos(tmp_path, photos)
    read = {number: (photo, truth) for number, photo, truth in page_pictures.read_photos(wanted, tmp_path)}
    for number, size in enumerate(((40, 72), (72, 40))):
        photo, truth = read[number]
        pictures = [page_pictures.draw_answer(photo, wanted[number]), page_pictures.draw_truth(photo, truth)]
        assert [one.shape[:2] for one in (photo, truth, *pictures)] == [size] * 4
        assert truth[:9, :5].all() and truth.sum() == 45


def test_a_box_is_drawn_as_an_outline_and_pictures_are_bounded():
    photo = np.full((900, 600, 3), 128, "uint8")
    picture = page_pictures.draw_truth(photo, np.array([150, 300, 450, 600], "float32"))
    assert picture.shape == (360, 240, 3)
    changed = (picture != 128).any(axis=-1)
    assert not changed[125:235, 65:175].any(), "the inside is the photo's"
    assert changed[119, 100] and changed[240, 100] and changed[150, 59] and changed[150, 180]


def test_an_answer_shows_without_colour_wherever_it_lies():
    photo = np.full((90, 90, 3), 121, "uint8")
    encoded = coco_mask.encode(np.ones((90, 90), "uint8", order="F"))
    row = {"segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()}}
    grey = np.asarray(Image.fromarray(page_pictures.draw_answer(photo, row)).convert("L"), int)
    assert grey.max() - grey.min() > 40, "stripes, though a mask of the whole photo has no outline"
