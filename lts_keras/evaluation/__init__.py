"""Judging models: scores, trivial answers, report, pictures."""
