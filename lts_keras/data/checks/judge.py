"""What the counts say: findings with their examples, and which of them stop the pipeline."""

import collections
import dataclasses

from lts_keras.data.checks.findings import KINDS, NOTES, STOPS, WARNS, sort_findings
from lts_keras.data.checks.statistics import OF_OBJECTS
from lts_keras.data.schema import one_line

__all__ = ["find_all", "stop_lines", "warning_lines"]

_EXAMPLES = 3
_LIMITED = ("empty_masks", "box_disagreements")
"""Kinds whose share of a slice's objects has a limit."""


@dataclasses.dataclass
class _Found:
    """How often a kind was found, where (`lines`), which limits it passes, and examples."""

    count: int
    lines: list = dataclasses.field(default_factory=list)
    stops: list = dataclasses.field(default_factory=list)
    examples: list = dataclasses.field(default_factory=list)
    level: str | None = None
    """Instead of the kind's, where nothing stops."""


def find_all(report, counts, problems, sentences, limits):
    """Judges a report.

    Args:
        report: what `check.make_report` has so far: `photos`, `slices`, `leaks`, `duplicate_ref_ids`, `published`,
            `objects`, `left_out`.
        counts: dict, kind -> number, of what was noted while photos were read.
        problems: list of what `Statistics.note` keeps.
        sentences: dict, slice -> `Sentences`.
        limits: `CheckConfig`.

    Returns:
        List of dicts, in the order of the page: `kind`, `level`, `title`, `meaning`, `advice`, `limit` (key and value,
        or `None`), `count`, `lines` (where they are), `stops` (one line for every limit that is passed) and `examples`
        (`message` and, where there is a picture, `photo_id`, `ref_id`, `slice`).
    """
    noted = collections.defaultdict(list)
    for problem in problems:
        noted[problem["kind"]].append({key: value for key, value in problem.items() if key != "kind"})
    for one in sentences.values():
        for kind, examples in one.examples.items():
            noted[kind] += examples
    findings = []
    for kind in KINDS:
        found = _SPECIAL.get(kind, _count)(kind, report, counts, noted[kind], limits)
        if found.count:
            findings.append(_finding(kind, found, limits))
    return sort_findings(findings)


def stop_lines(findings):
    """One line for every limit that is passed."""
    return [one_line(line) for finding in findings for line in finding["stops"]]


def warning_lines(findings):
    """One line for every finding that does not stop."""
    return [one_line(_warning(finding)) for finding in findings if not finding["stops"]]


def _finding(kind, found, limits):
    about = KINDS[kind]
    return {
        "kind": kind,
        "level": STOPS if found.stops else found.level or about.level,
        "title": about.title,
        "meaning": about.meaning,
        "advice": about.advice,
        "limit": f"data.check.{about.limit}: {getattr(limits, about.limit)}" if about.limit else None,
        "count": found.count,
        "lines": found.lines,
        "stops": found.stops,
        "examples": _different(found.examples),
    }


def _different(examples):
    """The first examples, those of further photos before further ones of a photo."""
    first, others = {}, []
    for example in examples:
        place = example.get("photo_id", example["message"])
        if place in first:
            others.append(example)
        else:
            first[place] = example
    chosen = [*first.values(), *others][:_EXAMPLES]
    return [example | {"message": one_line(example["message"])} for example in chosen]


def _warning(finding):
    first = f"; first: {finding['examples'][0]['message']}" if finding["examples"] else ""
    if finding["kind"] == "left_out":
        many = "1 object" if finding["count"] == 1 else f"{finding['count']} objects"
        return f"left out: {many}: {', '.join(finding['lines'])}{first}"
    if finding["kind"] == "leaks":
        return finding["lines"][0]
    if finding["kind"] == "unknown_words":
        return f"unknown words: {', '.join(finding['lines'])}"
    return f"{_words(finding['kind'])}: {finding['count']}{first}"


def _words(kind):
    return kind.replace("_", " ")


def _count(kind, report, counts, noted, limits):
    """Findings that are counted while photos are read, per photo or per object."""
    if kind in report["photos"]:
        limit, total = getattr(limits, KINDS[kind].limit), report["photos"]["total"]
        count = report["photos"][kind]
        stops = [_beyond(kind, count, total, limit, noted)] if count > limit * total else []
        return _Found(count, [f"{count} of {total} photos"], stops, noted)
    if kind not in (*OF_OBJECTS, "too_long_expressions"):
        return _Found(counts[kind], [], [], noted)
    lines, stops = [], []
    for name, one in report["slices"].items():
        total = one["refs"] + one["empty_masks"]
        if one[kind]:
            lines.append(f"{name}: {one[kind]}")
        if kind in _LIMITED and one[kind] > (limit := getattr(limits, KINDS[kind].limit)) * total:
            here = [example for example in noted if example.get("slice") == name]
            stops.append(f"{name}: {_beyond(kind, one[kind], total, limit, here)}")
    return _Found(sum(one[kind] for one in report["slices"].values()), lines, stops, noted)


def _beyond(kind, count, total, limit, noted):
    first = noted[0]["message"] if noted else ""
    return f"{_words(kind)}: {count} of {total}, more than data.check.max_{kind}: {limit:g}; first: {first}"


def _unknown_words(kind, report, counts, noted, limits):
    lines, stops, total = [], [], 0
    for name, one in report["slices"].items():
        share = one.get("unknown_words", 0)
        if share:
            total += one["num_unknown_words"]
            lines.append(f"{name}: {share:.1%} ({', '.join(one['most_unknown_words'])})")
        if share > limits.max_unknown_words:
            limit = f"data.check.max_unknown_words: {limits.max_unknown_words:g}"
            stops.append(f"{name}: {share:.1%} of the words are not in train ({limit})")
    return _Found(total, lines, stops, noted)


def _leaks(kind, report, counts, noted, limits):
    leaks = report["leaks"]
    if not leaks["count"]:
        return _Found(0)
    keys = ("photo_id", "same_as")
    examples = [{key: leak[key] for key in keys} | {"message": _same(leak)} for leak in leaks["photos"]]
    many = "1 photo of train stands" if leaks["count"] == 1 else f"{leaks['count']} photos of train stand"
    words = f"{many} in a held-out split too; first: {examples[0]['message']}"
    if limits.on_leak == "stop":
        return _Found(leaks["count"], [], [f"{words} (data.check.on_leak: stop)"], examples)
    done = "their train refs are left out" if limits.on_leak == "drop" else "reported alone"
    return _Found(leaks["count"], [f"{words}; {done}"], [], examples)


def _same(leak):
    same = "" if leak["same_as"] == leak["photo_id"] else f" (as {leak['same_as']}, by {leak['by']})"
    return f"{leak['photo_id']}{same}"


def _duplicate_ref_ids(kind, report, counts, noted, limits):
    found = report["duplicate_ref_ids"]
    stops = [f"a ref id stands twice in one data set: {found[0]}"] if found else []
    return _Found(len(found), found[:10], stops, noted)


def _published(kind, report, counts, noted, limits):
    lines = [
        f"{row['source']}: split {row['split']} of {row['dataset']} has {row['refs']} refs and {row['expressions']} "
        f"expressions; published are {row['published_refs']} and {row['published_expressions'] or 'unknown'}"
        for row in report["published"]
        if not row["equal"]
    ]
    stops = lines if limits.published_counts else []
    return _Found(len(lines), lines, stops, [{"message": line} for line in lines], NOTES)


def _left_out(kind, report, counts, noted, limits):
    by_reason = {}
    for row in report["left_out"]:
        one = by_reason.setdefault(row["reason"], {**row, "count": 0})
        one["count"] += row["count"]
    rows = sorted(by_reason.values(), key=lambda row: (row["meant"], -row["count"], row["reason"]))
    examples = [{"message": f"{row['reason']}: {row['first']}"} for row in rows]
    odd = [row for row in rows if not row["meant"]]
    wrong, read, stops = sum(row["count"] for row in odd), report["objects"]["read"], []
    if wrong > limits.max_left_out * read:
        reasons = ", ".join(f"{row['count']} {row['reason']}" for row in odd)
        limit = f"data.check.max_left_out: {limits.max_left_out:g}"
        stops = [f"left out: {wrong} of {read} objects, more than {limit}: {reasons}; first: {odd[0]['first']}"]
    lines = [f"{row['count']} {row['reason']}" for row in rows]
    return _Found(report["objects"]["left_out"], lines, stops, examples, WARNS if odd else NOTES)


def _unaccounted(kind, report, counts, noted, limits):
    read, kept, left_out = (report["objects"][key] for key in ("read", "kept", "left_out"))
    words = f"{read} objects were read, {kept} kept and {left_out} left out"
    return _Found(abs(read - kept - left_out), [words], [], [{"message": words}])


_SPECIAL = {
    "unknown_words": _unknown_words,
    "leaks": _leaks,
    "duplicate_ref_ids": _duplicate_ref_ids,
    "published_counts": _published,
    "left_out": _left_out,
    "unaccounted": _unaccounted,
}
