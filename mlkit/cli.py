"""The command line: one thin verb for each thing a person does."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import mlkit
from mlkit.paths import KitError, find_checkout

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn machine learning by doing official statistics.",
    epilog="Verbs marked (checkout) work inside a clone of the repository.",
)

edit = typer.Typer(
    no_args_is_help=True, help="Check a CSV file against edit rules, find wrong fields, impute."
)
app.add_typer(edit, name="edit")

Lessons = Annotated[
    list[str] | None,
    typer.Argument(
        help="Lessons, as start/01-welcome or as the path of a master. All of them by default.",
        show_default=False,
    ),
]


@app.command()
def build(
    lessons: Lessons = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what is up to date.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; execute anew and compare.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Write and execute nothing; list what is out of date.")
    ] = False,
    solved: Annotated[
        bool, typer.Option("--solved", help="Write the solved copies to build/solved instead.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Build all, and measure time and memory anew.")
    ] = False,
) -> None:
    """Build the notebooks from their masters (checkout)."""
    from mlkit.lessons import build as builder

    root = find_checkout()
    if stale:
        _end(builder.find_stale(root), "Every notebook follows from its master.")
    masters = _masters(root, lessons)
    if solved:
        for place in builder.build_solved(masters, root / "build" / "solved"):
            typer.echo(place.relative_to(root))
    elif check:
        _end(builder.check(masters, progress=typer.echo), "Every notebook gives the same again.")
    else:
        builder.build(masters, everything=all_, measure=measure, progress=typer.echo)


@app.command(name="try")
def try_(lessons: Lessons = None) -> None:
    """Try every exercise: blank, wrong in each foreseen way, and solved (checkout)."""
    from mlkit.lessons import read_master
    from mlkit.lessons.trial import try_exercises

    faults: list[str] = []
    for path in _masters(find_checkout(), lessons):
        master = read_master(path)
        found = try_exercises(master)
        typer.echo(f"{master.key}: {f'{len(found)} faults' if found else 'every answer answered'}")
        faults += map(str, found)
    _end(faults)


@app.command()
def present(
    lesson: Annotated[str, typer.Argument(help="A lesson, as start/01-welcome.")],
    minutes: Annotated[
        int | None, typer.Option(help="Cut the lesson to this many minutes.", min=5)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write.")] = None,
) -> None:
    """Make slides with speaker notes, one file that needs no network (checkout)."""
    from mlkit.lessons import read_master
    from mlkit.lessons.slides import present as make

    root = find_checkout()
    (path,) = _masters(root, [lesson])
    master = read_master(path)
    place = out or root / "presentations" / (
        master.key.replace("/", "-") + (f"-{minutes}min" if minutes else "") + ".html"
    )
    typer.echo(make(master, out=place, minutes=minutes))


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="A plan, such as plans/first-run.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder of results; runs/ in the checkout by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Run only what is missing.")] = False,
) -> None:
    """Run lessons by a plan and report on the results (checkout)."""
    from mlkit.runs import run_command

    raise typer.Exit(run_command(plan, out, resume))


@app.command()
def data(
    name: Annotated[
        str | None, typer.Argument(help="A data set; all of them, a line each, by default.")
    ] = None,
) -> None:
    """Describe the data sets that come with the kit."""
    from mlkit.datasets import dataset_card, dataset_names

    if name is None:
        for known in dataset_names():
            card = dataset_card(known)
            typer.echo(f"{known:<24} {card.kind:<10} {card.title}")
    else:
        typer.echo(dataset_card(name))


File = Annotated[Path, typer.Argument(help="A CSV file, one record a line, names on top.")]
Rules = Annotated[Path, typer.Option("--rules", help="Edit rules, as text or YAML.")]
Out = Annotated[
    Path | None, typer.Option(help="The folder to write; it must not exist. Beside the file.")
]
Identifier = Annotated[
    str | None, typer.Option("--id", help="The column that identifies records; else the lines.")
]
Costs = Annotated[
    list[str] | None,
    typer.Option("--cost", help="What changing a field costs, as turnover=2, or =inf; else 1."),
]


@edit.command()
def check(
    file: File,
    rules: Rules,
    out: Out = None,
    identifier: Identifier = None,
    weight: Annotated[str | None, typer.Option(help="The column of design weights.")] = None,
) -> None:
    """List the rules that each record breaks."""
    from mlkit.editing import _command

    typer.echo(_command.check_file(file, rules, out, identifier=identifier, weight=weight))


@edit.command()
def localise(
    file: File,
    rules: Rules,
    out: Out = None,
    identifier: Identifier = None,
    cost: Costs = None,
) -> None:
    """List the fewest fields whose change can make each record valid."""
    from mlkit.editing import _command

    costs = _costs(cost)
    typer.echo(_command.localise_file(file, rules, out, identifier=identifier, costs=costs))


@edit.command()
def impute(
    file: File,
    rules: Rules,
    out: Out = None,
    identifier: Identifier = None,
    cost: Costs = None,
    within: Annotated[
        list[str] | None, typer.Option(help="A column that donor and recipient have in common.")
    ] = None,
) -> None:
    """Mend the file: a new one whose records keep the rules, and a list of the changes."""
    from mlkit.editing import _command

    costs, classes = _costs(cost), within or ()
    told = _command.impute_file(
        file, rules, out, identifier=identifier, costs=costs, within=classes
    )
    typer.echo(told)


def _costs(given: Iterable[str] | None) -> dict[str, float]:
    costs = {}
    for text in given or ():
        name, _, number = text.rpartition("=")
        try:
            costs[name] = float(number)
        except ValueError:
            _fail(f"--cost {text}: expected a column and a number, such as turnover=2.")
    return costs


def main() -> None:
    """Run the command line; errors that a user can mend are said without a traceback."""
    try:
        app()
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "mlkit":
            raise
        extra = "runs" if error.name == "papermill" else "lessons"
        _fail(
            f"This needs {error.name}, which is not installed. Install the kit with its extra "
            f"{extra!r}: in a checkout, python -m pip install -c constraints.txt -e '.[{extra}]'"
        )
    except (KitError, OSError) as error:
        _fail(str(error))


def _masters(root: Path, lessons: Iterable[str] | None) -> list[Path]:
    from mlkit.lessons import find_masters
    from mlkit.lessons.faults import close_match

    known = {f"{path.parent.name}/{path.stem}": path for path in find_masters(root)}
    if not lessons:
        return list(known.values())
    chosen = []
    for lesson in lessons:
        key = lesson.removesuffix(".md").removesuffix(".ipynb")
        key = "/".join(Path(key).parts[-2:])
        if key not in known:
            _fail(f"No lesson {lesson!r}.{close_match(key, known)}")
        chosen.append(known[key])
    return chosen


def _end(faults: Iterable[str], well: str = "") -> NoReturn:
    faults = list(faults)
    for fault in faults:
        typer.echo(fault, err=True)
    if not faults and well:
        typer.echo(well)
    raise typer.Exit(1 if faults else 0)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(mlkit.__version__)
        raise typer.Exit


if __name__ == "__main__":
    main()
