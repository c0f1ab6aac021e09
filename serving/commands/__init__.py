"""What `python -m serving COMMAND` runs, one command a file."""
