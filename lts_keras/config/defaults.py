"""Defaults that the schema shares with code that runs without a configuration."""

__all__ = ["BATCH_SIZES", "MAX_PHOTO_PIXELS"]

BATCH_SIZES = (1, 2, 4, 8)
"""Rows that the served network runs on at a time."""
MAX_PHOTO_PIXELS = 50_000_000
"""Larger photos are refused."""
