"""The web page itself, in Gradio."""

import collections
import html
import shutil
import socket
import tempfile
from pathlib import Path

import gradio as gr

from serving.demo.asking import ask, in_words, read_sentences, read_upload
from serving.demo.files import write_files
from serving.demo.layers import STYLE, render
from serving.demo.scenes import SCENES, draw_scene
from serving.errors import ServingError, UsageError

__all__ = ["Page"]

_AT_A_TIME = 4  # questions on their way to the server
_WAITING = 32
_KEPT_SECONDS = 1800  # of uploads and files
_KEPT_FOLDERS = 64
_LARGEST_UPLOAD = 64 << 20  # bytes

_PAGE_STYLE = """
#told-aloud { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.lts-error { border-left: 4px solid #b91c1c; padding: .6rem .9rem; background: #b91c1c1a; border-radius: 4px; }
.gradio-container.fillable { max-width: 1536px; margin: 0 auto; }
.gradio-container { --block-info-text-color: #4b5563; --block-label-text-color: #374151;
  --block-title-text-color: #374151; }
.dark .gradio-container, .dark.gradio-container { --block-info-text-color: #cbd5e1; --block-label-text-color: #e5e7eb;
  --block-title-text-color: #e5e7eb; }
#find { background: #1d4ed8; color: #fff; }
#find:focus-visible, #take:focus-visible { outline: 3px solid #93c5fd; outline-offset: 2px; }
"""

_SAY_ALOUD = """() => {
  const told = document.querySelector('#result .told, #result .lts-error');
  document.getElementById('told-aloud').textContent = told ? told.textContent : '';
}"""
# Screen readers tell what changes within a region that was there before; the result itself is a new one each time.

_HINT = '<p class="hint">The photo with what was found appears here.</p>'


class Page:
    """A page that asks a server; use it in a `with` block, or `close` it.

    Args:
        client: `serving.client.Client`.
        host: str, address to listen on.
        port: int; 0 takes any that is free.

    Attributes:
        url: str, where it is.
    """

    def __init__(self, client, host="127.0.0.1", port=7860):
        self._client = client
        self._folder = Path(tempfile.mkdtemp(prefix="lts-demo-"))
        self._folders = collections.deque()
        self._blocks = self._build()
        self._blocks.queue(max_size=_WAITING, default_concurrency_limit=_AT_A_TIME)
        # No address but this one is asked: neither fonts nor scripts nor counts come from or go anywhere.
        font = ("system-ui", "sans-serif")
        _, self.url, _ = self._blocks.launch(
            server_name=host,
            server_port=port or _free_port(host),
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            ssr_mode=False,
            enable_monitoring=False,
            max_file_size=_LARGEST_UPLOAD,
            footer_links=[],
            theme=gr.themes.Base(primary_hue="blue", font=font, font_mono=("ui-monospace", "monospace")),
            css=STYLE + _PAGE_STYLE,
        )

    def close(self):
        """Ends the page and removes its files."""
        self._blocks.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _build(self):
        options = {"analytics_enabled": False, "delete_cache": (_KEPT_SECONDS, _KEPT_SECONDS), "fill_width": True}
        with gr.Blocks(title="Locate, then segment", **options) as blocks:
            gr.HTML(
                "<h1>Locate, then segment</h1><p>Give a photo and say what to look for. "
                "Each sentence gets a mask.</p>"
                '<div id="told-aloud" role="status" aria-live="polite"></div>'
            )
            found = gr.State(None, time_to_live=_KEPT_SECONDS)
            with gr.Row():
                with gr.Column(scale=2, min_width=280):
                    # "filepath" without a mode: the bytes of the file itself, EXIF and all.
                    photo = gr.Image(
                        label="Photo: drop, paste, or take one",
                        type="filepath",
                        image_mode=None,
                        sources=["upload", "clipboard", "webcam"],
                        height=280,
                        elem_id="photo",
                        alt_text="The photo that you gave",
                    )
                    sentences = gr.Textbox(
                        label="What to look for, one sentence a line",
                        placeholder="the left dog",
                        info="Shift and Enter asks.",
                        lines=2,
                        max_lines=8,
                        elem_id="sentences",
                    )
                    button = gr.Button("Find", variant="primary", elem_id="find")
                    gr.Examples(
                        self._examples(),
                        [photo, sentences],
                        label="Drawn scenes to begin with",
                        example_labels=[", ".join(words) for _, words in SCENES],
                    )
                with gr.Column(scale=3, min_width=280):
                    result = gr.HTML(_HINT, elem_id="result")
                    take = gr.Button("Files to take away", visible=False, elem_id="take")
                    files = gr.Files(
                        label="Picture, masks, run lengths (JSON) and outlines (SVG)", visible=False, elem_id="files"
                    )
            for event in (button.click, sentences.submit):
                event(self._find, [photo, sentences], [result, found, take, files], api_name=False).then(
                    None, None, None, js=_SAY_ALOUD
                )
            take.click(self._write, [found], [files], api_name=False)
        return blocks

    def _find(self, path, text):
        try:
            content, photo = read_upload(path)
            answers = ask(self._client, content, photo, read_sentences(text))
        except UsageError as error:
            return self._fail(str(error))
        except ServingError as error:
            return self._fail(in_words(error, self._client.target))
        return render(answers), answers, gr.update(visible=True), gr.update(visible=False, value=None)

    def _fail(self, words):
        error = f'<p class="lts-error" role="alert">{html.escape(words)}</p>'
        return error, None, gr.update(visible=False), gr.update(visible=False, value=None)

    def _write(self, found):
        if found is None:
            return gr.update(visible=False, value=None)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        self._folders.append(folder)
        while len(self._folders) > _KEPT_FOLDERS:
            shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        return gr.update(visible=True, value=[str(path) for path in write_files(found, folder)])

    def _examples(self):
        rows = []
        for number, (shapes, sentences) in enumerate(SCENES, start=1):
            path = self._folder / f"scene-{number}.png"
            path.write_bytes(draw_scene(shapes))
            rows.append([str(path), "\n".join(sentences)])
        return rows


def _free_port(host):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
