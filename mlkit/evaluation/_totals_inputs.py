"""What class totals are made from: an audit, a target, and the codes that both share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from mlkit.classifications import Classification
from mlkit.estimate import AnyDesign, Design, ReplicateDesign
from mlkit.evaluation._inputs import (
    Codes,
    Labels,
    check_lengths,
    match,
    read_codes,
    read_predictions,
    read_truth,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]

Source: TypeAlias = Literal["target", "elsewhere"]

FEWEST = 2  # audited records of a code: one shows no variation


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Audit:
    """Records whose true code is known beside the predicted one, and where they come from.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        The true codes: text or whole numbers.
    y_pred : array-like of shape (n,) or (n, k)
        The predicted codes, of the same model that coded the target. Of k codes the first counts.
    drawn_from : {"target", "elsewhere"}
        "target": the records are a probability sample of the units of the target. "elsewhere":
        they are not, such as last year's audit; then something must be stable between the two,
        and each result says what.
    design : Design or ReplicateDesign, optional
        How the records were drawn; by default as a simple random sample. If drawn from the
        target, the weights are inverse inclusion probabilities, which sum to about its size.
    domain : array-like of shape (n,), optional
        The domain of each record, text or whole numbers, if every domain is to be corrected by
        records of its own.
    rows : array-like of int of shape (n,), or of bool of shape (N,), optional
        Where the audited records stand among the N units of the target: their positions, from 0,
        or True for each of them. Needed only if they were drawn from a target that is itself a
        sample with strata, primary units or unequal weights.

    Attributes
    ----------
    codes : tuple
        The different codes, true or predicted, sorted.
    domains : tuple
        The different domains, sorted; empty if none were given.
    drawn_from : str
        As given.
    design : Design, ReplicateDesign or None
        As given.

    Raises
    ------
    ValueError
        If `drawn_from` is neither, lengths differ, there are no records, a code or a domain is
        missing, or rows are not as many as records, or come twice.
    TypeError
        If codes are of mixed types, or neither text nor whole numbers.

    Examples
    --------
    >>> Audit(["a", "b", "b"], ["a", "a", "b"], drawn_from="elsewhere")
    Audit(3 records, 2 codes, drawn from elsewhere)
    """

    codes: tuple[Any, ...]
    domains: tuple[Any, ...]
    drawn_from: Source
    design: AnyDesign | None
    true: Places  # of each record: the place of its true code in `codes`
    predicted: Places
    domain: Places | None
    rows: Places | None

    def __init__(
        self,
        y_true: Labels,
        y_pred: Labels,
        *,
        drawn_from: Source,
        design: AnyDesign | None = None,
        domain: ArrayLike | None = None,
        rows: ArrayLike | None = None,
    ) -> None:
        if drawn_from not in get_args(Source):
            raise ValueError(
                f"drawn_from={drawn_from!r}; allowed are 'target', if the audited records are a "
                "sample of the units of the target, and 'elsewhere'."
            )
        true, predicted = read_truth(y_true, "y_true"), read_predictions(y_pred, "y_pred")
        check_lengths(y_true=len(true), y_pred=len(predicted))
        _check_design(design, len(true))
        first, second, _ = match(true, predicted.first())
        # `match` numbers codes in the order in which they come.
        different = tuple(dict.fromkeys((*true.different, *predicted.first().different)))
        codes, order = _sorted(different, np.union1d(first, second))
        domains, places = _read_domains(domain, len(true))
        _set(
            self,
            codes=codes,
            domains=domains,
            drawn_from=drawn_from,
            design=design,
            true=order[first[:, 0]],
            predicted=order[second[:, 0]],
            domain=places,
            rows=None if rows is None else _rows(rows, len(true)),
        )

    @classmethod
    def from_counts(cls, counts: pd.DataFrame, *, drawn_from: Source) -> Audit:
        """Read a table of counts, as audits are published.

        Parameters
        ----------
        counts : DataFrame
            How many audited records have the true code of the row and the predicted code of the
            column: whole numbers. The records are taken to be a simple random sample.
        drawn_from : {"target", "elsewhere"}
            Where they were drawn.

        Returns
        -------
        Audit
            The records.

        Raises
        ------
        ValueError
            If a count is missing, negative or not whole, or all are 0.
        TypeError
            If it is no DataFrame.

        Examples
        --------
        >>> table = pd.DataFrame([[8, 2], [1, 9]], index=["no", "yes"], columns=["no", "yes"])
        >>> Audit.from_counts(table, drawn_from="target")
        Audit(20 records, 2 codes, drawn from the target)
        """
        if not isinstance(counts, pd.DataFrame):
            raise TypeError(
                f"counts is a {type(counts).__name__}; give a DataFrame with a row per true code "
                "and a column per predicted code."
            )
        cells = _counts(counts)
        if (cells % 1 != 0).any():
            raise ValueError(
                f"counts has the value {cells[cells % 1 != 0][0]:g}; records are counted in whole "
                "numbers. For a weighted audit give the records and a design."
            )
        times = cells.astype(np.intp).ravel()
        true = np.repeat(counts.index.to_numpy(dtype=object), counts.shape[1])
        predicted = np.tile(counts.columns.to_numpy(dtype=object), counts.shape[0])
        return cls(np.repeat(true, times), np.repeat(predicted, times), drawn_from=drawn_from)

    def __len__(self) -> int:
        return len(self.true)

    def __repr__(self) -> str:
        where = "the target" if self.drawn_from == "target" else "elsewhere"
        return f"Audit({len(self):,} records, {len(self.codes):,} codes, drawn from {where})"

    def to_frame(self) -> pd.DataFrame:
        """Cross the true codes with the predicted ones.

        Returns
        -------
        DataFrame
            How many records have the true code of the row and the predicted code of the column,
            unweighted.
        """
        size = len(self.codes)
        cells = np.bincount(self.true * size + self.predicted, minlength=size * size)
        return pd.DataFrame(
            cells.reshape(size, size),
            index=pd.Index(self.codes, name="true"),
            columns=pd.Index(self.codes, name="predicted"),
        )

    def recoded(self, codes: tuple[Any, ...], places: Places) -> Audit:
        """Give each code the place of another one."""
        audit: Audit = _replaced(
            self, codes=codes, true=places[self.true], predicted=places[self.predicted]
        )
        return audit


@dataclass(frozen=True, eq=False)
class Sample:
    """The units of a target that is a sample: of a population, only the counts matter."""

    design: AnyDesign
    predicted: Places  # of each unit: the place of its code
    domain: Places | None


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Target:
    """The predicted codes of the population that the figures are about, or of a sample of it.

    Parameters
    ----------
    y_pred : array-like of shape (N,) or (N, k)
        The predicted codes: text or whole numbers. Of k codes the first counts.
    design : Design or ReplicateDesign, optional
        How the units were drawn, if they are a sample; equal weights for a simple random sample.
        Left out, they are all units of the population, whose number is then known.
    domain : array-like of shape (N,), optional
        The domain of each unit, text or whole numbers: every domain gets figures of its own.

    Attributes
    ----------
    codes : tuple
        The different predicted codes, sorted.
    domains : tuple
        The different domains, sorted; empty if none were given.
    counts : ndarray of shape (D, K)
        Units per domain and code; weighted, if they are a sample. Without domains D is 1.

    Raises
    ------
    ValueError
        If lengths differ, there are no units, a code or a domain is missing, or all units of a
        domain have the weight 0.
    TypeError
        If codes are of mixed types, or neither text nor whole numbers.

    Examples
    --------
    >>> Target(["a", "b", "a"])
    Target(3 units, 2 codes)
    >>> Target.from_counts({"a": 6_000_000, "b": 4_000_000})
    Target(10,000,000 units, 2 codes)
    """

    codes: tuple[Any, ...]
    domains: tuple[Any, ...]
    counts: Floats
    records: Floats  # as `counts`, each unit counted once
    sample: Sample | None

    def __init__(
        self,
        y_pred: Labels,
        *,
        design: AnyDesign | None = None,
        domain: ArrayLike | None = None,
    ) -> None:
        if isinstance(y_pred, Mapping):
            raise TypeError("y_pred is a mapping. For counts per code use Target.from_counts.")
        read = read_predictions(y_pred, "y_pred").first()
        _check_design(design, len(read))
        numbers = read.numbers[:, 0]
        domains, places = _read_domains(domain, len(numbers))
        shape = (max(len(domains), 1), len(read.different))
        cells = numbers if places is None else places * shape[1] + numbers
        records = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
        counts = records
        if design is not None:
            counts = np.bincount(cells, design.weights, shape[0] * shape[1]).reshape(shape)
            if (empty := ~counts.any(axis=1)).any():
                raise ValueError(
                    f"{int(empty.sum()):,} of {shape[0]:,} domains have units with the weight 0 "
                    "only. Leave them out."
                )
        # Sorted after counting: to sort the numbers of ten million units takes a second.
        codes, order = _sorted(read.different, np.flatnonzero(records.any(axis=0)))
        columns = np.argsort(np.where(order < 0, len(order), order))[: len(codes)]
        _set(
            self,
            codes=codes,
            domains=domains,
            counts=counts[:, columns],
            records=records[:, columns],
            sample=None if design is None else Sample(design, order[numbers], places),
        )

    @classmethod
    def from_counts(cls, counts: Mapping[Any, float] | pd.Series[Any] | pd.DataFrame) -> Target:
        """Read how many units of the population have each predicted code.

        Parameters
        ----------
        counts : dict, Series or DataFrame
            Units per code: a dict, or a Series with the codes as index, as
            ``y_pred.value_counts()`` gives it. For domains a DataFrame with a row per domain and
            a column per code, as ``pd.crosstab(domain, y_pred)`` gives it.

        Returns
        -------
        Target
            A population of which every unit is coded.

        Raises
        ------
        ValueError
            If a count is missing or negative, all of a domain are 0, or a code comes twice.
        TypeError
            If counts are not numbers, or codes are neither text nor whole numbers.

        Examples
        --------
        >>> Target.from_counts(pd.DataFrame({"a": [7, 2], "b": [3, 8]}, index=["north", "south"]))
        Target(20 units, 2 codes, 2 domains)
        """
        if isinstance(counts, Mapping):
            counts = pd.Series(dict(counts))
        if not isinstance(counts, (pd.Series, pd.DataFrame)):
            raise TypeError(
                f"counts is a {type(counts).__name__}; give a dict or Series of units per code, or "
                "a DataFrame with a row per domain and a column per code."
            )
        table = counts.to_frame().T if isinstance(counts, pd.Series) else counts
        cells = _counts(table)
        read = read_codes(table.columns, "codes")
        if len(read.different) < table.shape[1] or (read.numbers < 0).any():
            raise ValueError("A code comes twice, or is missing. Give each code one count.")
        if (empty := ~cells.any(axis=1)).any():
            raise ValueError(f"No unit in {int(empty.sum()):,} of the domains. Leave them out.")
        codes, order = _sorted(read.different, np.arange(len(read.different)))
        domains: tuple[Any, ...] = ()
        if isinstance(counts, pd.DataFrame):
            domains, places = _read_domains(table.index, len(table))
            if places is None or len(domains) < len(table):
                raise ValueError("A domain comes twice. Give each domain one row.")
            cells = cells[np.argsort(places)]
        cells = cells[:, np.argsort(order)]
        target = object.__new__(cls)
        _set(
            target,
            codes=codes,
            domains=domains,
            counts=cells,
            records=cells,
            sample=None,
        )
        return target

    @property
    def design(self) -> AnyDesign | None:
        """How the units were drawn; None if they are all units of the population."""
        return None if self.sample is None else self.sample.design

    def __repr__(self) -> str:
        kind = "units" if self.design is None else "sampled units"
        domains = f", {len(self.domains):,} domains" if self.domains else ""
        return f"Target({self.records.sum():,.0f} {kind}, {len(self.codes):,} codes{domains})"

    def to_frame(self) -> pd.DataFrame:
        """Write the counts as a table.

        Returns
        -------
        DataFrame
            Units per domain (rows) and predicted code (columns); weighted, if they are a sample.
        """
        return pd.DataFrame(
            self.counts, index=pd.Index(self.domains or ("all",), name="domain"), columns=self.codes
        )

    def recoded(self, codes: tuple[Any, ...], places: Places) -> Target:
        """Give each code the place of another one."""
        joined = np.zeros((len(places), len(codes)))
        joined[np.arange(len(places)), places] = 1
        sample = self.sample
        target: Target = _replaced(
            self,
            codes=codes,
            counts=self.counts @ joined,
            records=self.records @ joined,
            sample=sample and replace(sample, predicted=places[sample.predicted]),
        )
        return target


def to_level(
    audit: Audit, target: Target, classification: Classification, level: str
) -> tuple[Audit, Target]:
    """Climb to a level of a classification: fewer codes, each with more audited records.

    Parameters
    ----------
    audit : Audit
        The audit.
    target : Target
        The target.
    classification : Classification
        Of which the codes are.
    level : str
        One of its levels.

    Returns
    -------
    (Audit, Target)
        Both with the codes of that level.

    Raises
    ------
    ValueError
        If there is no such level, a code is unknown, or a code lies above the level.
    TypeError
        If the codes are neither text nor whole numbers.

    See Also
    --------
    collapse_rare : Climb with rare codes only.
    """
    check_pair(audit, target)
    codes = _all_codes(audit, target)
    climbed = classification.at_level(list(codes), level)
    above = [code for code, found in zip(codes, climbed, strict=True) if found is None]
    if above:
        raise ValueError(
            f"{len(above):,} codes lie above the level {level!r}, such as {above[0]!r}. Choose a "
            "higher level, or code these records further down."
        )
    return _join(audit, target, dict(zip(codes, climbed, strict=True)))


def collapse_rare(
    audit: Audit, target: Target, classification: Classification, *, at_least: int = 20
) -> tuple[Audit, Target]:
    """Join each code with few audited records, and its siblings, into their parent.

    What remains is a cut through the classification: common codes at full depth, rare families
    higher up. Whole families climb, or a parent would mean something else than the
    classification says.

    Parameters
    ----------
    audit : Audit
        The audit. If it has domains, a code is as rare as in the domain where it is rarest.
    target : Target
        The target.
    classification : Classification
        Of which the codes are.
    at_least : int, default=20
        How many audited records each code shall have, by true and by predicted code.

    Returns
    -------
    (Audit, Target)
        Both with the joined codes.

    Raises
    ------
    ValueError
        If a code is unknown, `at_least` is below 2, or a code at the top is still rare.
    TypeError
        If the codes are neither text nor whole numbers.

    Notes
    -----
    The codes depend on the audit, which standard errors do not know. Where a figure is published
    again and again, fix the cut once, and use it for every later audit.

    Examples
    --------
    >>> tree = Classification.from_table(
    ...     pd.DataFrame({"code": ["1", "2", "11", "12"], "parent": ["", "", "1", "1"]}).assign(
    ...         title="Title"
    ...     ),
    ...     code="code",
    ...     parent="parent",
    ...     title="title",
    ...     name="small",
    ... )
    >>> audit = Audit(["11"] * 5 + ["2"] * 5, ["11"] * 4 + ["12"] + ["2"] * 5, drawn_from="target")
    >>> joined, _ = collapse_rare(audit, Target(["11", "2", "12"] * 9), tree, at_least=2)
    >>> joined.codes
    ('1', '2')
    """
    if at_least < FEWEST:
        raise ValueError(f"at_least={at_least}; allowed are {FEWEST} records or more.")
    check_pair(audit, target)
    codes = _all_codes(audit, target)
    levels = classification.level_of(list(codes))  # raises where a code is unknown
    now = {
        # Numbers stand for their digits: write each code as the classification does.
        code: str(classification.at_level(code, level))
        for code, level in zip(codes, levels, strict=True)
    }
    joined, joined_target = _join(audit, target, now)
    while rare := _rare_codes(joined, joined_target, at_least):
        level = max(classification.levels.index(classification.level_of(code)) for code in rare)
        if level == 0:
            raise ValueError(
                f"{len(rare):,} codes at the top of {classification.name} have fewer than "
                f"{at_least} audited records, true or predicted, such as {rare[0]!r}. Audit more "
                "of them."
            )
        # The deepest first: what they join may be common enough.
        deepest = [c for c in rare if classification.level_of(c) == classification.levels[level]]
        parents = {classification.parent(code) for code in deepest}
        for code, name in now.items():
            over = parents.intersection((*classification.ancestors(name), name))
            now[code] = over.pop() if over else name
        joined, joined_target = _join(audit, target, now)
    return joined, joined_target


def _rare_codes(audit: Audit, target: Target, at_least: int) -> list[Any]:
    codes = _all_codes(audit, target)
    places = {code: place for place, code in enumerate(codes)}
    own = np.array([places[code] for code in audit.codes], dtype=np.intp)
    domain = np.zeros(len(audit), np.intp) if audit.domain is None else audit.domain
    counts = np.zeros((max(len(audit.domains), 1), len(codes)))
    fewest = np.full(len(codes), np.inf)
    for side in (audit.true, audit.predicted):
        counts[:] = 0
        np.add.at(counts, (domain, own[side]), 1)
        fewest = np.minimum(fewest, counts.min(axis=0))
    return [code for code, count in zip(codes, fewest, strict=True) if count < at_least]


def _join(audit: Audit, target: Target, names: Mapping[Any, Any]) -> tuple[Audit, Target]:
    def recode(one: Any) -> Any:
        new = tuple(sorted({names[code] for code in one.codes}))
        return one.recoded(new, np.array([new.index(names[code]) for code in one.codes], np.intp))

    return recode(audit), recode(target)


def _all_codes(audit: Audit, target: Target) -> tuple[Any, ...]:
    return tuple(sorted({*audit.codes, *target.codes}))


def align(audit: Audit, target: Target) -> tuple[Audit, Target]:
    """Give both the same codes and the same domains, and refuse what does not belong together."""
    check_pair(audit, target)
    strangers = sorted({*audit.domains} - {*target.domains})
    if strangers:
        raise ValueError(
            f"The audit has {len(strangers):,} domains that the target has not, such as "
            f"{strangers[0]!r}. Name the domains of both alike, or leave these records out."
        )
    codes = _all_codes(audit, target)
    places = {code: place for place, code in enumerate(codes)}

    def spread(one: Any) -> Any:
        return one.recoded(codes, np.array([places[code] for code in one.codes], np.intp))

    audit, target = spread(audit), spread(target)
    if audit.domain is not None:
        own = np.array([target.domains.index(name) for name in audit.domains], np.intp)
        audit = _replaced(audit, domains=target.domains, domain=own[audit.domain])
    if audit.drawn_from == "target":
        _check_drawn(audit, target)
    return audit, target


def check_pair(audit: Audit, target: Target) -> None:
    """Refuse what is no audit and no target, or has codes of different types."""
    for name, given, kind in (("audit", audit, Audit), ("target", target, Target)):
        if not isinstance(given, kind):
            raise TypeError(
                f"{name} is a {type(given).__name__}; give {kind.__name__}(...), which reads it."
            )
    if isinstance(audit.codes[0], str) != isinstance(target.codes[0], str):
        kinds = ["text" if isinstance(one.codes[0], str) else "numbers" for one in (audit, target)]
        raise TypeError(
            f"Mixed types: the codes of the audit are {kinds[0]}, those of the target {kinds[1]}. "
            "Give both as text."
        )


def _check_drawn(audit: Audit, target: Target) -> None:
    """Refuse an audit that cannot have been drawn from the target."""
    audited = np.bincount(audit.predicted, minlength=len(audit.codes))
    there = target.records.sum(axis=0)
    more = np.flatnonzero(audited > there)
    if len(more):
        place = more[0]
        raise ValueError(
            f"{audited[place]:,} audited records have the predicted code {audit.codes[place]!r}, "
            f"but {there[place]:,.0f} units of the target: the audit was not drawn from it, or "
            "another model coded it. Give drawn_from='elsewhere', or the same codes."
        )
    if target.sample is not None:
        _check_subsample(audit, target.sample)
    if audit.design is None:
        return
    stand_for, units = float(audit.design.weights.sum()), float(target.counts.sum())
    if not 0.5 < stand_for / units < 2:
        raise ValueError(
            f"The weights of the audit sum to {stand_for:,.6g}, but the target has {units:,.6g} "
            "units. A sample of the target needs inverse inclusion probabilities as weights."
        )


def _check_subsample(audit: Audit, sample: Sample) -> None:
    """Refuse an audit of which is not known where in the sampled target its records stand."""
    design = sample.design
    if audit.rows is None:
        simple = (
            isinstance(design, Design)
            and np.ptp(design.weights) == 0
            and (design.n_strata, design.n_psus) == (1, len(design))
        )
        if not simple:
            raise ValueError(
                "The target is a sample with strata, primary units or unequal weights, and the "
                "audit a part of it: its variance depends on where the audited records stand "
                "there. Give Audit(..., rows=...), such as rows=table['true'].notna()."
            )
        return
    if audit.rows.max() >= len(design):
        raise ValueError(
            f"rows go up to {audit.rows.max():,}, but the target has {len(design):,} units, which "
            "are counted from 0. Give positions in the target."
        )
    other = sample.predicted[audit.rows] != audit.predicted
    if other.any():
        raise ValueError(
            f"{int(other.sum()):,} of {len(audit):,} audited records have another "
            "predicted code than the target has in their rows. Give the rows in the order of the "
            "audited records."
        )


def _check_design(design: AnyDesign | None, n: int) -> None:
    if design is None:
        return
    if not isinstance(design, (Design, ReplicateDesign)):
        raise TypeError(
            f"design is a {type(design).__name__}; give a Design, such as Design(weights=...)."
        )
    check_lengths(records=n, design=len(design))


def _rows(rows: Any, n: int) -> Places:
    """Read positions, or say where a mask is True."""
    given = np.asarray(rows)
    if given.dtype == np.bool_ and given.ndim == 1:
        given = np.flatnonzero(given)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise TypeError(
            f"rows holds {given.dtype} of shape {given.shape}; give the position of each audited "
            "record in the target, or True or False for each unit of the target."
        )
    check_lengths(y_true=n, rows=len(given))
    if len(np.unique(given)) < n or given.min() < 0:
        raise ValueError("A row comes twice, or is negative. Each record has a row of its own.")
    return given.astype(np.intp)


def _read_domains(domain: Any, n: int) -> tuple[tuple[Any, ...], Places | None]:
    """Read one domain per unit: the different ones, sorted, and the place of each unit's."""
    if domain is None:
        return (), None
    read: Codes = read_truth(domain, "domain")
    check_lengths(units=n, domain=len(read))
    numbers = read.numbers[:, 0]
    domains, order = _sorted(read.different, np.arange(len(read.different)))
    return domains, order[numbers]


def _sorted(different: tuple[Any, ...], used: Places) -> tuple[tuple[Any, ...], Places]:
    """Sort labels; say where each of them stands then. Labels that are not used stand nowhere."""
    kept = sorted(used.tolist(), key=lambda number: different[number])
    order = np.full(len(different), -1, dtype=np.intp)
    order[kept] = np.arange(len(kept))
    return tuple(_plain(different[number]) for number in kept), order


def _plain(label: Any) -> Any:
    return str(label) if isinstance(label, str) else int(label)


def _counts(table: pd.DataFrame) -> Floats:
    if table.empty:
        raise ValueError("counts is empty. Give at least one code with a count.")
    try:
        cells = table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise TypeError(f"counts needs numbers: {error}.") from error
    bad = ~np.isfinite(cells) | (cells < 0)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum()):,} of {cells.size:,} counts are missing, infinite or negative; "
            "allowed are 0 and more."
        )
    if not cells.any():
        raise ValueError("All counts are 0. Give at least one unit.")
    return cells


def _set(one: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(one, name, value)


def _replaced(one: Any, **values: object) -> Any:
    """Copy a frozen object whose constructor reads raw input, with some values replaced."""
    other = object.__new__(type(one))
    _set(other, **(one.__dict__ | values))
    return other
