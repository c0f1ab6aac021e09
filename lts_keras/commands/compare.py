"""`lts compare`: reads evaluations, compares each with the first, prints, and writes numbers and page."""

import json
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.utils.files import atomic_write
from lts_keras.utils.quiet import import_tensorflow

__all__ = ["add_compare_arguments", "compare_workdirs"]


def add_compare_arguments(parser):
    """Adds the command's arguments to an `argparse.ArgumentParser`."""
    parser.add_argument(
        "workdirs",
        nargs="+",
        type=Path,
        metavar=("W1", "W2"),
        help="work directories with an evaluation, or folders of one such as W1/evaluate/at_320; the first is the "
        "baseline",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of compare.json and compare.html (default: W2/compare/W1)"
    )
    parser.add_argument(
        "--common", action="store_true", help="compare what all have in common where the data is not the same"
    )
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")


def compare_workdirs(workdirs, output=None, common=False):
    """Compares evaluations with the first one.

    Args:
        workdirs: list of two or more `Path`s.
        output: folder to write to; `compare/<first>` in the second work directory if `None`.
        common: bool. Whether different data is allowed.

    Returns:
        Path of the page.

    Raises:
        ConfigError: fewer than two, one twice, no evaluation, or none that can be compared.
    """
    places = [path.resolve() for path in workdirs]
    if len(places) < 2:
        raise ConfigError(f"give two work directories or more. Received: {workdirs[0]}")
    if len(set(places)) < len(places):
        raise ConfigError(f"the same work directory stands there twice. Received: {' '.join(map(str, workdirs))}")
    import_tensorflow()
    from lts_keras.evaluation.compare import compare
    from lts_keras.evaluation.compare_page import draw_changes, format_comparison, render_comparison
    from lts_keras.evaluation.stored import read_evaluation

    evaluations, names = [read_evaluation(path) for path in workdirs], _names(places)
    first, settings = evaluations[0], _settings(evaluations[0])
    shown = []
    for name, second, place in zip(names[1:], evaluations[1:], places[1:], strict=True):
        result, pairs = compare(first, second, common, **settings)
        print(f"{format_comparison(name, names[0], result)}\n", flush=True)
        shown.append((name, result, draw_changes(pairs, [*_data_dirs(second, place), *_data_dirs(first, places[0])])))
    folder = output or workdirs[1] / "compare" / places[0].name
    content = {"baseline": names[0], **settings, "comparisons": {name: _plain(*rest) for name, *rest in shown}}
    atomic_write(folder / "compare.json", json.dumps(content, indent=1))
    page = atomic_write(folder / "compare.html", render_comparison(names[0], shown))
    print(f"comparison: {page}")
    return page


def _names(places):
    """The folders' own names, with as many of their parents as tell them apart."""
    for depth in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def _settings(evaluation):
    """How the baseline was judged decides how the difference is."""
    found = evaluation.settings
    return {
        "samples": found.get("bootstrap_samples", 1000),
        "seed": evaluation.metrics["config"].get("seed", 0),
        "min_slice_size": found.get("min_slice_size", 30),
    }


def _data_dirs(evaluation, place):
    """Folders in which the judged photos may lie still."""
    prepared = evaluation.metrics["config"].get("data", {}).get("prepared")
    # The evaluation itself may have been named, which lies in its work directory or one folder deeper.
    found = [place / "data", *(parent / "data" for parent in list(place.parents)[:2])]
    return [*([Path(prepared), Path(prepared) / "data"] if prepared else []), *found]


def _plain(result, changes):
    """A comparison as compare.json holds it: without pictures."""
    changed = {
        kind: [
            {name: one[name] for name in ("image_id", "change", "num_expressions")}
            | {name: one["rows"][0][name] for name in ("dataset", "split", "ref_id", "expression")}
            | {"iou": [row["iou"] for row in one["rows"]]}
            for one in group
        ]
        for kind, group in changes.items()
    }
    return result | {"changed": changed}
