"""Files, work directories, versions, start-up."""
