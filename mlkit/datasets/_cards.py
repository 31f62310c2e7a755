"""Where data sets live, what their cards say, and files that are read only if they are whole."""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import math
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mlkit.paths import KitError

__all__ = [
    "Card",
    "CardResult",
    "DataFile",
    "DatasetError",
    "checksum",
    "data_file_path",
    "dataset_card",
    "dataset_names",
    "read_data_file",
]


class DatasetError(KitError):
    """A data set is unknown, damaged, or its card is faulty."""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Attributes
    ----------
    name : str
        File name in the folder of the data set.
    bytes : int
        Size.
    sha256 : str
        Checksum, in hexadecimal.
    url : str or None
        Where it is downloaded from. None for a file that the kit brings along, and the empty
        text for one that is published nowhere in this form: it is put in place by hand, or
        comes from the mirror of an office.
    """

    name: str
    bytes: int
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class CardResult:
    """A figure that a lesson found in the data set, written by a run plan and never by hand.

    Attributes
    ----------
    lesson : str
        The lesson.
    parameters : str
        The parameters with which it ran, as far as they differ from the lesson's own.
    name, unit : str
        The figure and its unit.
    value, standard_error, low, high : float
        The figure, its standard error and the ends of its interval; NaN where there is none.
    """

    lesson: str
    parameters: str
    name: str
    unit: str
    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data set is, and what may be done with it.

    Printed, or shown in a notebook, it is a page of Markdown.

    Attributes
    ----------
    name : str
        The name by which lessons list the data set; also its folder in ``datasets``.
    title : str
        One line for people.
    kind : {"real", "simulated"}
        Simulated data support claims about methods, never about the world.
    about : str
        What it is and how it came about, as Markdown.
    population, period, size : str
        What the records stand for, when, and how many there are.
    columns : mapping of str to str
        What each column of the loaded table holds.
    defects : tuple of str
        What is known to be wrong or surprising, as Markdown.
    licence, licence_url, attribution, citation, source : str
        The terms of use, the words that must be shown, how to cite it and where it is
        from. `licence_url` and `source` may be empty for data the kit makes itself.
    files : tuple of DataFile
        The files, bundled or downloaded.
    settings : mapping of str to object
        The settings of the generator; none for real data.
    results : tuple of CardResult
        What lessons found in these data, from the file ``results.csv`` beside the card. They
        are no part of the data, so they leave the fingerprint alone.
    """

    name: str
    title: str
    kind: Literal["real", "simulated"]
    about: str
    population: str
    period: str
    size: str
    columns: Mapping[str, str]
    defects: tuple[str, ...]
    licence: str
    attribution: str
    citation: str
    licence_url: str = ""
    source: str = ""
    files: tuple[DataFile, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[CardResult, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A checksum of all the card says, the checksums of the files included.

        It changes whenever the data change, because a file that does not fit its card is
        never loaded; and when the words change, because a lesson may show them.
        """
        # A bundled file has no address, and is described as before there were addresses.
        described = asdict(
            self, dict_factory=lambda pairs: {k: v for k, v in pairs if v is not None}
        )
        del described["results"]
        content = json.dumps(described, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    def __str__(self) -> str:
        facts = {
            "Kind": f"{self.kind} data",
            "Population": self.population,
            "Period": self.period,
            "Size": self.size,
            "Licence": _link(self.licence, self.licence_url),
            "Attribution": self.attribution,
            "Citation": self.citation,
            "Source": self.source and f"<{self.source}>",
        }
        blocks = [
            f"# {self.title}",
            self.about.strip(),
            _bullets(f"**{label}:** {text}" for label, text in facts.items() if text),
            "## Columns",
            _bullets(f"`{column}`: {text}" for column, text in self.columns.items()),
        ]
        if self.defects:
            blocks += ["## Known defects", _bullets(self.defects)]
        if self.files:
            blocks += ["## Files", _bullets(map(_describe, self.files))]
        if self.settings:
            settings = (f"`{key} = {value!r}`" for key, value in self.settings.items())
            blocks += ["## Settings of the generator", _bullets(settings)]
        if self.results:
            blocks += [f"## What lessons found in these {self.kind} data", *_tables(self.results)]
        return "\n\n".join(blocks) + "\n"

    def _repr_markdown_(self) -> str:
        return str(self)


def dataset_names() -> tuple[str, ...]:
    """List the data sets that have a card, in alphabetical order.

    Returns
    -------
    tuple of str
        The names that a lesson may list under ``datasets``.

    Examples
    --------
    >>> "soc_index" in dataset_names()
    True
    """
    return tuple(sorted(card.parent.name for card in _root().glob("*/card.toml")))


def dataset_card(name: str) -> Card:
    """Read the card of a data set.

    Parameters
    ----------
    name : str
        One of :func:`dataset_names`.

    Returns
    -------
    Card
        What the data set is.

    Raises
    ------
    DatasetError
        If there is no such data set, or its card is faulty.

    Examples
    --------
    >>> card = dataset_card("soc_index")
    >>> card.kind, card.licence
    ('real', 'Open Government Licence v3.0')
    """
    names = dataset_names()
    if name not in names:
        raise DatasetError(_no_such_dataset(name, names))
    path = _root() / name / "card.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not a readable card: {error}. {_remedy(path)}") from error
    faults = _faults(content)
    if faults:
        raise DatasetError(f"{path} is faulty: {'; '.join(faults)}. {_remedy(path)}")
    content["defects"] = tuple(content["defects"])
    content["files"] = tuple(DataFile(**entry) for entry in content.get("files", []))
    content["results"] = _read_results(path.with_name("results.csv"))
    return Card(name=name, **content)


def read_data_file(card: Card, name: str) -> bytes:
    """Read a bundled file, provided it is the one its card describes.

    Parameters
    ----------
    card : Card
        The card of the data set.
    name : str
        The name of one of its files.

    Returns
    -------
    bytes
        The content.

    Raises
    ------
    DatasetError
        If the file is missing, or its content is not what the card says.
    """
    path = _root() / card.name / name
    expected = {file.name: file for file in card.files}[name]
    should_be = f"expected {expected.bytes:,} bytes with sha256 {expected.sha256}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); {should_be}. {_remedy(path)}"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected.sha256:
        raise DatasetError(
            f"{path} is damaged: it has {len(content):,} bytes with sha256 {sha256}; "
            f"{should_be}. {_remedy(path)}"
        )
    return content


def data_file_path(card: Card, name: str) -> Path:
    """Give the place of a bundled file, provided it is the one its card describes.

    For files that other libraries read by their path, such as rasters. Raises as
    :func:`read_data_file` does.
    """
    read_data_file(card, name)
    return _root() / card.name / name


def checksum(path: Path) -> str:
    """Compute the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _root() -> Path:
    """Find the folder of the data sets: in the package, else in the checkout around it."""
    package = Path(__file__).resolve().parents[1]
    in_package = package / "_data"  # pyproject.toml puts it into the wheel
    return in_package if in_package.is_dir() else package.parent / "datasets"


def _remedy(path: Path) -> str:
    root = _root()
    if root.name == "_data":
        return "Install the kit again, with pip's option --force-reinstall."
    checkout = shlex.quote(str(root.parent))
    return (
        f"Restore it with: git -C {checkout} checkout -- {path.relative_to(root.parent).as_posix()}"
    )


def _no_such_dataset(name: str, names: tuple[str, ...]) -> str:
    if not names:
        return f"The kit's data are missing: {_root()} holds no card. {_remedy(_root())}"
    close = difflib.get_close_matches(name, names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return f"There is no data set {name!r}.{guess} There are: {', '.join(names)}."


def _faults(content: Mapping[str, Any]) -> list[str]:
    """Compare the keys of a card with those of :class:`Card`."""
    known = [f for f in fields(Card) if f.name not in ("name", "results")]
    needed = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    faults = [f"the key {key!r} is missing" for key in needed if key not in content]
    unknown = content.keys() - {f.name for f in known}
    faults += [f"the key {key!r} is unknown" for key in sorted(unknown)]
    if content.get("kind", "real") not in ("real", "simulated"):
        faults.append(f"kind is {content['kind']!r}; allowed are 'real' and 'simulated'")
    entries = content.get("files", [])
    if any(file.keys() | {"url"} != {f.name for f in fields(DataFile)} for file in entries):
        faults.append("an entry of files has other keys than bytes, name, sha256 and perhaps url")
    return faults


def _describe(file: DataFile) -> str:
    facts = f"`{file.name}`: {file.bytes:,} bytes, sha256 `{file.sha256}`"
    if file.url is None:
        return facts
    origin = f"downloaded from <{file.url}>" if file.url else "no public address known"
    return f"{facts}; not bundled, {origin}"


def _read_results(path: Path) -> tuple[CardResult, ...]:
    """Read the results beside a card; most cards have none."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, restval="missing"))
    try:
        return tuple(
            CardResult(
                row["lesson"],
                row["parameters"],
                row["name"],
                row["unit"],
                *(float(row[key] or "nan") for key in ("value", "standard_error", "low", "high")),
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is no table of results: {error}. {_remedy(path)}") from error


def _tables(results: Iterable[CardResult]) -> Iterator[str]:
    """Show the results of each lesson: a row for each figure, a column for each run."""
    lessons: dict[str, list[CardResult]] = {}
    for result in results:
        lessons.setdefault(result.lesson, []).append(result)
    for lesson, found in lessons.items():
        runs = dict.fromkeys(result.parameters for result in found)
        cells = {(result.name, result.parameters): _figure(result) for result in found}
        figures = {result.name: result.unit for result in found}
        rows = [
            [name, unit, *(cells.get((name, run), "") for run in runs)]
            for name, unit in figures.items()
        ]
        head = ["figure", "unit", *(run or "as it comes" for run in runs)]
        lines = [head, ["---"] * len(head), *rows]
        yield f"Lesson {lesson}; in brackets: 95 % intervals."
        yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(result: CardResult) -> str:
    low, value, high = map(_number, (result.low, result.value, result.high))
    return f"{value} ({low} to {high})" if low and high else value


def _number(number: float) -> str:
    if math.isnan(number):
        return ""
    return f"{number:,.0f}" if abs(number) >= 100 or number.is_integer() else f"{number:.3f}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _link(text: str, url: str) -> str:
    return f"[{text}]({url})" if url else text
