"""The metrics and labels that PromQL expressions name."""

import re

# `rate(` and the like are known by their bracket; `sum by (...) (` has it elsewhere.
_WORDS = frozenset("and or unless on ignoring group_left group_right by without offset bool inf nan".split())
_AGGREGATIONS = frozenset("sum min max avg group stddev stdvar count count_values bottomk topk quantile".split())
_STRING = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\''


def metrics_of(expression):
    """dict from each metric that an expression names to the set of labels that it asks of it.

    Labels of a grouping (`by (...)`, `on (...)`) count for every metric of the expression, labels in braces for theirs.
    """
    found, text = {}, re.sub(_STRING, '""', expression)
    grouped = set()
    for labels in re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", text):
        grouped.update(label.strip() for label in labels.split(",") if label.strip())
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", r"\1", text)
    text = re.sub(r"\[[^\]]*\]", "", text)
    for name, braces in re.findall(
        r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()\s*(\{[^}]*\})?", _sans_braces(text)
    ):
        if name in _WORDS | _AGGREGATIONS or re.fullmatch(r"\d+[smhdwy]", name):
            continue
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))
    return {name: labels | grouped for name, labels in found.items()}


def _sans_braces(text):
    """Values of matchers away, so that no word in braces looks like a metric."""
    return re.sub(r"\{([^}]*)\}", lambda match: "{" + re.sub(r"[^=!~,\w]", "", match[1]) + "}", text)
