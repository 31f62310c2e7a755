"""Take missing values from a record that is alike and clean: nearest-neighbour hot deck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit.editing._imputation import (
    Cells,
    Imputation,
    as_status,
    make_imputation,
    put_values,
    read_cells,
    read_frame,
    read_hard_rules,
    read_names,
    read_numbers,
    refuse_unknown,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRules

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Places = NDArray[np.intp]

STATUSES = ("nothing asked", "imputed", "no match", "no donor", "rules broken")
_NOTHING, _IMPUTED, _NO_MATCH, _NO_DONOR, _BROKEN = range(5)
_SAME = 1e-9  # distances that differ by less are equal
_PAIRS_AT_ONCE = 4_000_000


def impute_from_donors(
    frame: pd.DataFrame,
    rules: EditRules,
    impute: Cells,
    *,
    match_on: Sequence[str],
    within: Sequence[str] = (),
    most_donors: int = 10,
) -> Imputation:
    """Impute from the nearest clean record after whose values the rules hold.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        The data.
    rules : EditRules
        The rules. Soft ones are not looked at.
    impute : DataFrame of bool, or array of bool of the shape of the data
        The cells to impute, such as the fields of a localisation; what they hold is not looked
        at.
    match_on : list of str
        The columns of numbers that measure how alike two records are. Those that are to be
        imputed in a record, or have no value there, do not count for it.
    within : list of str, optional
        Columns such as industry and size class: a donor has the same values in all of them.
    most_donors : int, default=10
        How many donors to try for a record, from the nearest.

    Returns
    -------
    Imputation
        ``.status`` is "imputed"; "rules broken" where no donor that was tried leads to a record
        that satisfies the hard rules; "no donor" where the class has none; "no match" where the
        record has no value to match on; "nothing asked". Only imputed records are changed.
        ``.donor`` is the identifier of each donor.

    Raises
    ------
    TypeError, ValueError
        If rules contradict each other or there is no hard one; columns are unknown or named
        twice; identifiers of records come twice, or cannot be put in order; `match_on` names
        text; `within` names a column with missing values; `impute` is about other records or
        does not hold truth values; or as in :meth:`EditRules.check`.

    Notes
    -----
    A donor satisfies all hard rules, has no cell to impute, and no missing value in the columns
    of the rules (but those that do not apply), in `match_on` and in the columns to impute. All
    cells of a record come from one donor, so that what belongs together stays together.

    Distance is Euclidean, of ranks: each column of `match_on` is replaced by the share of donors
    of the class with a smaller value (half of those with the same one; interpolated for values
    that no donor has), so that units and outliers do not count. Of donors equally near, the one
    with the smallest identifier comes first: the result does not depend on the order of records.

    A donor's amounts seldom add up to totals that the recipient has observed. Where many records
    are left because of balances, impute under the other rules, then adjust::

        donors = impute_from_donors(frame, rules.without("balance"), impute, match_on=[...])
        done = adjust_to_rules(donors.frame, rules, impute)

    The nearest donor always, without chance: for multiple imputation the draws would not be
    proper. Few donors may serve many records; ``.donor.value_counts()`` shows it.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from mlkit.editing import EditRules
    >>> rules = EditRules.from_text("wage <= 100 * hours")
    >>> frame = pd.DataFrame({"hours": [10, 38, 40, 39, 9], "age": [30, 31, 52, 50, 29],
    ...                       "wage": [500, 2000, 2600, np.nan, np.nan]})
    >>> done = impute_from_donors(frame, rules, frame.isna(), match_on=["age"])
    >>> done.frame["wage"].tolist()
    [500.0, 2000.0, 2600.0, 2600.0, 500.0]
    >>> done.donor.tolist()
    [nan, nan, nan, 2.0, 0.0]
    """
    frame = read_frame(frame)
    hard = read_hard_rules(rules)
    asked = read_cells(impute, frame, "impute")
    match_on = read_names(match_on, "match_on")
    match = read_numbers(frame, match_on, "match_on")
    if isinstance(most_donors, bool) or not isinstance(most_donors, (int, np.integer)):
        raise TypeError(f"most_donors={most_donors!r}; give a whole number.")
    if most_donors < 1:
        raise ValueError(f"most_donors={most_donors}; at least one donor is to be tried.")
    classes = _read_classes(frame, within, asked)
    order = _read_order(frame)  # places of records, by identifier

    clean = _clean(hard, frame, asked, match)
    match = np.where(asked[:, frame.columns.get_indexer(pd.Index(match_on))], np.nan, match)
    donor = np.full(len(frame), -1)
    status = np.where(asked.any(axis=1), _NO_DONOR, _NOTHING)
    known = ~np.isnan(match)
    status[(status == _NO_DONOR) & ~known.any(axis=1)] = _NO_MATCH
    todo = np.flatnonzero(status == _NO_DONOR)
    donors = order[clean[order]]

    candidates = _candidates(match, known, classes, todo, donors, most_donors)
    status[todo[(candidates >= 0).any(axis=1)]] = _BROKEN
    waiting = np.arange(len(todo))
    for attempt in range(candidates.shape[1]):
        waiting = waiting[candidates[waiting, attempt] >= 0]
        if not len(waiting):
            break
        records, givers = todo[waiting], candidates[waiting, attempt]
        holds = ~hard.check(_filled(frame, asked, records, givers)).failing
        donor[records[holds]] = givers[holds]
        status[records[holds]] = _IMPUTED
        waiting = waiting[~holds]

    given = donor >= 0
    values: dict[str, tuple[Mask, NDArray[Any]]] = {
        name: (asked[:, place] & given, frame[name].to_numpy(dtype=object)[donor])
        for place, name in enumerate(frame.columns)
        if asked[:, place].any()
    }
    result = make_imputation(frame, asked, values, as_status(STATUSES, status, frame.index))
    identifiers = pd.Series(frame.index[donor], frame.index, name="donor").where(given)
    return replace(result, donor=identifiers)


def _read_classes(frame: pd.DataFrame, within: Sequence[str], asked: Mask) -> Places:
    """Give each record the number of its class."""
    if not len(within):
        return np.zeros(len(frame), dtype=np.intp)
    names = read_names(within, "within")
    refuse_unknown(names, frame, "within")
    for name in names:
        place = frame.columns.get_loc(name)
        if frame[name].isna().any() or asked[:, place].any():
            raise ValueError(
                f"within names {name!r}, which is missing or to be imputed in some records. Give "
                "it a value there first, or name another column."
            )
    groups = frame.groupby(names, sort=False, observed=True).ngroup()
    return np.asarray(groups, dtype=np.intp)


def _read_order(frame: pd.DataFrame) -> Places:
    try:
        return np.asarray(frame.index.argsort(), dtype=np.intp)
    except TypeError as error:
        raise TypeError(
            f"The identifiers of records cannot be put in order ({error}). Make them all numbers "
            "or all text, so that ties between donors can be broken."
        ) from error


def _clean(rules: EditRules, frame: pd.DataFrame, asked: Mask, match: Floats) -> Mask:
    """Say which records can be donors."""
    check = rules.check(frame)
    clean = ~check.failing & ~check.undecided & ~asked.any(axis=1)
    wanted = np.flatnonzero(asked.any(axis=0))
    empty = frame.iloc[:, wanted].isna().to_numpy().any(axis=1)
    return np.logical_and(clean & ~empty, ~np.isnan(match).any(axis=1))


def _filled(frame: pd.DataFrame, asked: Mask, records: Places, givers: Places) -> pd.DataFrame:
    part = frame.iloc[records]
    columns = {}
    for place, name in enumerate(frame.columns):
        where = asked[records, place]
        if where.any():
            new = frame[name].to_numpy(dtype=object)[givers[where]]
            columns[name] = put_values(part[name], where, new)
    return part.assign(**columns)


# --- who is near -----------------------------------------------------------------------------


def _candidates(
    match: Floats, known: Mask, classes: Places, todo: Places, donors: Places, most: int
) -> Places:
    """List the nearest donors of each record, by class and by what the record can be matched on.

    Returns places of records, of shape (todo, most), -1 where there are fewer.
    """
    found = np.full((len(todo), most), -1)
    if not len(todo) or not len(donors):
        return found
    key = np.column_stack([classes[todo], np.packbits(known[todo], axis=1)])
    _, pattern = np.unique(key, axis=0, return_inverse=True)
    for group in _groups(pattern.reshape(-1)):
        first = todo[group[0]]
        givers = donors[classes[donors] == classes[first]]
        if not len(givers):
            continue
        used = known[first]
        values = match[givers][:, used]
        near = _nearest_of(
            _ranks(values, match[todo[group]][:, used]), _ranks(values, values), most
        )
        found[group, : near.shape[1]] = givers[near]
    return found


def _groups(labels: Places) -> list[Places]:
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts)


def _ranks(donors: Floats, values: Floats) -> Floats:
    """Give the share of donors that have less, and half of those that have the same.

    A value that no donor has lies between its neighbours as it does on the scale of the column.
    """
    ranks = np.empty(values.shape)
    for place, column in enumerate(donors.T):
        different, count = np.unique(column, return_counts=True)
        middle = (np.cumsum(count) - count / 2) / len(column)
        ranks[:, place] = np.interp(values[:, place], different, middle)
    return ranks


def _nearest_of(points: Floats, donors: Floats, most: int) -> Places:
    """Give the nearest donors of each point; of equally near ones the first come first."""
    from sklearn.neighbors import NearestNeighbors

    wanted = min(most, len(donors))
    asked = min(wanted + 1, len(donors))
    distance, near = NearestNeighbors(n_neighbors=asked).fit(donors).kneighbors(points)
    distance = np.round(distance / _SAME)
    order = np.lexsort((near, distance), axis=1)
    near = np.take_along_axis(near, order, axis=1)[:, :wanted].astype(np.intp)
    if asked == wanted:
        return near
    # More donors may be as near as the last one: then all are compared.
    tied = np.flatnonzero(distance[:, -1] <= distance[:, -2] + 1)
    at_once = max(1, _PAIRS_AT_ONCE // len(donors))
    for first in range(0, len(tied), at_once):
        some = tied[first : first + at_once]
        near[some] = _nearest_of_all(points[some], donors, wanted)
    return near


def _nearest_of_all(points: Floats, donors: Floats, wanted: int) -> Places:
    from scipy.spatial.distance import cdist

    distance = np.round(cdist(points, donors) / _SAME).astype(np.int64)
    key = distance * len(donors) + np.arange(len(donors))  # no two alike
    some = np.argpartition(key, wanted - 1, axis=1)[:, :wanted]
    order = np.take_along_axis(key, some, axis=1).argsort(axis=1)
    return np.take_along_axis(some, order, axis=1)
