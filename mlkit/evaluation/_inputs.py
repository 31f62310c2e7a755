"""Read what evaluation functions are given, and refuse what they cannot judge."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit.classifications import Classification
from mlkit.estimate import AnyDesign, Design

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Labels: TypeAlias = "ArrayLike | pd.Series[Any] | pd.DataFrame"

MISSING = -1  # in arrays of numbers that stand for codes

_ROUNDING = 1e-4  # some libraries, fastText among them, return 1.00001 for certainty


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes as numbers: a million records hold some hundred different codes.

    `numbers` has shape (n, k) and points into `different`, the different codes; `MISSING` points
    nowhere.
    """

    name: str
    numbers: NDArray[np.intp]
    different: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def are_text(self) -> bool:
        return isinstance(self.different[0], str)

    def first(self) -> Codes:
        """Keep the best code of each record."""
        return replace(self, numbers=self.numbers[:, :1])

    def recode(self, places: list[int]) -> NDArray[np.intp]:
        """Replace each code by a place, given the places of the different codes."""
        return np.array([*places, MISSING], dtype=np.intp)[self.numbers]


def read_codes(labels: Labels, name: str) -> Codes:
    """Read labels of shape (n,) or (n, k)."""
    cells = _as_cells(labels, name)
    if cells.ndim not in (1, 2) or cells.size == 0:
        raise ValueError(
            f"{name} has the shape {cells.shape}; allowed are (n,), one code per record, and "
            "(n, k), the k best codes of each record, with at least one record."
        )
    try:
        found, different = pd.factorize(cells if cells.ndim == 1 else cells.ravel())
    except TypeError as error:
        raise TypeError(
            f"{name} is no table of codes ({error}). Give one code per record, or rows of equal "
            "length, filled up with None."
        ) from error
    codes = Codes(name, found.reshape(len(cells), -1), tuple(different))
    if "" in codes.different:
        codes = _drop_empty(codes)
    _check_types(codes)
    return codes


def read_truth(labels: Labels, name: str) -> Codes:
    """Read one code per record, without gaps."""
    codes = read_codes(labels, name)
    if codes.numbers.shape[1] != 1:
        raise ValueError(
            f"{name} has the shape {codes.numbers.shape}; it needs one code per record, shape (n,)."
        )
    _check_complete(codes)
    return codes


def read_predictions(labels: Labels, name: str) -> Codes:
    """Read one code or k codes per record, of which the first is never missing."""
    codes = read_codes(labels, name)
    _check_complete(codes)
    return codes


def check_lengths(**lengths: int) -> None:
    """Refuse inputs that are not about the same records."""
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(
            f"The lengths differ: {given}. Give one entry per record, in the same order."
        )


def match(a: Codes, b: Codes) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Give equal codes of both equal numbers; also say how many different ones there are."""
    if a.are_text != b.are_text:
        kinds = {True: "text", False: "whole numbers"}
        raise TypeError(
            f"Mixed types: {a.name} is {kinds[a.are_text]}, {b.name} is {kinds[b.are_text]}. "
            "Give both as text, or a classification, which knows what numbers stand for."
        )
    places: dict[Any, int] = {}
    both = [[places.setdefault(v, len(places)) for v in codes.different] for codes in (a, b)]
    return a.recode(both[0]), b.recode(both[1]), len(places)


def at_levels(
    true: Codes, predicted: Codes, classification: Classification, levels: tuple[str, ...]
) -> Iterator[tuple[str, NDArray[np.intp], NDArray[np.intp], int]]:
    """Climb to each level: its name, both sides as places in it, how many codes it has."""
    for level in levels:
        places = {code: place for place, code in enumerate(classification.codes(level))}
        sides = []
        for codes in (true, predicted):
            try:
                ancestors = classification.at_level(list(codes.different), level)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{codes.name}, different codes: {error}") from error
            sides.append(codes.recode([places.get(code, MISSING) for code in ancestors]))
        yield level, sides[0], sides[1], len(places)


def read_weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    """Read weights: finite, none negative, not all zero."""
    if sample_weight is None:
        return None
    weights = _as_numbers(sample_weight, "sample_weight")
    if weights.ndim != 1:
        raise ValueError(f"sample_weight has the shape {weights.shape}; it needs the shape (n,).")
    check_lengths(records=n, sample_weight=len(weights))
    for fault, what in (
        (~np.isfinite(weights), "missing or infinite"),
        (weights < 0, "negative"),
    ):
        if fault.any():
            raise ValueError(
                f"{int(fault.sum()):,} of {n:,} weights are {what}; a weight is the number of "
                "units for which the record stands, 0 or more. Correct them or leave the records "
                "out."
            )
    if not weights.any():
        raise ValueError(
            f"All {n:,} weights are zero, so that no record counts. Check the weights."
        )
    return weights


def designs_by_unit(
    n: int, sample_weight: ArrayLike | None, design: AnyDesign | None
) -> dict[str, AnyDesign | None]:
    """Say with which design to judge the figures of records, and of the population.

    Where all weights are equal, there is one kind of figure.
    """
    if sample_weight is not None and design is not None:
        raise ValueError(
            "Both sample_weight and design are given. A design holds the weights: "
            "Design(weights=..., strata=..., psu=...)."
        )
    weights = read_weights(sample_weight, n)
    if weights is not None:
        design = Design(weights=weights)
    if design is None:
        return {"records": None}
    check_lengths(records=n, design=len(design.weights))
    if np.ptp(design.weights) == 0:
        # Weights alone that are all equal say no more than no weights.
        return {"records": None if sample_weight is not None else design}
    return {"records": design.without_weights(), "population": design}


def read_correct(correct: Any) -> NDArray[np.bool_]:
    """Read whether records are coded correctly; a pair (y_true, y_pred) is compared."""
    if isinstance(correct, tuple) and len(correct) == 2 and not np.isscalar(correct[0]):
        true, predicted = read_truth(correct[0], "y_true"), read_predictions(correct[1], "y_pred")
        check_lengths(y_true=len(true), y_pred=len(predicted))
        truth, first, _ = match(true, predicted.first())
        return np.asarray(truth[:, 0] == first[:, 0])
    if np.ndim(correct) != 1 or len(correct) == 0:
        raise ValueError(
            f"correct has the shape {np.shape(correct)}; it needs one entry per record, shape "
            "(n,), and at least one record."
        )
    values = pd.Series(correct)
    strange = values[~values.isin([False, True])]
    if len(strange):
        raise ValueError(
            f"{len(strange):,} of {len(values):,} entries of correct, such as {strange.iloc[0]!r}, "
            "are neither True nor False (1 nor 0). To compare codes, give the pair "
            "(y_true, y_pred)."
        )
    return values.to_numpy(dtype=bool)


def read_scores(scores: ArrayLike, n: int, *, probabilities: bool = False) -> NDArray[np.float64]:
    """Read the score of the best code of each record."""
    table = _as_numbers(scores, "scores")
    if table.ndim not in (1, 2) or table.size == 0:
        raise ValueError(f"scores has the shape {table.shape}; allowed are (n,) and (n, k).")
    check_lengths(records=n, scores=len(table))
    if table.ndim == 2:
        _check_best_first(table)
        table = table[:, 0]
    bad = ~np.isfinite(table)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum()):,} of {n:,} scores are missing or infinite, so that their records "
            "have no place in the order. Leave them out, or give them the lowest score."
        )
    if not probabilities:
        return table
    if table.min() < -_ROUNDING or table.max() > 1 + _ROUNDING:
        raise ValueError(
            f"The scores go from {table.min():g} to {table.max():g}; here they are read as "
            "probabilities, from 0 to 1. Calibrate them first."
        )
    return np.clip(table, 0, 1)


def _as_numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} needs numbers: {error}.") from error


def _as_cells(labels: Any, name: str) -> Any:
    """Make something of labels that has a shape and that pandas can factorise."""
    if isinstance(labels, pd.DataFrame):
        return labels.to_numpy(dtype=object)
    if isinstance(labels, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)):
        return labels
    # As objects, or a list of texts and numbers would become all texts.
    cells = np.array(labels, dtype=object)
    if cells.ndim == 0:
        raise TypeError(
            f"{name} is a {type(labels).__name__}; give the codes as a list, array or Series."
        )
    return cells


def _drop_empty(codes: Codes) -> Codes:
    """Turn empty text, as in a blank cell of a file, into missing."""
    kept = tuple(value for value in codes.different if value != "")
    places = {value: place for place, value in enumerate(kept)}
    recoded = codes.recode([places.get(value, MISSING) for value in codes.different])
    return Codes(codes.name, recoded, kept)


def _check_types(codes: Codes) -> None:
    strange = [v for v in codes.different if not isinstance(v, str) and not _is_whole_number(v)]
    if strange:
        raise TypeError(
            f"{codes.name} holds {strange[0]!r} ({type(strange[0]).__name__}); a code is text or "
            "a whole number. A column of numbers with gaps turns into decimals: read it as text, "
            "with dtype='str'."
        )
    if len({isinstance(value, str) for value in codes.different}) > 1:
        raise TypeError(
            f"{codes.name} holds mixed types, text and whole numbers. Give all codes as text."
        )


def _check_complete(codes: Codes) -> None:
    absent = int((codes.numbers[:, 0] == MISSING).sum())
    if absent:
        raise ValueError(
            f"{absent:,} of {len(codes):,} records have no code in {codes.name}. Leave them out, "
            "and say how many they are; or give the code of a higher level."
        )


def _check_best_first(table: NDArray[np.float64]) -> None:
    rising = (np.diff(table, axis=1) > 0).any(axis=1)
    # A score behind a missing one: the comparison above cannot see it.
    absent = np.isnan(table)
    gaps = (absent[:, :-1] & ~absent[:, 1:]).any(axis=1)
    if (rising | gaps).any():
        raise ValueError(
            f"In {int((rising | gaps).sum()):,} of {len(table):,} rows of scores a later score is "
            "higher than an earlier one, or the earlier one is missing; give the best code first."
        )


def _is_whole_number(value: object) -> bool:
    return not isinstance(value, (bool, np.bool_)) and isinstance(value, numbers.Integral)
