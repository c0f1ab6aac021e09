"""validate_data: stops the run on data that would spoil it."""

SECTIONS = ("data",)
OUTPUTS = ("data/check/report.json",)


def run(config, workdir):
    """Checks the records and holds the findings against `data.check`; returns a line for the console.

    Raises:
        DataError: a damaged record, or the first finding beyond its threshold.
    """
    from lts_keras.data.checks.check import validate

    report = validate(config, workdir)
    return f"{len(report['warnings'])} warnings, page in data/check/report.html"
