"""The page in a real browser, asking a real server."""

import contextlib
import json
import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageDraw

from serving.client import Client
from serving.server import Server
from tests.browser import Browser
from tests.conftest import ROOT
from tests.processes import started
from tests.serving.conftest import OPTIONS

SENTENCE = "document.querySelector('#sentences textarea')"
ROWS = "[...document.querySelectorAll('#result tbody th')].map(one => one.textContent)"


@contextlib.contextmanager
def page(target):
    """The command, in a process of its own; gives the page's address."""
    command = [sys.executable, "-m", "serving", "demo", f"--target={target}", "--port=0"]
    with started(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                yield found[0]
                return
        pytest.fail(f"the page did not start: exit code {process.wait()}")


@pytest.fixture
def photo(tmp_path):
    picture = Image.new("RGB", (240, 160), "white")
    ImageDraw.Draw(picture).ellipse((20, 40, 90, 110), "red")
    picture.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def write(browser, text):
    """Replaces the sentences, as somebody does who selects all and types."""
    browser.evaluate(f"{SENTENCE}.focus(); {SENTENCE}.select()")
    browser.type(text)
    browser.wait_for(f"{SENTENCE}.value === {json.dumps(text)}")


@pytest.mark.slow
def test_a_photo_and_sentences_become_layers_and_files(saved_models, tmp_path, photo):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "7").symlink_to(saved_models.first.folder)
    with contextlib.ExitStack() as ends:
        server = ends.enter_context(Server({"lts": tmp_path / "served"}, OPTIONS))
        client = ends.enter_context(Client(f"127.0.0.1:{server.port}", timeout=60))
        expected = client.segment(photo.read_bytes(), ["the left dog", "the red circle"])
        url = ends.enter_context(page(f"127.0.0.1:{server.port}"))
        browser = ends.enter_context(Browser())
        browser.open(url)
        browser.wait_for("['#photo input[type=file]', '#find'].every(one => document.querySelector(one))")

        # Nothing given yet: words, and nothing else.
        browser.evaluate("document.querySelector('#find').click()")
        browser.wait_for("(document.querySelector('#result .lts-error') || {}).textContent?.includes('photo first')")

        browser.upload("#photo input[type=file]", photo)
        browser.wait_for("!!document.querySelector('#photo img')")
        write(browser, "the left dog\nthe red circle")
        browser.press("Enter", 13, modifiers=8)  # Shift and Enter
        browser.wait_for(f"{ROWS}.length === 2")
        assert browser.evaluate(ROWS) == ["the left dog", "the red circle"]
        assert browser.evaluate("document.querySelectorAll('#result img.mask').length") == 2
        shown = "[...document.querySelectorAll('#result img')].every(one => one.complete && one.naturalWidth > 0)"
        browser.wait_for(shown)
        browser.wait_for("document.querySelector('#told-aloud').textContent.includes('2 sentences answered')")
        boxes = browser.evaluate("[...document.querySelectorAll('#result tbody tr')].map(r => r.cells[5].textContent)")
        assert boxes == ["{}, {} to {}, {}".format(*one.box) if one.mask.any() else "–" for one in expected]

        # What one looks at is the page's own matter: the server is not asked.
        before = len(browser.requests)
        browser.evaluate("document.querySelector('#result .opacity-mask').focus()")
        opacity = "Number(getComputedStyle(document.querySelector('#result .mask')).opacity)"
        was = browser.evaluate(opacity)
        browser.press("ArrowRight", 39)
        browser.wait_for(f"{opacity} > {was}")
        browser.evaluate("document.querySelector('#result input[type=checkbox]').click()")
        visible = "[...document.querySelectorAll('#result .mask')].map(one => getComputedStyle(one).display !== 'none')"
        assert browser.evaluate(visible) == [False, True]
        assert browser.evaluate(visible.replace(".mask", ".point")) == [False, True]
        browser.evaluate("document.querySelector('#result input[type=checkbox]').click()")
        assert browser.evaluate(visible) == [True, True]
        assert len(browser.requests) == before

        check_accessibility(browser)
        check_points_are_legible(browser, expected)
        check_table_fits(browser)
        check_files(browser, expected)

        # Another sentence on the same photo, without giving it again.
        write(browser, "<b>the man</b>")
        browser.evaluate("document.querySelector('#find').click()")
        browser.wait_for(f"{ROWS}.length === 1")
        assert browser.evaluate(ROWS) == ["<b>the man</b>"]

        server.stop()
        browser.evaluate("document.querySelector('#find').click()")
        browser.wait_for(
            "(document.querySelector('#result .lts-error') || {}).textContent?.includes('cannot be reached')"
        )
        assert browser.evaluate("!!document.querySelector('#photo img')")

        browser.resize(360, 800)
        browser.wait_for("document.documentElement.scrollWidth <= 360")
        assert {urlsplit(one).hostname for one in browser.requests if one.startswith(("http", "ws"))} == {"127.0.0.1"}
        assert not browser.errors


def check_table_fits(browser):
    """A window as wide as a small notebook's shows the whole table, with the numbers of a large photo too."""
    browser.evaluate("""document.querySelectorAll('#result tbody tr').forEach(row => {
        const numbers = [...row.querySelectorAll('td span:not(.chip)')];
        ['1016, 1512', 'to 3024, 4032', '2016, 2512'].forEach((text, at) => numbers[at].textContent = text); })""")
    wider = "(rows => rows.scrollWidth - rows.clientWidth)(document.querySelector('#result .rows'))"
    assert browser.evaluate(wider) == 0


def check_points_are_legible(browser, expected):
    """On a telephone too the discs with the numbers are large enough, and lie where the prior is highest."""
    browser.resize(360, 800)
    browser.wait_for("document.documentElement.scrollWidth <= 360")
    found = browser.evaluate("""(stack => [...stack.querySelectorAll('.point')].map(one => {
        const [disc, whole] = [one.getBoundingClientRect(), stack.getBoundingClientRect()];
        const [x, y] = [disc.x + disc.width / 2 - whole.x, disc.y + disc.height / 2 - whole.y];
        return [disc.width, 240 * x / whole.width, 160 * y / whole.height]; }
    ))(document.querySelector('#result .stack'))""")
    for (width, *place), one in zip(found, expected, strict=True):
        assert width >= 18
        assert place == pytest.approx([side + 0.5 for side in one.point], abs=0.5)
    browser.resize(1200, 900)


def check_files(browser, expected):
    browser.evaluate("document.querySelector('#take').click()")
    links = "[...new Set([...document.querySelectorAll('#files a[href]')].map(one => one.href))]"
    browser.wait_for(f"{links}.length >= 4")
    found = {link.rsplit("/", 1)[-1]: link for link in browser.evaluate(links)}
    assert set(found) == {"overlay.png", "masks.zip", "answers.json", "answers.svg"}
    told = browser.evaluate(f"fetch('{found['answers.json']}').then(one => one.json())")["answers"]
    assert [one["rle"] for one in told] == [one.rle() for one in expected]
    svg = browser.evaluate(f"fetch('{found['answers.svg']}').then(one => one.text())")
    parsed = f"new DOMParser().parseFromString({json.dumps(svg)}, 'image/svg+xml')"
    assert browser.evaluate(f"{parsed}.querySelectorAll('path').length") == 2
    assert not browser.evaluate(f"!!{parsed}.querySelector('parsererror')")


def check_accessibility(browser):
    """Every control has a name, every picture a text, the table its heads, and Tab comes by all of it."""
    nameless = """[...document.querySelectorAll('input, textarea, button, a[href]')]
        .filter(one => one.checkVisibility() && one.type !== 'file')
        .filter(one => !(one.getAttribute('aria-label') || one.title || one.innerText?.trim()
            || [...(one.labels || [])].some(label => label.innerText.trim())))
        .map(one => one.outerHTML.slice(0, 120))"""
    assert browser.evaluate(nameless) == []
    assert browser.evaluate("[...document.querySelectorAll('img')].every(one => one.hasAttribute('alt'))")
    assert browser.evaluate("!!document.querySelector('#result table caption')")
    assert browser.evaluate("[...document.querySelectorAll('#result th')].every(one => one.scope)")
    assert browser.evaluate("document.querySelector('#told-aloud').getAttribute('aria-live')") == "polite"
    browser.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = set()
    name = "(e => e.closest('#sentences, #find, #take, .rows, .controls, .show')?.className || e.id || e.tagName)"
    for _ in range(40):
        browser.press("Tab", 9)
        reached.add(browser.evaluate(f"{name}(document.activeElement)"))
    text = " ".join(map(str, reached))
    for part in ("controls", "show", "rows"):
        assert part in text, (part, reached)
