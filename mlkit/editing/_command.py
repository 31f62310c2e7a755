"""The chain from a file to an edited file, for the command line: check, localise, impute."""

from __future__ import annotations

import csv
import html
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit.editing._adjust import adjust_to_rules
from mlkit.editing._deductive import impute_deductive
from mlkit.editing._donor import impute_from_donors
from mlkit.editing._grammar import LinearAtom, did_you_mean
from mlkit.editing._localise import localise_errors
from mlkit.editing._rules import EditRule, EditRules, Variable
from mlkit.editing._systematic import correct_systematic_errors
from mlkit.estimate import Design
from mlkit.paths import KitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.editing._imputation import Imputation

    Mask = NDArray[np.bool_]

_SEPARATORS = ",;\t"
_MARK = "\ufeff"
_NO_NUMBER = ("", "NA", "NaN", "nan", ".")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")

Part = tuple[str, str]  # a file's name and what stands in it


@dataclass(frozen=True)
class Survey:
    """A file of records, as it stands there and as values.

    Attributes
    ----------
    text : DataFrame of str
        The file, with the record identifiers as index.
    frame : DataFrame
        The same, with the variables of the rules as numbers, truth values and categories.
    rules : EditRules
        The rules.
    separator : str
        What stands between the values of the file.
    decimal : str
        What stands before the decimals of its numbers.
    identifier : str
        The column of identifiers; "line" if they are the lines of the file.
    mark : str
        The byte order mark that Excel puts in front of UTF-8; empty if there is none.
    line_end : str
        What ends the lines of the file.
    """

    text: pd.DataFrame
    frame: pd.DataFrame
    rules: EditRules
    separator: str
    decimal: str
    identifier: str
    mark: str
    line_end: str


def check_file(
    file: Path, rules: Path, out: Path | None, *, identifier: str | None, weight: str | None
) -> str:
    """Say which rules the records of a file break."""
    with _as_advice():
        survey = read_survey(file, rules, identifier)
        design = None if weight is None else Design(weights=_read_weights(survey, weight))
        check = survey.rules.check(survey.frame, design=design)
        folder = _write(
            out or file.with_name(f"{file.stem}-checked"),
            [
                ("broken-rules.csv", _as_csv(check.broken_rules(), survey)),
                ("report.html", _page(file, {"Rules": check})),
            ],
        )
    told = f"{check.failing.sum():,} of {len(survey.frame):,} records break a hard rule, "
    told += f"{check.undecided.sum():,} more cannot be judged for missing values."
    return f"{told}\n{folder}"


def localise_file(
    file: Path,
    rules: Path,
    out: Path | None,
    *,
    identifier: str | None,
    costs: Mapping[str, float],
) -> str:
    """Say which fields of a file must change."""
    with _as_advice():
        survey = read_survey(file, rules, identifier)
        found = localise_errors(survey.frame, survey.rules, weights=costs or None)
        table = found.to_frame()
        table = table[table["status"] != "valid"]
        table = table.rename_axis("record").reset_index()
        folder = _write(
            out or file.with_name(f"{file.stem}-localised"),
            [
                ("fields.csv", _as_csv(table, survey)),
                (
                    "report.html",
                    _page(
                        file,
                        {"Rules": survey.rules.check(survey.frame), "Fields to change": found},
                    ),
                ),
            ],
        )
    counts = found.status.value_counts()
    told = ", ".join(f"{n:,} {status}" for status, n in counts.items())
    fields = int(found.fields.to_numpy().sum())
    return f"{told}; {fields:,} fields to change or fill in.\n{folder}"


def impute_file(
    file: Path,
    rules: Path,
    out: Path | None,
    *,
    identifier: str | None,
    costs: Mapping[str, float],
    within: Sequence[str],
) -> str:
    """Edit and impute a file: systematic errors, localisation, imputation that keeps the rules."""
    with _as_advice():
        survey = read_survey(file, rules, identifier)
        for name in within:
            _known_column(name, survey)
        before = survey.rules.check(survey.frame)
        steps, frame, methods = _impute(survey, costs, within)
        after = survey.rules.check(frame)
        # A record that could not be mended is left as it came, for a clerk.
        changes = _changes(survey, frame, methods)
        left = after.failing | after.undecided
        clerk = pd.DataFrame(
            {
                "record": frame.index[left],
                "status": np.where(after.failing[left], "breaks a hard rule", "not complete"),
            }
        )
        folder = _write(
            out or file.with_name(f"{file.stem}-imputed"),
            [
                ("edited.csv", _edited_text(survey, changes)),
                ("changes.csv", _as_csv(changes, survey)),
                ("for-a-clerk.csv", _as_csv(clerk, survey)),
                (
                    "report.html",
                    _page(file, {"Rules before": before, **steps, "Rules after": after}),
                ),
            ],
        )
    told = f"{len(changes):,} values changed or filled in. Records that break a hard rule: "
    told += f"{before.failing.sum():,} before, {after.failing.sum():,} now; "
    return f"{told}{left.sum():,} left for a clerk.\n{folder}"


def _impute(
    survey: Survey, costs: Mapping[str, float], within: Sequence[str]
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Run the steps; give their results, the data, and the method of each changed cell."""
    rules, names = survey.rules, [v.name for v in survey.rules.variables]
    systematic = correct_systematic_errors(survey.frame, rules)
    found = localise_errors(systematic.frame, rules, weights=costs or None)
    methods = pd.DataFrame("", survey.frame.index, names, dtype=object)
    methods[systematic.changed[names]] = "systematic error"

    # The fields hold values that the rules refute, so nothing below may read them.
    frame, fields = _emptied(systematic.frame, found.fields), found.fields
    steps: dict[str, Any] = {"Systematic errors": systematic, "Fields to change": found}

    def take(title: str, step: Imputation, method: str) -> None:
        nonlocal frame, fields
        frame, fields = step.frame, fields & ~step.changed[names]
        methods[step.changed[names]] = method
        steps[title] = step

    take(
        "What follows from the rules",
        impute_deductive(frame, rules, fields),
        "follows from the rules",
    )
    numbers = [v.name for v in rules.variables if v.numeric]
    if fields.to_numpy().any() and numbers:
        options: dict[str, Any] = {"match_on": numbers, "within": within}
        take("Donors", impute_from_donors(frame, rules, fields, **options), "donor")
    if fields.to_numpy().any() and numbers:
        # A donor's amounts seldom add up to the recipient's totals: first without the balances.
        free = rules.without(*(rule.name for rule in rules if _is_balance(rule)))
        moved = fields.copy()
        if len(free.hard):
            donors = impute_from_donors(frame, free, fields, **options)
            take("Donors, balances left aside", donors, "donor, adjusted")
        adjusted = adjust_to_rules(frame, rules, moved & ~fields)
        take("Adjusted to the balances", adjusted, "donor, adjusted")
    return steps, _restored(frame, survey, fields, rules), methods


def _is_balance(rule: EditRule) -> bool:
    return rule.linear and any(
        isinstance(atom, LinearAtom) and atom.operator == "=="
        for clause in rule.clauses
        for atom in clause
    )


def _emptied(frame: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    """Take away the values of fields."""
    frame = frame.copy()
    for name in fields:
        where = fields[name].to_numpy()
        if where.any():
            column = frame[name]
            if column.dtype == bool:
                column = column.astype("boolean")
            elif pd.api.types.is_integer_dtype(column.dtype):
                column = column.astype("float64")
            frame[name] = column.mask(where)
    return frame


def _restored(
    frame: pd.DataFrame, survey: Survey, fields: pd.DataFrame, rules: EditRules
) -> pd.DataFrame:
    """Give records that could not be mended their own values again."""
    check = rules.check(frame)
    left = fields.to_numpy().any(axis=1) | check.failing
    frame = frame.copy()
    for name in fields:
        frame[name] = frame[name].astype(object).where(~left, survey.frame[name].astype(object))
        frame[name] = frame[name].infer_objects()
        if pd.api.types.is_bool_dtype(survey.frame[name].dtype):
            frame[name] = frame[name].astype("boolean")
    return frame


# --- reading ---------------------------------------------------------------------------------


def read_survey(file: Path, rules: Path, identifier: str | None) -> Survey:
    """Read records and rules; refuse what does not fit together."""
    read = EditRules.from_file(rules)
    content = _read_text(file)
    mark, content = content[: content.startswith(_MARK)], content.removeprefix(_MARK)
    line_end = "\r\n" if content.partition("\n")[0].endswith("\r") else "\n"
    separator, text = _read_table(content, file.name)
    if identifier is not None and identifier not in text:
        raise ValueError(f"{file.name} has no column {identifier!r} to identify records by.")
    for variable in read.variables:
        if variable.name not in text:
            raise ValueError(
                f"{file.name} has no column {variable.name!r}, which the rules name."
                f"{did_you_mean(variable.name, text.columns.tolist())}"
            )
    numbers = [v.name for v in read.variables if v.numeric]
    decimal = _decimal(text[numbers], separator)
    frame = text.copy()
    for variable in read.variables:
        frame[variable.name] = _values(text[variable.name], variable, decimal, file.name)
    if identifier is not None:
        text.index = frame.index = pd.Index(text[identifier], name=identifier)
    return Survey(text, frame, read, separator, decimal, identifier or "line", mark, line_end)


def _read_text(file: Path) -> str:
    if not file.is_file():
        raise ValueError(f"There is no file {file}. Give the path of a CSV file.")
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is not UTF-8. In Excel, save it as 'CSV UTF-8'.") from None


def _read_table(content: str, file: str) -> tuple[str, pd.DataFrame]:
    first = content.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    names = [
        name.strip().strip('"') for name in first.rstrip("\r").split(separator) if name.strip()
    ]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{file} has the column {min(twice)!r} more than once.")
    try:
        table = pd.read_csv(
            io.StringIO(content), sep=separator, dtype="str", na_filter=False, index_col=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
        raise ValueError(f"{file} is no table: {fault}.") from None
    if not len(table):
        raise ValueError(f"{file} has no records below its line of names.")
    table.index = pd.Index(_lines(content, separator), name="line")
    return separator, table.rename(columns=str.strip)


def _lines(content: str, separator: str) -> list[int]:
    """Give the line where each record begins: lines may be blank, and texts have several."""
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    lines, before = [], 0
    for row in rows:
        if len(row) > 1 or any(map(str.strip, row)):
            lines.append(before + 1)
        before = rows.line_num
    return lines[1:]


def _decimal(numbers: pd.DataFrame, separator: str) -> str:
    """Tell a decimal comma: only where commas do not separate values, and no point is used."""
    if separator == ",":
        return "."
    has = {mark: any(numbers[name].str.contains(mark, regex=False).any() for name in numbers)
           for mark in ",."}  # fmt: skip
    return "," if has[","] and not has["."] else "."


def _values(text: pd.Series[Any], variable: Variable, decimal: str, file: str) -> pd.Series[Any]:
    words = text.str.strip()
    if variable.kind == "category":
        return words.mask(words == "")
    if variable.kind == "boolean":
        lower = words.str.lower()
        values: pd.Series[Any] = lower.isin(_TRUE).astype("boolean").mask(lower == "")
        odd = ~lower.isin([*_TRUE, *_FALSE, ""])
        wanted = "true or false, yes or no, 1 or 0, or nothing"
    else:
        empty = words.isin(_NO_NUMBER)
        values = pd.to_numeric(words.mask(empty).str.replace(decimal, "."), errors="coerce")
        values = values.astype("float64")
        odd = (values.isna() | np.isinf(values)) & ~empty
        wanted = "a number, or nothing"
    if odd.any():
        place = int(np.flatnonzero(odd)[0])
        raise ValueError(
            f"{file}, line {text.index[place]}, {variable.name}: {text.iloc[place]!r}. By the "
            f"rules this column holds {wanted}. ({int(odd.sum()):,} values are not.)"
        )
    return values


def _known_column(name: str, survey: Survey) -> None:
    if name not in survey.text:
        raise ValueError(
            f"There is no column {name!r}.{did_you_mean(name, survey.text.columns.tolist())}"
        )


def _read_weights(survey: Survey, name: str) -> NDArray[np.float64]:
    _known_column(name, survey)
    decimal = _decimal(survey.text[[name]], survey.separator)
    found = _values(survey.text[name], Variable(name, "number"), decimal, "The file")
    return found.to_numpy(dtype=np.float64)


# --- writing ---------------------------------------------------------------------------------


def _changes(survey: Survey, frame: pd.DataFrame, methods: pd.DataFrame) -> pd.DataFrame:
    """List the cells whose value is another one now."""
    parts = []
    for name in methods:
        old, new = survey.frame[name], frame[name]
        same = (old == new).fillna(False).astype(bool) | (old.isna() & new.isna())
        which = np.flatnonzero(~same.to_numpy())
        parts.append(
            pd.DataFrame(
                {
                    "record": frame.index[which],
                    "field": name,
                    "before": survey.text[name].iloc[which].to_numpy(),
                    "after": [_written(value, survey.decimal) for value in new.iloc[which]],
                    "method": methods[name].iloc[which].to_numpy(),
                    "row": which,
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values("row", kind="stable", ignore_index=True)


def _written(value: Any, decimal: str) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | float | np.number):
        number = float(value)
        text = str(int(number)) if number.is_integer() else repr(number)
        return text.replace(".", decimal)
    return str(value)


def _edited_text(survey: Survey, changes: pd.DataFrame) -> str:
    """Write the file again, with nothing else changed in it."""
    text = survey.text.copy()
    for name, rows in changes.groupby("field"):
        column = text[name].to_numpy(dtype=object, copy=True)
        column[rows["row"].to_numpy()] = rows["after"].to_numpy()
        text[name] = column
    return _csv(text, survey)


def _as_csv(table: pd.DataFrame, survey: Survey) -> str:
    table = table.drop(columns="row", errors="ignore").rename(columns={"record": survey.identifier})
    return _csv(table, survey)


def _csv(table: pd.DataFrame, survey: Survey) -> str:
    """Write a table as the file is written."""
    return survey.mark + table.to_csv(
        index=False, sep=survey.separator, lineterminator=survey.line_end
    )


def _page(file: Path, results: Mapping[str, Any]) -> str:
    title = f"Editing report: {html.escape(file.name)}"
    parts = "\n".join(
        f"<section><h2>{name}</h2>{result._repr_html_()}</section>"
        for name, result in results.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n{parts}\n</body>\n</html>\n"
    )


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #222; }
section { margin: 2rem 0; overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; }
"""


def _write(folder: Path, parts: Sequence[Part]) -> Path:
    """Write all files or none, into a folder that does not exist yet."""
    if folder.exists():
        raise ValueError(
            f"{folder} exists already, and nothing is overwritten. Choose another folder with "
            "--out, or move it away."
        )
    if not folder.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {folder.absolute().parent} to write to.")
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    try:
        for name, content in parts:
            (beside / name).write_text(content, encoding="utf-8", newline="")
        beside.chmod(0o777 & ~_umask())
        beside.replace(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return folder


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _as_advice() -> Iterator[None]:
    """Give what the library refuses to the user as advice, without a traceback."""
    try:
        yield
    except (ValueError, TypeError) as fault:
        raise KitError(str(fault)) from fault


__all__ = ["check_file", "impute_file", "localise_file"]
