"""Findings about data: statistics, what stops the pipeline, the page."""
