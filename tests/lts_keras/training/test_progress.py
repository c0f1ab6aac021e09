import io
import re
import time

import keras
import numpy as np
import pytest
from rich.console import Console

from lts_keras.training import progress
from lts_keras.training.progress import ProgressBar
from tests.conftest import run_python


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def run(bar, clock, epochs, steps, *, first=0, tracing=50.0, step=2.0, validation=10.0):
    """Calls the callback as `fit` does, in made-up time."""
    bar.on_train_begin()
    for epoch in range(first, epochs):
        bar.on_epoch_begin(epoch)
        for batch in range(steps):
            clock.now += tracing if epoch == first and not batch else step
            bar.on_train_batch_end(batch, {"loss": np.float32(12.0 - batch)})
        bar.on_test_begin()
        clock.now += validation
        bar.on_test_end()
        bar.on_epoch_end(epoch, {"loss": 3.14159, "val_mask_mean_iou": 0.5, "other": 1.0})
    bar.on_train_end()


def test_lines_have_the_rate_without_the_tracing_step_and_the_time_left(clock):
    lines = []
    run(ProgressBar(3, 5, 8, progress=lines.append), clock, epochs=3, steps=5)
    # 8 images in 2 s; to come: 10 steps of 2 s and two validations of 10 s, then half of that. The first line within
    # the epoch comes after the tracing step, of which nothing is known yet.
    assert lines == [
        "epoch 1, step 1 of 5  loss 12  ? left",
        "epoch 1/3  loss 3.142  val_mask_mean_iou 0.5  4 images/s, 68.0 s, 40 s left",
        "epoch 2/3  loss 3.142  val_mask_mean_iou 0.5  4 images/s, 20.0 s, 20 s left",
        "epoch 3/3  loss 3.142  val_mask_mean_iou 0.5  4 images/s, 20.0 s, 0 s left",
    ]


def test_within_a_long_epoch_a_line_comes_at_most_every_half_minute(clock):
    lines = []
    run(ProgressBar(2, 100, 6, progress=lines.append), clock, epochs=2, steps=100, first=1, tracing=1.0, step=2.0)
    within = [int(match.group(1)) for line in lines if (match := re.match(r"epoch 2, step (\d+) of 100  loss", line))]
    assert within == [16, 32, 48, 64, 80, 96] and len(lines) == 7
    # Behind step 32, 68 steps of 2 s are to come; what the validation takes is not known yet.
    assert lines[1] == "epoch 2, step 32 of 100  loss -19  3 images/s, 2 min left"


def terminal(width=100):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, _environ={"TERM": "xterm"})


def test_on_a_terminal_a_bar_shows_the_same_and_leaves_the_epochs_lines(clock, capsys):
    console = terminal()
    run(ProgressBar(2, 5, 8, console=console), clock, epochs=2, steps=5)
    drawn = console.file.getvalue()
    assert (
        "epoch 1/2" in drawn and "5/5" in drawn and "loss 8  4 images/s, 10 s left" in drawn and "validation" in drawn
    )
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") > 0, "the cursor is shown again"
    told = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in told] == ["epoch 1/2", "epoch 2/2"] and "\x1b" not in "".join(told)


@pytest.mark.parametrize("console", [Console(file=io.StringIO(), force_terminal=False), None])
def test_without_a_terminal_there_is_no_bar(clock, console, capsys):
    run(ProgressBar(1, 2, 8, console=console), clock, epochs=1, steps=2)
    assert re.fullmatch(r"(epoch 1, step .*\n)?epoch 1/1 .* 0 s left\n", capsys.readouterr().out)
    assert console is None or console.file.getvalue() == ""


def test_lines_for_a_function_come_even_on_a_terminal(clock):
    console, lines = terminal(), []
    run(ProgressBar(1, 2, 8, progress=lines.append, console=console), clock, epochs=1, steps=2)
    assert console.file.getvalue() == "" and lines


def test_a_training_that_failed_leaves_no_bar_in_the_way_of_the_next(clock):
    first, second = (ProgressBar(1, 2, 8, console=terminal()) for _ in range(2))
    first.on_train_begin()
    first.on_epoch_begin(0)
    run(second, clock, epochs=1, steps=2)
    for bar in (first, second):
        drawn = bar.console.file.getvalue()
        assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") > 0
    first.close()


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (99, "99 s"), (100, "2 min"), (7500, "2 h 05 min")])
def test_durations_are_short(seconds, text):
    assert progress._duration(seconds) == text


def test_under_fit_the_tracing_step_is_left_out():
    class Slow(keras.layers.Layer):
        def call(self, x):
            time.sleep(0.5)  # while the step is traced, and never again
            return x

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), Slow()])
    model.compile("sgd", "mse")
    lines, x = [], np.zeros((40, 2), "float32")
    model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[ProgressBar(2, 10, 4, lines.append)])
    rates = [float(re.search(r"  ([\d.e+]+) images/s", line).group(1)) for line in lines]
    assert len(lines) == 2 and min(rates) > 80, lines  # 40 images in the 0.5 s of tracing would be fewer


def test_an_interrupted_bar_gives_the_cursor_back_and_lets_others_print():
    code = (
        "from rich.console import Console; from lts_keras.training.progress import ProgressBar\n"
        "bar = ProgressBar(2, 3, 4, console=Console(force_terminal=True)); bar.on_train_begin()\n"
        "bar.on_epoch_begin(0); bar.on_train_batch_end(0, {'loss': 1.0})\n"
        "print('said by another'); raise KeyboardInterrupt"
    )
    done = run_python("-c", code)
    assert done.returncode != 0 and "said by another\n" in done.stdout
    assert done.stdout.count("\x1b[?25l") == done.stdout.count("\x1b[?25h") == 1, repr(done.stdout)
