"""Statistical classifications: codes, their parents and their titles.

A parent is looked up, never cut out of a code: the section of division "01" in NACE is "A".
"""

from __future__ import annotations

import difflib
import html
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Classification"]

Unknown: TypeAlias = Literal["raise", "missing"]

# In arrays of positions: the place behind the last code, where every label is missing.
_NOWHERE = -1


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """A classification: a tree of codes, with titles and named levels.

    Make one with :meth:`from_table` or :meth:`from_levels`. It may be ragged: a code of any
    level may be without codes below it.

    **Codes.** Every method that takes `codes` accepts one code, or any number of them in a
    list, array (of any shape) or Series; strings of every pandas and NumPy type, categoricals,
    and whole numbers, which stand for their digits. A number that could also be a code whose
    leading zeros were lost is refused.

    **Answers.** One code gives one answer, a Series gives a Series with the same index, and
    anything else an object array of the same shape. Where there is no answer, such as the
    parent of a code at the top, it is missing: NaN in a Series, else None.

    **Unknown codes.** A code that the classification does not have, and a missing one, raise
    a ValueError that names some of them. With ``unknown="missing"`` their answer is missing
    instead.

    Attributes
    ----------
    name : str
        Such as "SOC 2010".
    levels : tuple of str
        The names of the levels, from the top down.

    Examples
    --------
    >>> import pandas as pd
    >>> nace = Classification.from_table(
    ...     pd.DataFrame(
    ...         {
    ...             "code": ["A", "01", "01.1", "B", "05"],
    ...             "parent": ["", "A", "01", "", "B"],
    ...             "title": ["Agriculture", "Crops", "Non-perennial crops", "Mining", "Coal"],
    ...         }
    ...     ),
    ...     code="code",
    ...     parent="parent",
    ...     title="title",
    ...     name="a piece of NACE",
    ...     levels=["section", "division", "group"],
    ... )
    >>> nace
    Classification(a piece of NACE: 2 section, 2 division, 1 group)
    >>> nace.at_level(["01.1", "05", "B"], "section")
    array(['A', 'B', 'B'], dtype=object)
    >>> nace.ancestors("01.1")
    ('A', '01')
    """

    name: str
    levels: tuple[str, ...]
    # One place per code, in the order of the table, and one more for "nowhere".
    _codes: NDArray[np.object_]
    _titles: NDArray[np.object_]
    _parents: NDArray[np.intp]
    _depths: NDArray[np.intp]
    # Row: level; column: place of a code. The place of its ancestor (or itself) on that level.
    _paths: NDArray[np.intp] = field(init=False)
    _places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        paths = np.full((len(self.levels), len(self._codes)), _NOWHERE, dtype=np.intp)
        everyone = np.arange(len(self))
        step = everyone
        for _ in self.levels:  # each step climbs one level; whoever is above the top stays out
            paths[self._depths[step], everyone] = step
            climbed = self._parents[step]
            everyone, step = everyone[climbed != _NOWHERE], climbed[climbed != _NOWHERE]
        object.__setattr__(self, "_paths", paths)
        object.__setattr__(self, "_places", {c: i for i, c in enumerate(self._codes[:-1])})

    @classmethod
    def from_table(
        cls,
        frame: pd.DataFrame,
        *,
        code: str,
        parent: str,
        title: str,
        name: str,
        levels: Sequence[str] | None = None,
    ) -> Classification:
        """Make a classification from a table with one row per code.

        Parameters
        ----------
        frame : DataFrame
            The table. The order of its rows is kept; parents may stand below their children.
        code, parent, title : str
            Its columns. Codes are text, or whole numbers, which are turned into text. A code
            at the top has a missing or empty parent.
        name : str
            The name of the classification.
        levels : sequence of str, optional
            The names of the levels, from the top down; "level 1", "level 2", ... by default.

        Returns
        -------
        Classification
            The classification.

        Raises
        ------
        ValueError
            If the table is no classification: with every fault found, such as codes that
            are missing or double, parents that are no codes, and circles.
        """
        _require_columns(frame, [code, parent, title])
        faults: list[str] = []
        codes = _texts(frame[code], faults)
        parents = _texts(frame[parent], faults)
        return _build(name, codes, parents, _texts(frame[title], faults), levels, faults)

    @classmethod
    def from_levels(
        cls, frame: pd.DataFrame, *, levels: Sequence[str], title: str, name: str
    ) -> Classification:
        """Make a classification from an indented table, as offices print them.

        Each row has its code in the column of its level and nothing in the columns of the
        other levels. Its parent is the nearest code above it in the column to the left.

        Parameters
        ----------
        frame : DataFrame
            The table, in the order of the classification.
        levels : sequence of str
            Its columns with codes, from the top down; also the names of the levels.
        title : str
            Its column with titles.
        name : str
            The name of the classification.

        Returns
        -------
        Classification
            The classification.

        Raises
        ------
        ValueError
            If the table is no classification: with every fault found.

        Examples
        --------
        >>> import pandas as pd
        >>> table = pd.DataFrame(
        ...     {
        ...         "major": ["1", "", "", "2"],
        ...         "minor": ["", "11", "12", ""],
        ...         "title": ["Managers", "Corporate", "Other", "Professionals"],
        ...     }
        ... )
        >>> Classification.from_levels(table, levels=["major", "minor"], title="title", name="Jobs")
        Classification(Jobs: 2 major, 2 minor)
        """
        _require_columns(frame, [*levels, title])
        faults: list[str] = []
        columns = np.column_stack([_texts(frame[level], faults) for level in levels])
        codes, parents = _unindent(columns, frame.index, levels, faults)
        return _build(name, codes, parents, _texts(frame[title], faults), levels, faults)

    def codes(self, level: str) -> NDArray[np.object_]:
        """List the codes of one level, in the order of the classification.

        Parameters
        ----------
        level : str
            One of :attr:`levels`.

        Returns
        -------
        ndarray of str
            The codes.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        return np.compress(self._depths == self._depth(level), self._codes)

    def at_level(
        self, codes: ArrayLike | pd.Series[Any], level: str, *, unknown: Unknown = "raise"
    ) -> Any:
        """Find the ancestor of each code at a level; a code of that level is its own.

        Parameters
        ----------
        codes : str, array-like or Series
            Codes of any level. A code above the level asked for has no answer: it is missing.
        level : str
            One of :attr:`levels`.
        unknown : {"raise", "missing"}, default="raise"
            What to do with codes that the classification does not have.

        Returns
        -------
        str, ndarray of str or Series
            The codes at the level.

        Raises
        ------
        ValueError
            If there is no such level, or a code is unknown.
        TypeError
            If the codes are neither text nor whole numbers.
        """
        path = self._paths[self._depth(level)]
        return _answer(codes, self._codes, path[self._find(codes, unknown)])

    def parent(self, codes: ArrayLike | pd.Series[Any], *, unknown: Unknown = "raise") -> Any:
        """Find the parent of each code; codes at the top have none.

        Parameters
        ----------
        codes : str, array-like or Series
            Codes of any level.
        unknown : {"raise", "missing"}, default="raise"
            What to do with codes that the classification does not have.

        Returns
        -------
        str, ndarray of str or Series
            The parents' codes.

        Raises
        ------
        ValueError
            If a code is unknown.
        TypeError
            If the codes are neither text nor whole numbers.
        """
        return _answer(codes, self._codes, self._parents[self._find(codes, unknown)])

    def level_of(self, codes: ArrayLike | pd.Series[Any], *, unknown: Unknown = "raise") -> Any:
        """Say on which level each code lies.

        Parameters
        ----------
        codes : str, array-like or Series
            Codes of any level.
        unknown : {"raise", "missing"}, default="raise"
            What to do with codes that the classification does not have.

        Returns
        -------
        str, ndarray of str or Series
            The names of the levels.

        Raises
        ------
        ValueError
            If a code is unknown.
        TypeError
            If the codes are neither text nor whole numbers.
        """
        levels = np.array([*self.levels, None], dtype=object)
        return _answer(codes, levels, self._depths[self._find(codes, unknown)])

    def title(self, codes: ArrayLike | pd.Series[Any], *, unknown: Unknown = "raise") -> Any:
        """Find the title of each code.

        Parameters
        ----------
        codes : str, array-like or Series
            Codes of any level.
        unknown : {"raise", "missing"}, default="raise"
            What to do with codes that the classification does not have.

        Returns
        -------
        str, ndarray of str or Series
            The titles.

        Raises
        ------
        ValueError
            If a code is unknown.
        TypeError
            If the codes are neither text nor whole numbers.
        """
        return _answer(codes, self._titles, self._find(codes, unknown))

    def ancestors(self, code: str | int) -> tuple[str, ...]:
        """List the ancestors of one code, from the top down.

        Parameters
        ----------
        code : str or int
            A code of any level.

        Returns
        -------
        tuple of str
            The codes above it; none for a code at the top.

        Raises
        ------
        ValueError
            If the code is unknown.
        """
        place = self._find(code, "raise").item()
        return tuple(self._codes[self._paths[: self._depths[place], place]])

    def children(self, code: str | int) -> tuple[str, ...]:
        """List the codes directly below one code, in the order of the classification.

        Parameters
        ----------
        code : str or int
            A code of any level.

        Returns
        -------
        tuple of str
            The codes below it; none for a code without any.

        Raises
        ------
        ValueError
            If the code is unknown.
        """
        place = self._find(code, "raise").item()
        return tuple(self._codes[self._parents == place])

    def to_frame(self) -> pd.DataFrame:
        """Write the classification as a table.

        Returns
        -------
        DataFrame
            One row per code, with the columns `code`, `level`, `parent` (missing at the top)
            and `title`.
        """
        codes = pd.Series(self._codes[:-1], dtype="str")
        return pd.DataFrame(
            {
                "code": codes,
                "level": self.level_of(codes),
                "parent": self.parent(codes),
                "title": self.title(codes),
            }
        )

    def __contains__(self, code: object) -> bool:
        try:
            return self._place(code, self._by_number(code)) != _NOWHERE
        except (TypeError, ValueError):
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes[:-1].tolist())

    def __len__(self) -> int:
        return len(self._codes) - 1

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.codes(level))} {level}" for level in self.levels)
        return f"Classification({self.name}: {counts})"

    def _repr_html_(self) -> str:
        rows = []
        for level in self.levels:
            codes = self.codes(level)
            example = f"{codes[0]} {self.title(codes[0])}"
            cells = (level, f"{len(codes):,}", example)
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return (
            f"<p><strong>{html.escape(self.name)}</strong>, {len(self):,} codes</p>"
            "<table><thead><tr><th>level</th><th>codes</th><th>the first of them</th></tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )

    def _depth(self, level: str) -> int:
        if level not in self.levels:
            raise ValueError(
                f"{self.name} has no level {level!r}; its levels are "
                f"{', '.join(map(repr, self.levels))}."
            )
        return self.levels.index(level)

    def _find(self, codes: Any, unknown: Unknown) -> NDArray[np.intp]:
        """Find the places of codes: an array of their shape, `_NOWHERE` for unknown ones."""
        if unknown not in ("raise", "missing"):
            raise ValueError(f"unknown={unknown!r}; allowed are 'raise' and 'missing'.")
        values = _as_array(codes)
        # A million codes hold some hundred different ones: only those are looked up.
        number, different = pd.factorize(values if values.ndim == 1 else values.ravel())
        by_number = self._by_number(*different)
        places = [self._place(value, by_number) for value in different]
        found = np.array([*places, _NOWHERE], dtype=np.intp)[number]
        if unknown == "raise" and (found == _NOWHERE).any():
            strangers = [v for v, p in zip(different, places, strict=True) if p == _NOWHERE]
            raise ValueError(self._explain_unknown(strangers, number, found))
        return found.reshape(values.shape)

    def _place(self, value: object, by_number: dict[int, list[str]]) -> int:
        """Find the place of one code; `_NOWHERE` if it is unknown."""
        if isinstance(value, str):
            return self._places.get(value, _NOWHERE)
        if not _is_whole_number(value):
            raise TypeError(
                f"A code is text, such as {self._codes[0]!r}, or a whole number; given {value} "
                f"({type(value).__name__}). A column of numbers with gaps turns into decimals: "
                "read it as text, with dtype='str'."
            )
        readings = by_number.get(int(str(value)), [])
        if not readings:
            return _NOWHERE
        if readings != [str(value)]:
            raise ValueError(
                f"The number {value} may stand for {' or '.join(map(repr, readings))}: numbers "
                "lose the leading zeros of codes. Read codes as text, with dtype='str'."
            )
        return self._places[str(value)]

    def _by_number(self, *values: object) -> dict[int, list[str]]:
        """Group the codes by the number they show, if any of the values is a number."""
        groups: dict[int, list[str]] = {}
        if any(_is_whole_number(value) for value in values):
            for code in filter(str.isdecimal, self):
                groups.setdefault(int(code), []).append(code)
        return groups

    def _explain_unknown(
        self, strangers: list[Any], number: NDArray[np.intp], found: NDArray[np.intp]
    ) -> str:
        absent = int((number == -1).sum())
        named = []
        for stranger in strangers[:5]:
            shown = repr(str(stranger)) if isinstance(stranger, str) else str(stranger)
            close = difflib.get_close_matches(str(stranger), self._places)
            named.append(f"{shown} (close to {' or '.join(map(repr, close))})" if close else shown)
        named += [f"{len(strangers) - 5:,} more"] if len(strangers) > 5 else []
        named += [f"missing values ({absent:,})"] if absent else []
        return (
            f"{int((found == _NOWHERE).sum()):,} of {len(found):,} codes unknown to {self.name}: "
            f"{', '.join(named)}. It has {len(self):,} codes, such as "
            f"{', '.join(repr(self.codes(level)[0]) for level in self.levels)}. "
            "Correct the codes; methods for many codes also take unknown='missing'."
        )


def _as_array(codes: Any) -> Any:
    """Make something of codes that has a shape and that pandas can factorise."""
    if isinstance(codes, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)):
        return codes
    # As objects, or a list of texts and numbers would become all texts.
    values = np.array(codes, dtype=object)
    if values.ndim == 0 and isinstance(codes, Iterable) and not isinstance(codes, (str, bytes)):
        raise TypeError(f"Give codes as a list, array or Series; given a {type(codes).__name__}.")
    return values


def _answer(codes: Any, labels: NDArray[np.object_], places: NDArray[np.intp]) -> Any:
    """Pick the labels at places, in the form in which the codes were given."""
    if isinstance(codes, pd.Series):
        picked = pd.array(labels.tolist(), dtype="str").take(places)
        return pd.Series(picked, index=codes.index, name=codes.name)
    return labels[places]


def _build(
    name: str,
    codes: NDArray[np.object_],
    parents: NDArray[np.object_],
    titles: NDArray[np.object_],
    levels: Sequence[str] | None,
    faults: list[str],
) -> Classification:
    """Check a table of codes, and make a classification of it."""
    places = {code: place for place, code in enumerate(codes) if code is not None}
    above = np.array([places.get(parent, _NOWHERE) for parent in parents] + [_NOWHERE], np.intp)
    depths = _depths(above)
    faults += _table_faults(codes, parents, titles, places)
    faults += _circles(codes, above, depths)
    height = int(depths.max(initial=-1)) + 1
    if levels is None:
        levels = [f"level {number}" for number in range(1, height + 1)]
    # Depths mean little while codes or parents are wrong.
    if not faults and len(levels) != height:
        faults.append(f"{len(levels)} levels are named, but the codes form {height}")
    if len(set(levels)) < len(levels):
        faults.append(f"the levels {', '.join(map(repr, levels))} are not all different")
    if faults:
        listed = [*faults[:50], f"and {len(faults) - 50:,} more"] if len(faults) > 50 else faults
        raise ValueError("\n- ".join([f"The table of {name!r} is no classification:", *listed]))
    return Classification(
        name, tuple(levels), _with_nowhere(codes), _with_nowhere(titles), above, depths
    )


def _depths(above: NDArray[np.intp]) -> NDArray[np.intp]:
    """Count the codes above each code; -1 for nowhere, and for codes in or below a circle."""
    depths = np.where(above == _NOWHERE, 0, -1)
    depths[-1] = -1
    depth = 0
    while (depths == depth).any():
        below = (above != _NOWHERE) & (depths[above] == depth)
        depth += 1
        depths[below] = depth
    return depths


def _table_faults(
    codes: NDArray[np.object_],
    parents: NDArray[np.object_],
    titles: NDArray[np.object_],
    places: dict[str, int],
) -> list[str]:
    if not len(codes):
        return ["there are no codes"]
    named = pd.Series(codes).dropna()
    faults = []
    if len(named) < len(codes):
        faults.append(f"{len(codes) - len(named):,} rows have no code")
    faults += [
        f"the code {code!r} stands there {int((codes == code).sum())} times"
        for code in named[named.duplicated()].unique()
    ]
    for code, parent, title in zip(codes, parents, titles, strict=True):
        if code is None:
            continue
        if parent is not None and parent not in places:
            faults.append(f"the parent of {code!r} is {parent!r}, which is no code of the table")
        if title is None:
            faults.append(f"{code!r} has no title")
        if code != code.strip():
            faults.append(f"{code!r} has blanks around it")
    return faults


def _circles(
    codes: NDArray[np.object_], above: NDArray[np.intp], depths: NDArray[np.intp]
) -> list[str]:
    """Describe each circle of codes that are their own ancestors."""
    faults = []
    seen: set[int] = set()
    for start in np.flatnonzero(depths[:-1] == -1).tolist():
        walk: list[int] = []
        while start not in seen:
            seen.add(start)
            walk.append(start)
            start = int(above[start])
        if start in walk:  # else the walk ended in one that was described before
            circle = [*walk[walk.index(start) :], start]
            faults.append("a circle of parents: " + " -> ".join(repr(codes[i]) for i in circle))
    return faults


def _unindent(
    columns: NDArray[np.object_], labels: pd.Index[Any], levels: Sequence[str], faults: list[str]
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Read codes and parents off columns of which each row fills one."""
    filled = columns != None  # noqa: E711 - for each element
    counts = zip(labels, filled.sum(axis=1).tolist(), strict=True)
    faults += [
        f"row {row!r} has {count} codes instead of one" for row, count in counts if count != 1
    ]
    rows = np.arange(len(columns))
    depth = filled.argmax(axis=1)
    codes = columns[rows, depth]
    # For each row and level: the last row, up to here, with a code of that level.
    latest = np.maximum.accumulate(np.where(filled, rows[:, None], -1), axis=0)
    above = np.where(depth > 0, latest[rows, depth - 1], -1)
    # A code of a higher level in between opened a new branch, which lacks the level.
    higher = np.arange(len(levels)) < depth[:, None]
    orphans = (depth > 0) & (above < np.where(higher, latest, -1).max(axis=1, initial=0))
    faults += [
        f"{codes[row]!r} has no code of the level {levels[depth[row] - 1]!r} above it"
        for row in np.flatnonzero(orphans).tolist()
    ]
    parents = codes[above]
    parents[above < 0] = None
    return codes, parents


def _texts(column: pd.Series[Any], faults: list[str]) -> NDArray[np.object_]:
    """Turn a column into text, with None where it is missing or empty."""
    texts = np.full(len(column), None, dtype=object)
    for place, (value, missing) in enumerate(zip(column, column.isna(), strict=True)):
        if missing or value == "":
            continue
        if isinstance(value, str) or _is_whole_number(value):
            texts[place] = str(value)
        else:
            faults.append(
                f"{value!r} in column {column.name!r} is neither text nor a whole number: read "
                "the column with dtype='str'"
            )
    return texts


def _is_whole_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


def _with_nowhere(labels: NDArray[np.object_]) -> NDArray[np.object_]:
    return np.array([*labels, None], dtype=object)


def _require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"The table has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, frame.columns))}."
        )
