"""`lts table`: work directories beside the paper's numbers."""

from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.evaluation.table_files import check_ending, render_tables
from lts_keras.evaluation.table_runs import read_runs
from lts_keras.evaluation.tables import make_sheets
from lts_keras.utils.files import atomic_write

__all__ = ["add_table_arguments", "write_table"]


def add_table_arguments(parser):
    """Adds the command's arguments to an `argparse.ArgumentParser`."""
    parser.add_argument(
        "workdirs",
        nargs="*",
        type=Path,
        metavar="W",
        help="work directories with an evaluation; their model.variant says which row they are",
    )
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="NAME=W1,W2",
        help="puts work directories into a row, such as table5_filters_2, whatever their configuration says",
    )
    parser.add_argument("--tables", default="", metavar="N,N", help="only these of the paper's tables (default: all)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a .md, .csv or .html file")
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")


def write_table(workdirs, rows=(), tables="", output=Path("table.md")):
    """Writes the tables.

    Args:
        workdirs: list of `Path`.
        rows: list of str `NAME=W1,W2`.
        tables: str, numbers with commas between them; empty for all.
        output: path of the file.

    Returns:
        Path of the file.

    Raises:
        ConfigError: nothing to read, a damaged or missing evaluation, an unknown row, table or ending.
    """
    check_ending(output)
    numbers = _numbers(tables)
    given = [(Path(path), None) for path in workdirs]
    for row in rows:
        name, equals, paths = row.partition("=")
        if not equals or not name or not all(paths.split(",")):
            raise ConfigError(f"--row has the form NAME=WORKDIR,WORKDIR. Received: {row}")
        given += [(Path(path), name) for path in paths.split(",")]
    if not given:
        raise ConfigError("give a work directory or more, or --row NAME=WORKDIR")
    # A directory that is named in a row is not read twice.
    named = {path.resolve() for path, name in given if name}
    given = [(path, name) for path, name in dict.fromkeys(given) if name or path.resolve() not in named]
    runs = [run for path, name in given for run in read_runs(path, name)]
    sheets, notes = make_sheets(runs, numbers)
    atomic_write(output, render_tables(sheets, notes, Path(output).suffix))
    for note in notes:
        print(f"note: {note}")
    placed = {path for sheet in sheets for line in sheet.lines for path in line.runs}
    print(f"table: {output} ({len(placed)} of {len(runs)} evaluations in {len(sheets)} tables)")
    return Path(output)


def _numbers(tables):
    known = {str(number) for number in range(1, 8)}
    numbers = [number.strip() for number in tables.split(",")] if tables else []
    for number in numbers:
        if number not in known:
            raise ConfigError(f"--tables: the paper has tables 1 to 7. Received: {number}")
    return [int(number) for number in numbers]
