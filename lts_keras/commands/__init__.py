"""Command lines: parse, then call the library."""
