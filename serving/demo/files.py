"""What can be taken away from the page: the picture, masks, run lengths, outlines."""

import base64
import html
import io
import json
import re
import zipfile

from serving.client.drawing import COLORS, draw_answers
from serving.client.shapes import outlines

__all__ = ["write_files"]


def write_files(found, folder):
    """Writes the answers in the forms that people and programs take.

    Args:
        found: `Found`.
        folder: `Path` of a folder that is there.

    Returns:
        List of paths: `overlay.png`; the masks, one `mask.png` or all in `masks.zip`; `answers.json` with COCO's run
        lengths; `answers.svg` with the outlines over the photo.
    """
    paths = []
    draw_answers(found.photo, found.sentences, found.answers).save(_add(paths, folder / "overlay.png"))
    if len(found.answers) == 1:
        _add(paths, folder / "mask.png").write_bytes(found.answers[0].png)
    else:
        with zipfile.ZipFile(_add(paths, folder / "masks.zip"), "w") as archive:
            for number, (sentence, answer) in enumerate(zip(found.sentences, found.answers, strict=True), start=1):
                archive.writestr(f"{number:02d}-{_file_name(sentence)}.png", answer.png)
    told = [
        {"expression": sentence} | answer.to_json()
        for sentence, answer in zip(found.sentences, found.answers, strict=True)
    ]
    text = json.dumps({"answers": told}, indent=1, ensure_ascii=False)
    _add(paths, folder / "answers.json").write_text(text, encoding="utf-8")
    _add(paths, folder / "answers.svg").write_text(_svg(found), encoding="utf-8")
    return paths


def _add(paths, path):
    paths.append(path)
    return path


def _file_name(sentence):
    return re.sub(r"[^a-z0-9]+", "-", sentence.lower()).strip("-")[:40] or "mask"


def _svg(found):
    """The photo with one path a sentence, the mask's borders pixel for pixel, holes too."""
    width, height = found.photo.size
    file = io.BytesIO()
    found.photo.save(file, "JPEG", quality=90)
    photo = base64.b64encode(file.getvalue()).decode()
    shapes = []
    for number, (sentence, answer) in enumerate(zip(found.sentences, found.answers, strict=True)):
        color = "#%02x%02x%02x" % COLORS[number % len(COLORS)]
        path = " ".join("M" + " L".join(f"{x},{y}" for x, y in border) + " Z" for border in outlines(answer.mask))
        shapes.append(
            f'<path d="{path}" fill="{color}" fill-rule="evenodd" fill-opacity="0.5" stroke="{color}">'
            f"<title>{html.escape(sentence)}</title></path>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f'<image href="data:image/jpeg;base64,{photo}" width="{width}" height="{height}"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )
