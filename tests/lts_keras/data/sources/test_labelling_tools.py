"""docs/labelling-tools.md, followed literally, on made-up exports of each tool's shape."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tests.lts_keras.data import prepared, tool_exports, tool_files
from tests.lts_keras.data.prepared import by_category, check_box, check_mask
from tests.lts_keras.data.tool_exports import BLUE, GREEN, LEFT, LOW, RED, RIGHT, SIZE, mask_of


@pytest.fixture(scope="module")
def page(repo):
    """The page's blocks: name of the file -> text."""
    text = (repo / "docs" / "labelling-tools.md").read_text(encoding="utf-8")
    found = re.findall(r"```(?:yaml|python) (\S+)\n(.*?)```", text, flags=re.DOTALL)
    assert len(found) == len(dict(found))
    return dict(found) | {"bash": re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)}


def follow(page, place, command):
    """Runs a command of the page, `python SCRIPT ...`, in a folder; returns what it says on the console."""
    assert any(command in block.splitlines() for block in page["bash"]), command
    command, _, output = command.partition(" > ")
    _, script, *arguments = command.split()
    (place / script).write_text(page[script], encoding="utf-8")
    command = [sys.executable, "-X", "utf8", script, *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if output:
        (place / output).write_text(done.stdout, encoding="utf-8")
    return done.stderr


def objects(page, place, name):
    return prepared.objects(yaml.safe_load(page[name]), place)


def test_every_configuration_of_the_page_is_tested(page):
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    for name in page:
        assert f'"{name}"' in text or name in " ".join(page["bash"]), name
    for block in page["bash"]:
        for line in block.strip().splitlines():
            assert line in text or re.fullmatch(r"lts prepare --config \S+\.yaml --workdir runs/\S+", line), line


def test_cvat(page, tmp_path):
    cups = [("cup", "polygon", [LEFT], ""), ("cup", "box", [RIGHT], ""), ("alarm_clock", "brush", [LOW], "")]
    tool_exports.cvat(tmp_path / "cvat", "default", {"shelf/desk-1.png": cups})
    found, report = objects(page, tmp_path, "cvat.yaml")
    left, right, clock = sorted(found, key=lambda one: (one["category"] == "alarm_clock", one["box"]))
    check_mask(left, RED, LEFT)
    check_box(right, RIGHT)
    # `iscrowd: 1` on a brush mask: one object all the same.
    check_mask(clock, GREEN, LOW)
    assert {"left cup", "cup on left"} & set(left["texts"])
    assert "alarm clock" in clock["texts"] and not any("_" in text for text in clock["texts"])
    assert {one["split"] for one in found} == {"train"}
    assert report["objects"] == {"read": 3, "kept": 3, "left_out": 0}


def test_the_command_of_the_page(page, tmp_path):
    tool_exports.cvat(tmp_path / "cvat", "default", {"a.png": [("cup", "polygon", [LEFT], "")]})
    (tmp_path / "cvat.yaml").write_text(page["cvat.yaml"])
    line = "lts prepare --config cvat.yaml --workdir runs/cvat --check-only"
    assert line in page["bash"][0].splitlines()
    command = [sys.executable, "-m", "lts_keras.commands.cli", *line.split()[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/cvat/data/check/report.html").is_file()


def test_a_painted_object_in_two_parts_is_one_object(page, tmp_path):
    tool_exports.cvat(tmp_path / "cvat", "default", {"a.png": [("cup", "brush", [LEFT, RIGHT], "")]})
    (cup,), _ = objects(page, tmp_path, "cvat.yaml")
    np.testing.assert_array_equal(cup["mask"], mask_of(LEFT, RIGHT))


def test_cvat_subsets_count_their_ids_anew(page, tmp_path):
    train = {"a.png": [("cup", "polygon", [LEFT], "")], "b.png": [("cup", "polygon", [RIGHT], "")]}
    tool_exports.cvat(tmp_path / "cvat", "Train", train)
    near = tuple(side + 1 for side in RIGHT)
    tool_exports.cvat(tmp_path / "cvat", "Validation", {"b.png": [("cup", "brush", [near], "")]})
    found, _ = objects(page, tmp_path, "cvat-project.yaml")
    assert len({one["photo"] for one in found}) == 3
    left, right = sorted((one for one in found if one["split"] == "train"), key=lambda one: one["box"])
    check_mask(left, RED, LEFT)
    check_mask(right, RED, RIGHT)
    check_mask(by_category(found, "val")["cup"], RED, near)


def test_cvat_sentences(page, tmp_path):
    shapes = [("cup", "polygon", [LEFT], "the red cup; cup on the left"), ("alarm_clock", "box", [RIGHT], "")]
    tool_exports.cvat(tmp_path / "cvat", "default", {"a.png": shapes})
    command = "python cvat_refs.py cvat/annotations/instances_default.json expression > cvat/refs.json"
    assert follow(page, tmp_path, command) == "1 of 2 objects have sentences\n"
    (cup,), _ = objects(page, tmp_path, "cvat-refs.yaml")
    check_mask(cup, RED, LEFT)
    assert cup["texts"] == ["the red cup", "cup on the left"]


def test_photos_are_held_out_by_their_names(page, tmp_path):
    path = tmp_path / "instances.json"
    (tmp_path / "hold_out.py").write_text(page["hold_out.py"])

    def splits(names):
        path.write_text(json.dumps({"images": [{"file_name": name} for name in names]}))
        subprocess.run([sys.executable, "hold_out.py", path.name], cwd=tmp_path, check=True, capture_output=True)
        return {image["file_name"]: image["split"] for image in json.loads(path.read_text())["images"]}

    first, more = (splits([f"desk-{at}.jpg" for at in range(count)]) for count in (100, 300))
    assert 5 <= list(first.values()).count("val") <= 15
    assert first.items() <= more.items()


def test_label_studio(page, tmp_path):
    tool_exports.labelstudio_coco(tmp_path / "labelstudio")
    found, _ = objects(page, tmp_path, "labelstudio.yaml")
    assert len(found) == 3
    left, right = sorted((one for one in found if one["category"] == "Cup"), key=lambda one: one["box"])
    check_mask(left, RED, LEFT)
    check_box(right, RIGHT)
    # Of more than sixteen sentences some are chosen.
    assert {"left cup", "cup on left"} & set(left["texts"]) and not set(left["texts"]) & set(right["texts"])
    # The file has no size for the second photo.
    (clock,) = (one for one in found if one["category"] == "Alarm clock")
    check_mask(clock, RED, LEFT)


def test_label_studio_brush(page, tmp_path):
    tool_exports.labelstudio_brush(tmp_path / "labelstudio")
    found, _ = objects(page, tmp_path, "labelstudio-brush.yaml")
    left, right = sorted(found, key=lambda one: one["box"])
    check_mask(left, RED, LEFT)
    check_mask(right, BLUE, RIGHT)


def test_label_studio_json_of_a_turned_photo(page, tmp_path):
    tool_files.labelstudio_json(tmp_path / "labelstudio")
    said = follow(page, tmp_path, "python to_manifest.py labelstudio labelstudio/export.json labelstudio/photos")
    # One line: the brush mask; nothing on what was cancelled, on choices and relations.
    (line,) = said.splitlines()
    assert re.search("left out: cup: a shape without area, or a brush mask", line)
    found, _ = objects(page, tmp_path, "labelstudio-json.yaml")
    assert len(found) == 3
    turned = by_category([one for one in found if "desk" in one["photo"]])
    check_mask(turned["cup"], RED, LEFT)
    assert turned["cup"]["texts"] == ["the red cup", "cup on the left"]
    check_box(turned["clock"], RIGHT)
    assert turned["clock"]["texts"] == ["the clock"]
    (shelf,) = (one for one in found if "shelf" in one["photo"])
    check_mask(shelf, RED, LEFT)


def test_labelme(page, tmp_path):
    tool_files.labelme(tmp_path / "labelme")
    said = follow(page, tmp_path, "python to_manifest.py labelme labelme")
    (line,) = said.splitlines()
    assert "left out: edge: a shape without area" in line
    found, _ = objects(page, tmp_path, "labelme.yaml")
    assert len(found) == 4
    desk = by_category([one for one in found if "desk" in one["photo"]])
    check_mask(desk["cup"], RED, LEFT)
    assert desk["cup"]["texts"] == ["the red cup", "cup on the left"]
    check_box(desk["alarm_clock"], RIGHT)
    assert desk["alarm_clock"]["texts"] == ["the alarm clock"]
    shelf = by_category([one for one in found if "shelf" in one["photo"]])
    check_mask(shelf["cup"], RED, LEFT)
    check_mask(shelf["clock"], BLUE, RIGHT, LOW)


def test_labelme2coco(page, tmp_path):
    tool_exports.labelme_coco(tmp_path / "labelme-coco")
    found = by_category(objects(page, tmp_path, "labelme-coco.yaml")[0])
    check_mask(found["cup"], RED, LEFT)
    check_mask(found["alarm_clock"], BLUE, RIGHT)


def test_via(page, tmp_path):
    tool_exports.via_coco(tmp_path / "via")
    found = by_category(objects(page, tmp_path, "via.yaml")[0])
    check_mask(found["cup"], RED, LEFT)
    check_mask(found["alarm clock"], BLUE, RIGHT)


@pytest.mark.parametrize("project", [True, False])
def test_via_json(page, tmp_path, project):
    tool_files.via_json(tmp_path / "via", project)
    said = follow(page, tmp_path, "python to_manifest.py via via/export.json via/photos class expression")
    (line,) = said.splitlines()
    assert "left out: " in line and "a shape without area" in line
    found = by_category(objects(page, tmp_path, "via-json.yaml")[0])
    check_mask(found["cup"], RED, LEFT)
    assert found["cup"]["texts"] == ["the red cup", "cup on the left"]
    check_box(found["alarm clock"], RIGHT)


def test_roboflow(page, tmp_path):
    tool_exports.roboflow(tmp_path / "roboflow")
    found, _ = objects(page, tmp_path, "roboflow.yaml")
    for split, red, blue in (("train", LEFT, RIGHT), ("val", LOW, RIGHT), ("test", LEFT, LOW)):
        of_split = by_category(found, split)
        check_mask(of_split["cup"], RED, red)
        check_box(of_split["alarm-clock"], blue)
        assert "the alarm clock" in of_split["alarm-clock"]["texts"]


def test_the_script_refuses_photos_of_another_size(page, tmp_path):
    tool_files.labelme(tmp_path / "labelme")
    path = tmp_path / "labelme/desk.json"
    path.write_text(path.read_text().replace(f'"imageWidth": {SIZE[1]}', '"imageWidth": 97'))
    (tmp_path / "to_manifest.py").write_text(page["to_manifest.py"])
    command = [sys.executable, "to_manifest.py", "labelme", "labelme"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert re.fullmatch(
        r"labelme.desk.jpg: labelled with 97 x 64 pixels; upright the photo has \(96, 64\)\n", done.stderr
    )
