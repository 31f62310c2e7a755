"""Short-lists: a few codes per record for a clerk to choose from."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import axes
from mlkit.coding._checks import _numbers, as_code, as_codes, require_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

NOWHERE = -1  # in arrays of numbers that stand for codes

# Some libraries, fastText among them, return 1.00001 for certainty.
_ROUNDING = 1e-4

_SHOWN = 5  # records in a view


@dataclass(frozen=True, eq=False, repr=False)
class ShortLists:
    """Codes for a clerk to choose from: one list per record, never empty.

    Made by :func:`top_k_lists` and :class:`ConformalShortLists`. `codes` has the shape of all
    predictions in mlkit, so the reports of :mod:`mlkit.evaluation.coding` take it.

    Attributes
    ----------
    codes : ndarray of shape (n, m)
        The codes of each list, the best first; m is the length of the longest list, and shorter
        ones are filled up with None.
    scores : ndarray of shape (n, m)
        Their scores; NaN where there is no code.
    coverage : float or None
        The share of lists that was asked to hold the true code; None for top-k lists, which
        promise nothing.
    note : str
        How the lists were made, and what is promised of them.
    """

    codes: NDArray[np.object_]
    scores: NDArray[np.float64]
    coverage: float | None
    note: str

    @property
    def lengths(self) -> NDArray[np.intp]:
        """How many codes each list has; shape (n,)."""
        return np.asarray((~np.isnan(self.scores)).sum(axis=1), dtype=np.intp)

    def contains(self, y_true: Any) -> NDArray[np.bool_]:
        """Say which lists hold the true code.

        To compare two kinds of lists for the same records, give what this says of each to
        :func:`mlkit.estimate.difference`.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            The true codes.

        Returns
        -------
        ndarray of bool, of shape (n,)
            True where the list holds the true code.

        Raises
        ------
        ValueError
            If lengths differ, or a true code is missing.
        TypeError
            If a code is neither text nor a whole number.
        """
        truth = read_truth(y_true, len(self))
        return np.asarray((self.codes == truth[:, None]).any(axis=1), dtype=bool)

    def to_frame(self) -> pd.DataFrame:
        """Write the lists as a table.

        Returns
        -------
        DataFrame
            One row per record and code: `record` (its row, from 0), `place` on the list (from
            1), `code`, `score`.
        """
        record, place = np.nonzero(~np.isnan(self.scores))
        return pd.DataFrame(
            {
                "record": record,
                "place": place + 1,
                "code": pd.Series(self.codes[record, place], dtype="str"),
                "score": self.scores[record, place],
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how many lists have which length.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Where it was drawn.
        """
        ax = axes(ax)
        count = np.bincount(self.lengths)
        ax.bar(np.arange(1, len(count)), count[1:])
        ax.set_xlabel("codes on the list")
        ax.set_ylabel("records")
        ax.set_title(self._title())
        return ax

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        return f"ShortLists({self._title()})"

    def _repr_html_(self) -> str:
        few = pd.DataFrame(self.codes[:_SHOWN]).fillna("")
        few.columns = pd.Index([str(place) for place in range(1, few.shape[1] + 1)])
        table = few.to_html(border=0, max_cols=10)
        more = f"<p>and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        return (
            f"<p><strong>{html.escape(self._title())}</strong></p>{table}{more}"
            f"<p>{html.escape(self.note)}</p>"
        )

    def _title(self) -> str:
        if not len(self):
            return "0 lists"
        return (
            f"{len(self):,} lists, {self.lengths.mean():.1f} codes on average, "
            f"{self.lengths.max():,} at most"
        )


def top_k_lists(codes: Any, scores: ArrayLike, *, k: int = 5) -> ShortLists:
    """List the k best codes of every record: the plain short-list, and the one to beat.

    It also turns a table of all probabilities into the shape (n, k), and the nearest entries
    of an index into codes, of which several entries may have the same.

    Parameters
    ----------
    codes : array-like of shape (n, m), or of shape (K,)
        The m best codes of each record, the best first, filled up with None where there are
        fewer. A code that occurs twice in a row counts once, with its better score. Or the K
        codes for which `scores` has a column each, in any order, as in ``model.classes_``.
    scores : array-like of shape (n, m) or (n, K)
        Their scores, from 0 to 1.
    k : int, default=5
        The length of the lists. They are shorter where a record has fewer codes.

    Returns
    -------
    ShortLists
        The lists. How many of them hold the true code: ask :func:`short_list_report`.

    Raises
    ------
    ValueError
        If `k` is below 1; if shapes do not match; if a record has no code, a code has no score,
        a score lies outside [0, 1], or a row is not sorted.
    TypeError
        If a code is neither text nor a whole number, or scores are not numbers.

    Examples
    --------
    >>> lists = top_k_lists(["11", "12", "21"], [[0.2, 0.7, 0.1], [0.3, 0.3, 0.4]], k=2)
    >>> lists.codes
    array([['12', '11'],
           ['21', '11']], dtype=object)
    """
    require_count("k", k)
    ranked = read_ranked(codes, scores)
    return ranked.lists(ranked.best(k), None, f"The {k} codes with the highest scores.")


@dataclass(frozen=True, eq=False)
class Ranked:
    """Codes with scores, read and checked.

    Either the best codes of each record, of which `numbers` of shape (n, k) points into
    `labels`; or every label has a column of `scores`, and `numbers` is None.
    """

    labels: NDArray[np.object_]
    scores: NDArray[np.float64]
    numbers: NDArray[np.intp] | None

    @property
    def full(self) -> bool:
        """Whether every record has a score for every code."""
        return self.numbers is None

    def score_of(self, truth: NDArray[np.object_]) -> NDArray[np.float64]:
        """Look up the score of the true code: minus infinity where it has none."""
        place = {label: number for number, label in enumerate(self.labels)}
        wanted = pd.Series(truth, dtype=object).map(place).fillna(NOWHERE - 1).to_numpy(np.intp)
        if self.numbers is None:
            known = wanted >= 0
            found = self.scores[np.arange(len(truth)), np.where(known, wanted, 0)]
            return np.where(known, found, -np.inf)
        hit = self.numbers == wanted[:, None]  # NOWHERE - 1 hits nothing, not even a gap
        found = self.scores[np.arange(len(truth)), hit.argmax(axis=1)]
        return np.where(hit.any(axis=1), found, -np.inf)

    def above(self, cuts: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mark the codes whose score reaches the cut of their label, and the best of each row."""
        # A gap has the number -1, and so the last cut; but its score NaN reaches nothing.
        marked = self.scores >= (cuts if self.numbers is None else cuts[self.numbers])
        marked[np.arange(len(marked)), self.first()] = True
        return marked

    def best(self, k: int) -> NDArray[np.bool_]:
        """Mark the k best codes of each row."""
        if self.numbers is not None:
            front = np.arange(self.numbers.shape[1]) < k
            return np.asarray((self.numbers != NOWHERE) & front)
        k = min(k, self.scores.shape[1])
        least = np.partition(self.scores, -k, axis=1)[:, -k, None]
        marked: NDArray[np.bool_] = self.scores >= least
        many = np.flatnonzero(marked.sum(axis=1) > k)
        # Equal scores at the end of a list: the first columns are taken, as argmax does.
        above, equal = (self.scores[many] > least[many]), (self.scores[many] == least[many])
        wanted = k - above.sum(axis=1, keepdims=True)
        marked[many] = above | (equal & (equal.cumsum(axis=1) <= wanted))
        return marked

    def first(self) -> NDArray[np.intp]:
        """Find the column of the best code of each row."""
        if self.numbers is None:
            return np.asarray(self.scores.argmax(axis=1), dtype=np.intp)
        return np.zeros(len(self.scores), dtype=np.intp)

    def lists(self, marked: NDArray[np.bool_], coverage: float | None, note: str) -> ShortLists:
        """Make lists of what is marked, the best first."""
        numbers, scores = self.pick(marked)
        labels = np.array([*self.labels, None], dtype=object)  # NOWHERE points to the last
        return ShortLists(labels[numbers], scores, coverage, note)

    def pick(self, marked: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Move what is marked to the front of each row, in falling order; cut off the rest."""
        row, column = np.divmod(np.flatnonzero(marked), marked.shape[1])
        length = marked.sum(axis=1)
        place = np.arange(len(row)) - np.repeat(length.cumsum() - length, length)
        shape = (len(marked), int(length.max(initial=1)))
        numbers, scores = np.full(shape, NOWHERE, dtype=np.intp), np.full(shape, np.nan)
        numbers[row, place] = column if self.numbers is None else self.numbers[row, column]
        scores[row, place] = self.scores[row, column]
        if self.full:  # the others are sorted
            order = np.argsort(-scores, axis=1, kind="stable")  # NaN comes last
            numbers = np.take_along_axis(numbers, order, axis=1)
            scores = np.take_along_axis(scores, order, axis=1)
        return numbers, scores


def read_ranked(codes: Any, scores: Any, *, empty: bool = False) -> Ranked:
    """Read codes of shape (n, k), or labels of shape (K,), with scores."""
    cells = _as_cells(codes)
    table = _numbers(scores, "scores")
    fits = table.ndim == 2 and table.shape[-1] > 0
    if not fits or cells.shape not in (table.shape, table.shape[1:]):
        raise ValueError(
            f"codes have the shape {cells.shape}, scores {table.shape}. Allowed are codes and "
            "scores of the same shape (n, k), the best first; or K codes with scores of the "
            "shape (n, K), a column for each code."
        )
    if not len(table) and not empty:
        raise ValueError("scores are empty. Give at least one record.")
    numbers, labels = _number_codes(cells)
    if cells.ndim == 2:
        return _read_best(numbers, labels, table)
    if len(labels) < len(cells):
        raise ValueError(
            f"The {len(cells):,} codes of the columns are not all there, or not all different."
        )
    _refuse_scores(table, None)
    return Ranked(labels, table, None)


def read_truth(y_true: Any, records: int) -> NDArray[np.object_]:
    """Read one true code per record as text."""
    column = pd.Series(y_true)
    if len(column) == records and (absent := int(column.isna().sum())):
        raise ValueError(
            f"y_true: {absent:,} of {records:,} are missing. Leave out the records that nobody "
            "has coded."
        )
    return as_codes(column, records, name="y_true")


def read_automatic(automatic: Any, records: int) -> NDArray[np.bool_] | None:
    """Read which records the system codes itself; None if it is not said."""
    if automatic is None:
        return None
    column = pd.Series(automatic)
    if len(column) != records:
        raise ValueError(
            f"{records:,} records, but {len(column):,} values of automatic. Give one per record."
        )
    if not column.isin([False, True]).all():
        raise ValueError(
            "automatic holds values other than True and False. Give True for the records that "
            "are coded without a clerk: confidences >= threshold."
        )
    mask = column.to_numpy(dtype=bool)
    if records and mask.all():
        raise ValueError(
            f"All {records:,} records are coded automatically, so that no clerk needs a list. "
            "Give clerk cases as well."
        )
    return mask


def _as_cells(codes: Any) -> NDArray[np.object_]:
    """Make an array of codes of whatever they were given as."""
    if isinstance(codes, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        return np.asarray(codes, dtype=object)
    if isinstance(codes, pd.DataFrame):
        return codes.to_numpy(dtype=object)
    # As objects, or a list of texts and numbers would become all texts.
    cells = np.array(codes, dtype=object)
    if cells.ndim == 1 and len(cells) and isinstance(cells[0], (list, tuple, np.ndarray)):
        raise ValueError(
            "The rows of codes have different lengths. Fill them up with None, and their scores "
            "with NaN."
        )
    return cells


def _number_codes(cells: NDArray[np.object_]) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Give each different code a number; NOWHERE where a code is missing or empty."""
    number, different = pd.factorize(cells.ravel())
    texts = [as_code(code) for code in different]
    # 11 and "11" are one code; empty text, as in a blank cell of a file, is none.
    labels = [text for text in dict.fromkeys(texts) if text]
    place = {label: position for position, label in enumerate(labels)}
    recoded = np.array([*(place.get(text, NOWHERE) for text in texts), NOWHERE], dtype=np.intp)
    return recoded[number].reshape(cells.shape), np.array(labels, dtype=object)


def _read_best(
    numbers: NDArray[np.intp], labels: NDArray[np.object_], scores: NDArray[np.float64]
) -> Ranked:
    """Check rows of which the best code comes first; drop what occurs twice in a row."""
    there = numbers != NOWHERE
    if bare := int((~there[:, 0]).sum()):
        raise ValueError(
            f"{bare:,} of {len(numbers):,} records have no code, so that their lists would be "
            "empty. Leave them out: a clerk must search for them."
        )
    if (there[:, 1:] & ~there[:, :-1]).any():
        raise ValueError("codes: a row has a gap. Fill rows up with None at the end only.")
    _refuse_scores(scores, there)
    scores = np.where(there, scores, np.nan)
    rising = (np.diff(scores, axis=1) > 0).any(axis=1)
    if rising.any():
        raise ValueError(
            f"In {int(rising.sum()):,} of {len(scores):,} rows of scores a later score is higher "
            "than an earlier one. Sort each record's codes and scores, the best first."
        )
    ranked = Ranked(labels, scores, numbers)
    again = _repeated(numbers)
    return Ranked(labels, *ranked.pick(there & ~again)[::-1]) if again.any() else ranked


def _repeated(numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark codes that stand further to the front of their row already."""
    order = np.argsort(numbers, axis=1, kind="stable")
    ordered = np.take_along_axis(numbers, order, axis=1)
    same = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOWHERE)
    again = np.zeros(numbers.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], same, axis=1)
    return again


def _refuse_scores(scores: NDArray[np.float64], there: NDArray[np.bool_] | None) -> None:
    """Refuse scores that are missing or outside [0, 1], where there are codes."""
    values = scores if there is None else scores[there]
    # Two numbers tell about millions, for the extremes of anything with NaN are NaN.
    if not values.size or (values.min() >= -_ROUNDING and values.max() <= 1 + _ROUNDING):
        return
    if absent := int(np.isnan(values).sum()):
        raise ValueError(f"scores: {absent:,} codes have no score (NaN). Give one for each code.")
    strange = values[(values < -_ROUNDING) | (values > 1 + _ROUNDING)]
    raise ValueError(
        f"scores: {len(strange):,} lie outside [0, 1], such as {strange[0]:g}. Turn margins of a "
        "model into probabilities first, for example with a softmax."
    )
