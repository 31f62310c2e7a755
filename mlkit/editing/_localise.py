"""Error localisation: the cheapest set of fields whose change can satisfy all rules."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._check import Cell, Status, read_columns
from mlkit.editing._clauses import Space
from mlkit.editing._consistency import TooManyBranches, check_consistency
from mlkit.editing._grammar import did_you_mean, write_name
from mlkit.editing._rules import EditRules
from mlkit.editing._search import FOUND, Outcome, Search

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Weights = Mapping[str, float] | pd.Series[Any] | pd.DataFrame

STATUSES = ("valid", "localised", "too costly", "infeasible", "unsolved")
_OF_STATE = (4, 1, 3, 2, 4)  # by the states of the search: open, found, infeasible, ...


@dataclass(frozen=True, eq=False, repr=False)
class Localisation:
    """Which fields must change; see :func:`localise_errors`.

    Attributes
    ----------
    rules : EditRules
        The rules.
    fields : DataFrame of bool, of shape (n, variables)
        The fields to change or to fill in, with the index of the data and a column for each of
        ``rules.variables``. All False where the status is not "localised".
    status : Series of str
        "valid": the record needs no change. "localised": `fields` is an answer, verified.
        "too costly": every set costs more than `max_cost`. "infeasible": no change of the fields
        that may change satisfies the rules. "unsolved": no answer within the limits; nothing is
        known, and nothing is guessed.
    cost : Series of float
        The weights of the fields to change, and the penalties of the soft rules that stay broken;
        missing values count nothing. NaN without an answer.
    penalty : Series of float
        The part of the cost that is penalties.
    reason : Series of str
        Why there is no answer; empty if there is one.
    verified : DataFrame of bool
        `feasible`: values of these fields were found with which :meth:`EditRules.check` finds no
        rule broken or unknown, in the units of the data. `minimal`: every cheaper set was
        excluded. Both are True for each record that is valid or localised. `by_search`:
        whether HiGHS took part (:func:`scipy.optimize.milp`); else projections of the rules, in
        whole numbers, are the whole proof.
    example : DataFrame
        The localised records with such values: a proof, not an imputation.
    """

    rules: EditRules
    fields: pd.DataFrame
    status: pd.Series[Any]
    cost: pd.Series[Any]
    penalty: pd.Series[Any]
    reason: pd.Series[Any]
    verified: pd.DataFrame
    example: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Write one row per record.

        Returns
        -------
        DataFrame
            With the index of the data: `status`, `cost`, `penalty`, `n_fields`, `fields` (their
            names, joined by ", "), `feasible`, `minimal`, `by_search` and `reason`.
        """
        names = np.array([f"{name}, " for name in self.fields.columns], dtype=object)
        patterns, which = np.unique(self.fields.to_numpy(), axis=0, return_inverse=True)
        texts = np.array(["".join(names[row]).removesuffix(", ") for row in patterns], object)
        return pd.DataFrame(
            {
                "status": self.status,
                "cost": self.cost,
                "penalty": self.penalty,
                "n_fields": self.fields.sum(axis=1),
                "fields": pd.Series(texts[which.ravel()], self.fields.index, dtype="str"),
                **{name: self.verified[name] for name in self.verified.columns},
                "reason": self.reason,
            }
        )

    def by_field(self) -> pd.DataFrame:
        """Count how often each field is to change.

        Returns
        -------
        DataFrame
            One row per variable: `variable`, `records` in which it is to change, and their
            `share` of all records.
        """
        counts = self.fields.sum()
        return pd.DataFrame(
            {
                "variable": counts.index.to_numpy(dtype=object),
                "records": counts.to_numpy(),
                "share": counts.to_numpy() / len(self.fields),
            }
        ).astype({"variable": "str"})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how often each field is to change, the most frequent one on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        from mlkit.style import VERMILION

        ax = axes(ax)
        counts = self.by_field().sort_values("records", kind="stable")
        ax.barh(counts["variable"], counts["records"], color=VERMILION)
        ax.set_xlabel("records in which the field is to change")
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        counts = self.status.value_counts().reindex(list(STATUSES), fill_value=0)
        table = self.by_field().sort_values("records", ascending=False, kind="stable")
        table["records"] = [f"{count:,}" for count in table["records"]]
        table["share"] = [f"{share:.2%}" for share in table["share"]]
        answered = self.status.isin(["valid", "localised"])
        proven = self.verified["feasible"] & self.verified["minimal"]
        searched = int((self.verified["by_search"] & (self.status == "localised")).sum())
        told = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
        return (
            f"{len(self.status):,} records: {told}",
            table,
            f"{int(self.fields.to_numpy().sum()):,} fields to change or fill in. Verified as "
            f"feasible and minimal: {int((proven & answered).sum()):,} of "
            f"{int(answered.sum()):,} answers, {searched:,} of them with HiGHS.",
            "; ".join(
                f"{n:,} × {why}"
                for why, n in self.reason[self.reason != ""].value_counts().head(5).items()
            ),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def localise_errors(
    frame: pd.DataFrame,
    rules: EditRules,
    *,
    weights: Weights | None = None,
    max_cost: float = math.inf,
    max_sets: int = 1_000,
) -> Localisation:
    """Find, for each record, the cheapest set of fields whose change can satisfy all rules.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        One row per record, with a column for every variable of the rules; others are ignored. The
        index holds the record identifiers, each once: they break ties.
    rules : EditRules
        Hard rules must hold in the end. A soft rule may stay broken at its penalty, if that is
        cheaper than changing fields; ``rules.hard`` leaves soft rules out.
    weights : mapping, Series or DataFrame, optional
        What it costs to change a field: how reliable it is. A mapping or Series by variable; or
        a data frame with the index of `frame` and columns of variables, for weights by record.
        Variables without a weight have 1. An infinite weight: never change a value that is given.
    max_cost : float, optional
        Records that need a more expensive set get the status "too costly", for a clerk. No limit
        by default.
    max_sets : int, default=1000
        How many sets may be tried for a record before it is given up as "unsolved".

    Returns
    -------
    Localisation
        The fields of each record, with status, cost and proof.

    Raises
    ------
    ValueError
        If the hard rules contradict each other; if there are no records or no values at all;
        columns are unknown or named twice; a number is infinite; record identifiers repeat or are
        missing; weights are missing, zero or negative, or name unknown variables or other
        records; `max_cost` or `max_sets` is not positive.
    TypeError
        If an argument or a column is of the wrong type.

    Notes
    -----
    *What an answer is.* The principle of Fellegi and Holt: a set S such that the fields of S can
    be given values with which no hard rule is broken or unknown, while all others stay as they
    are; and every cheaper set cannot. Missing values (non-response) are in S whatever their weight
    and count nothing. A blank that means zero is a value. A field that does not apply stays
    empty, unless a change makes it apply; then it is in S. A field in S may be left empty if it
    does not apply in the end. Comparisons have the tolerances of the rules. Integers are given
    whole numbers.

    *Ties.* Of sets of equal cost one is taken by pseudo-random numbers that come from the record
    identifier and the names of the fields: the order of rows plays no part, and no field is
    preferred. (Each field gets a number between 0 and 1, and the smallest sum wins.)

    *Method.* Each record has conflicts, sets of fields of which at least one must change: at
    first the fields of each broken rule. A cheapest set that meets all conflicts is a candidate.
    The rules without the candidate's variables (equalities by substitution, inequalities by
    Fourier-Motzkin elimination, once for all records, in whole numbers) say whether the other
    fields can stay; if not, each projected rule that the record breaks is a new conflict. So a
    candidate that will do is cheapest. Alternatives in categorical and conditional rules are
    projected one by one, for all records with the same open rules. For integers a projection is
    necessary but not sufficient, and projections may grow too large: such records are
    branched over, with a linear or integer programme for HiGHS at each branch. There is no large
    constant ("big M"): a fixed one makes wrong answers, and so does one relative to the record.

    *When it fails.* Minimum change assumes that errors are few and at random: systematic errors
    (a wrong unit, a wrong sign) are mended first, or a consistent factor of 1,000 stays in. The
    answer says which fields, not which values: see :attr:`Localisation.example`.

    References
    ----------
    I. P. Fellegi and D. Holt (1976), A systematic approach to automatic edit and imputation,
    Journal of the American Statistical Association 71, 17-35; T. de Waal and R. Quere (2003), A
    fast and simple algorithm for automatic editing of mixed data, Journal of Official Statistics
    19, 383-402. Both are cited from memory.

    Examples
    --------
    >>> rules = EditRules.from_text('''
    ... profit + costs == turnover
    ... costs >= 0.6 * turnover
    ... turnover >= 0
    ... ''')
    >>> firms = pd.DataFrame({"turnover": [200, 200], "costs": [125, 125], "profit": [750, 75]})
    >>> found = localise_errors(firms, rules)
    >>> found.fields
       profit  costs  turnover
    0    True  False     False
    1   False  False     False
    >>> found.status.tolist()
    ['localised', 'valid']
    """
    _check_arguments(frame, rules, max_cost, max_sets)
    columns = read_columns(rules, frame)
    _check_index(frame.index)
    costs = _read_weights(weights, frame, rules)
    names = [variable.name for variable in rules.variables]
    cells = np.column_stack([columns.cells(name) for name in names])
    if (cells == Cell.NON_RESPONSE).all():
        raise ValueError(
            "Every value is missing, so that there is nothing to compare with the rules. Check "
            "how the data were read."
        )
    _check_rules(rules)
    failing = (cells == Cell.NON_RESPONSE).any(axis=1)
    for rule in rules:
        failing |= columns.judge(rule.clauses) == Status.BROKEN
    active = np.flatnonzero(failing)
    if not len(active):
        return _as_result(frame, rules, active, None, costs)
    space = Space(rules)
    part = frame if len(active) == len(frame) else frame.iloc[active]
    search = Search(
        space,
        space.read(read_columns(rules, part)),
        costs if costs.ndim == 1 else costs[active],
        _ties(frame.index[active], [*names, *(rule.name for rule in space.soft_rules)]),
        max_sets,
        max_cost,
        _Checker(space),
    )
    return _as_result(frame, rules, active, search.run(), costs)


@dataclass(frozen=True)
class _Checker:
    """Checks found values as any record: by the rules as they are."""

    space: Space

    def __call__(
        self, numbers: NDArray[np.float64], codes: NDArray[np.int16], sets: list[int]
    ) -> NDArray[np.bool_]:
        check = self.space.rules.check(self.space.write(numbers, codes))
        good = ~check.failing & ~check.undecided
        good &= ~(check.cells == Cell.NON_RESPONSE).any(axis=1)
        bit = len(self.space.rules.variables)
        for rule, status in zip(self.space.rules, check.status.T, strict=True):
            if not rule.hard:
                kept = np.array([not chosen >> bit & 1 for chosen in sets], dtype=bool)
                good &= ~(kept & (status >= Status.UNKNOWN))
                bit += 1
        return good


# --- reading what is given -------------------------------------------------------------------


def _check_arguments(frame: Any, rules: Any, max_cost: Any, max_sets: Any) -> None:
    if not isinstance(rules, EditRules):
        raise TypeError(
            f"rules is a {type(rules).__name__}; give EditRules, for example "
            "EditRules.from_text(...)."
        )
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame.")
    if isinstance(max_cost, bool) or not isinstance(max_cost, numbers.Real):
        raise TypeError(f"max_cost={max_cost!r} is no number. Leave it out for no limit.")
    if not float(max_cost) > 0:
        raise ValueError(f"max_cost={max_cost!r}; give a cost above 0.")
    if isinstance(max_sets, bool) or not isinstance(max_sets, numbers.Integral):
        raise TypeError(f"max_sets={max_sets!r}; give a whole number.")
    if int(max_sets) < 1:
        raise ValueError(f"max_sets={max_sets!r}; give a whole number of at least 1.")


def _check_index(index: pd.Index[Any]) -> None:
    levels = index.codes if isinstance(index, pd.MultiIndex) else [pd.factorize(index)[0]]
    if any((level == -1).any() for level in levels):
        raise ValueError(
            "A record identifier, that is a label of the index, is missing. Identifiers break "
            "ties: give each record one."
        )
    if not index.is_unique:
        twice = index[index.duplicated()]
        raise ValueError(
            f"The record identifier {twice[0]!r} occurs more than once ({len(twice):,} labels of "
            "the index repeat). Identifiers break ties: give each record one of its own, for "
            "example by frame.reset_index(drop=True)."
        )


def _check_rules(rules: EditRules) -> None:
    if not len(rules.hard):
        return
    try:
        found = check_consistency(rules)
    except TooManyBranches:  # not known to contradict; each record is solved or given up
        return
    if not found.consistent:
        raise ValueError(f"The rules contradict each other, whatever the data.\n{found}")


def _read_weights(weights: Any, frame: pd.DataFrame, rules: EditRules) -> NDArray[np.float64]:
    """Give costs of fields and soft rules, of shape (members,) or (n, members)."""
    names = [variable.name for variable in rules.variables]
    penalties = [rule.penalty for rule in rules if not rule.hard]
    if weights is None:
        return np.array([1.0] * len(names) + penalties)
    if isinstance(weights, pd.DataFrame):
        return _weights_by_record(weights, frame, names, penalties)
    if not isinstance(weights, (Mapping, pd.Series)):
        raise TypeError(
            f"weights is a {type(weights).__name__}; give a mapping or Series from variables to "
            "numbers, or a DataFrame of records and variables."
        )
    given = list(weights.keys())
    _check_names(given, names)
    values = dict(weights.items())
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"The weight of {write_name(str(name))} is {value!r}, no number.")
    found = np.array([float(values.get(name, 1.0)) for name in names])
    _check_values(found[None, :], names, None)
    return np.append(found, penalties)


def _weights_by_record(
    weights: pd.DataFrame, frame: pd.DataFrame, names: list[str], penalties: list[float]
) -> NDArray[np.float64]:
    _check_names(list(weights.columns), names)
    if not weights.index.is_unique:
        raise ValueError("weights has more than one row for a record. Give one row each.")
    lost = frame.index.difference(weights.index, sort=False)
    if len(lost) or len(weights) != len(frame):
        told = f"record {lost[0]!r} has none" if len(lost) else "some are of other records"
        raise ValueError(
            f"weights has {len(weights):,} rows for {len(frame):,} records, and {told}. Give it "
            "the index of the data, one row per record."
        )
    strange = [
        n
        for n in weights.columns
        if not pd.api.types.is_numeric_dtype(weights[n]) or pd.api.types.is_bool_dtype(weights[n])
    ]
    if strange:
        raise TypeError(f"The weights of {write_name(str(strange[0]))} are no numbers.")
    aligned = weights.reindex(frame.index)
    found = np.ones((len(frame), len(names) + len(penalties)))
    for place, name in enumerate(names):
        if name in aligned.columns:
            found[:, place] = aligned[name].to_numpy(dtype=np.float64, na_value=np.nan)
    found[:, len(names) :] = penalties
    _check_values(found[:, : len(names)], names, frame.index)
    same = bool((found == found[0]).all())
    return np.array(found[0]) if same else found


def _check_names(given: list[Any], names: list[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        hint = did_you_mean(str(unknown[0]), names)
        raise ValueError(
            f"weights names {write_name(str(unknown[0]))}, which no rule names.{hint} The "
            f"variables are {', '.join(map(write_name, names))}."
        )
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise ValueError(f"weights names {write_name(str(twice))} more than once.")


def _check_values(values: NDArray[np.float64], names: list[str], index: Any) -> None:
    wrong = ~(values > 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        where = "" if index is None else f" in record {index[row]!r}"
        raise ValueError(
            f"The weight of {write_name(names[column])}{where} is {values[row, column]:g}. "
            "Weights are above 0; an infinite one means: never change this field."
        )


def _ties(index: pd.Index[Any], members: list[str]) -> NDArray[np.float64]:
    """Give each record and member a number in [0, 1), from their names alone."""
    records = pd.util.hash_pandas_object(index, index=False).to_numpy(dtype=np.uint64)
    names = pd.util.hash_array(np.array(members, dtype=object)).astype(np.uint64)
    mixed = records[:, None] ^ names[None, :]
    # The finalizer of splitmix64 (Steele, Lea and Flood 2014, cited from memory): without it
    # the bits of both would meet in the same places for all records.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


# --- writing what was found ------------------------------------------------------------------


def _as_result(
    frame: pd.DataFrame,
    rules: EditRules,
    active: NDArray[np.intp],
    outcome: Outcome | None,
    costs: NDArray[np.float64],
) -> Localisation:
    n, names = len(frame), [variable.name for variable in rules.variables]
    fields = np.zeros((n, len(names)), dtype=bool)
    status = np.zeros(n, dtype=np.intp)
    cost, penalty = np.zeros(n), np.zeros(n)
    reason = np.full(n, "", dtype=object)
    searched = np.zeros(n, dtype=bool)
    example = frame.iloc[:0][names]
    if outcome is not None:
        status[active] = np.array(_OF_STATE)[outcome.state]
        found = outcome.state == FOUND
        members = _as_masks(outcome.chosen, costs.shape[-1])
        fields[active] = members[:, : len(names)]
        cost[active] = np.where(found, outcome.cost, np.nan)
        soft = members[:, len(names) :]
        penalties = costs[..., len(names) :]
        paid = (soft * (penalties if costs.ndim == 1 else penalties[active])).sum(axis=1)
        penalty[active] = np.where(found, paid, np.nan)
        reason[active] = outcome.reason
        searched[active] = outcome.searched
        example = _write_example(frame, rules, active[found], outcome, found, fields)
    known = status <= STATUSES.index("localised")
    index = frame.index
    return Localisation(
        rules,
        pd.DataFrame(fields, index=index, columns=pd.Index(names)),
        pd.Series(np.array(STATUSES, object)[status], index, dtype="str", name="status"),
        pd.Series(cost, index, name="cost"),
        pd.Series(penalty, index, name="penalty"),
        pd.Series(reason, index, dtype="str", name="reason"),
        pd.DataFrame({"feasible": known, "minimal": known, "by_search": searched}, index=index),
        example,
    )


def _as_masks(chosen: list[int], members: int) -> NDArray[np.bool_]:
    different = {mask: place for place, mask in enumerate(dict.fromkeys(chosen))}
    rows = np.array([[bool(m >> b & 1) for b in range(members)] for m in different], dtype=bool)
    return rows[[different[mask] for mask in chosen]]


def _write_example(
    frame: pd.DataFrame,
    rules: EditRules,
    rows: NDArray[np.intp],
    outcome: Outcome,
    found: NDArray[np.bool_],
    fields: NDArray[np.bool_],
) -> pd.DataFrame:
    """Put the values that were found into the fields to change."""
    space = Space(rules)
    written = space.write(outcome.numbers[found], outcome.codes[found])
    example = frame.iloc[rows][[variable.name for variable in rules.variables]].copy()
    for place, variable in enumerate(rules.variables):
        changed = fields[rows, place]
        if changed.any():
            before = example[variable.name]
            if variable.numeric:
                values = before.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
            else:
                values = before.to_numpy(dtype=object, copy=True)
            values[changed] = written[variable.name].to_numpy()[changed]
            example[variable.name] = values
    return example
