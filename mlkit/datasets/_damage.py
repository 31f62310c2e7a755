"""What happens to records between respondent and office: errors and missing values, by column."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

UNIT = 1_000.0
SMALLEST, LARGEST = 0.1, 10.0  # factors of random errors
STRENGTH = 2.0  # of MAR and MNAR: log-odds between the lowest and the highest value


# --- chances ---------------------------------------------------------------------------------


def chances(propensity: Floats, rate: float) -> Floats:
    """Scale propensities to probabilities whose mean is the rate, none above 1.

    Those that would exceed 1 are set to 1 and the others scaled up, until none exceeds 1: as for
    inclusion probabilities proportional to size.
    """
    probability = np.zeros(len(propensity))
    certain = np.zeros(len(propensity), dtype=bool)
    wanted = rate * len(propensity)
    while wanted > certain.sum():
        rest = np.where(certain, 0.0, propensity)
        total = rest.sum()
        if total == 0:
            break
        probability = np.where(certain, 1.0, rest * ((wanted - certain.sum()) / total))
        beyond = ~certain & (probability >= 1)
        if not beyond.any():
            break
        certain |= beyond
    return np.minimum(probability, 1.0)


def logistic_chances(score: Floats, rate: float, strength: float = STRENGTH) -> Floats:
    """Give probabilities that rise with the score and whose mean is the rate.

    Log-odds are linear in the score, which lies between -1/2 and 1/2; the constant is found by
    bisection, as the mean rises with it.
    """
    if rate <= 0 or rate >= 1 or not len(score):
        return np.full(len(score), float(rate))
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.mean(_logistic(middle + strength * score)) < rate:
            low = middle
        else:
            high = middle
    return _logistic((low + high) / 2 + strength * score)


def _logistic(x: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-x))
    return found


def ranks(values: pd.Series[Any]) -> Floats:
    """Rank values between -1/2 and 1/2, ties in the middle; text by alphabet. Missing is NaN."""
    if not pd.api.types.is_numeric_dtype(values.dtype):
        codes = np.asarray(pd.factorize(values, sort=True)[0], dtype=np.float64)
        values = pd.Series(np.where(codes < 0, np.nan, codes))
    ranked = values.rank(method="average").to_numpy(dtype=np.float64, na_value=np.nan)
    known = max(int(np.count_nonzero(~np.isnan(ranked))), 1)
    return (ranked - 0.5) / known - 0.5


# --- errors ----------------------------------------------------------------------------------


def by_unit(values: Floats) -> Floats:
    """Answer in units instead of thousands."""
    return values * UNIT


def by_sign(values: Floats) -> Floats:
    """Lose a sign, or add one."""
    return -values


def by_chance(values: Floats, rng: np.random.Generator) -> Floats:
    """Multiply by a factor between 0.1 and 10, as likely below 1 as above; the rounding stays."""
    factor = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), values.shape))
    changed = values * factor
    if np.all(values == np.round(values), where=~np.isnan(values)):
        changed = np.round(changed)
    return changed


def another_category(values: pd.Series[Any], hit: Mask, rng: np.random.Generator) -> pd.Series[Any]:
    """Replace categories by others that occur in the column, each as likely."""
    codes, different = pd.factorize(values, sort=True)
    if len(different) < 2:
        return values.copy()
    steps = rng.integers(1, len(different), len(values))
    moved = np.where(hit & (codes >= 0), (codes + steps) % len(different), codes)
    changed = pd.Series(
        pd.Series(different).take(np.maximum(moved, 0)).array, index=values.index, name=values.name
    )
    return changed.astype(values.dtype).where(codes >= 0)


# --- input, refused before any work ------------------------------------------------------------


def check_frame(frame: Any) -> pd.DataFrame:
    """Refuse what is no table of records."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame.")
    if not len(frame):
        raise ValueError("frame has no records. Give at least one.")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(f"frame has more than one column {twice[0]!r}. Rename them.")
    again = frame.index[frame.index.duplicated()]
    if len(again):
        raise ValueError(
            f"The index of frame has {again.tolist()[0]!r} more than once, and masks are read by "
            "it. Give each record an identifier of its own, or call reset_index(drop=True) first."
        )
    return frame


def check_columns(frame: pd.DataFrame, columns: Any, argument: str = "columns") -> list[Any]:
    """Refuse columns that are unknown, named twice, or without any value."""
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise TypeError(f"{argument} is {columns!r}; give a list of column names.")
    names = list(columns)
    if not names:
        raise ValueError(f"{argument} is empty. Name at least one column.")
    for name in names:
        if name not in frame.columns:
            known = [str(column) for column in frame.columns]
            close = difflib.get_close_matches(str(name), known, n=1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{argument} names {name!r}, which frame does not have.{guess} "
                f"The columns are {', '.join(known[:20])}{', ...' if len(known) > 20 else '.'}"
            )
        if names.count(name) > 1:
            raise ValueError(f"{argument} names {name!r} twice. Name each column once.")
        if frame[name].isna().all():
            raise ValueError(f"The column {name!r} has no value at all. Leave it out.")
        if is_number(frame[name]):
            values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
            if np.isinf(values).any():
                first = frame.index[int(np.flatnonzero(np.isinf(values))[0])]
                raise ValueError(
                    f"The column {name!r} is infinite in record {first!r}. Correct it, or make it "
                    "missing."
                )
    return names


def is_number(column: pd.Series[Any]) -> bool:
    """Say whether a column holds numbers; truth values are none."""
    kind = column.dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def check_numbers(frame: pd.DataFrame, names: Sequence[Any], kind: str) -> None:
    """Refuse text where a number is needed."""
    for name in names:
        if not is_number(frame[name]):
            raise TypeError(
                f"The column {name!r} holds no numbers ({frame[name].dtype}), and errors of kind "
                f"{kind!r} need numbers. Leave it out of columns, or turn it into numbers."
            )


def check_rate(rate: Any, name: str = "rate") -> float:
    """Refuse what is no share."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} is {rate!r} ({type(rate).__name__}); give a number from 0 to 1.")
    if not 0 <= rate <= 1:  # nor is a NaN
        raise ValueError(f"{name} is {rate}; give a share from 0 to 1.")
    return float(rate)


def check_propensity(propensity: Any, records: int) -> Floats:
    """Refuse propensities that are missing, negative, all 0, or not one per record."""
    values = np.asarray(propensity)
    if not np.issubdtype(values.dtype, np.number):
        raise TypeError(f"propensity holds {values.dtype}; give one number per record.")
    values = values.astype(np.float64)
    if values.shape != (records,):
        raise ValueError(
            f"propensity has the shape {values.shape}; give one number for each of the "
            f"{records:,} records."
        )
    if not np.isfinite(values).all():
        raise ValueError("propensity has missing or infinite values. Give a number per record.")
    if (values < 0).any():
        raise ValueError("propensity has negative values. Give 0 for a record that is never hit.")
    if not values.any():
        raise ValueError("propensity is 0 for every record. Give more than 0 for some.")
    return values


# --- the work of _inject.py -------------------------------------------------------------------


def errors(
    frame: Any, kind: str, rate: Any, seed: int, columns: Any, whole_record: Any, propensity: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do what :func:`mlkit.datasets.inject_errors` says."""
    kinds = ("unit", "sign", "swap", "random")
    if kind not in kinds:
        raise ValueError(f"kind is {kind!r}; allowed are {', '.join(map(repr, kinds))}.")
    if not isinstance(whole_record, bool):
        raise TypeError(f"whole_record is {whole_record!r}; give True or False.")
    frame = check_frame(frame)
    rate = check_rate(rate)
    if columns is None:
        columns = [c for c in frame if is_number(frame[c]) or kind == "random"]
        if not columns:
            raise ValueError(f"frame has no column of numbers, and {kind!r} errors need some.")
    names = check_columns(frame, columns)
    if kind != "random":
        check_numbers(frame, names, kind)
    if kind == "swap" and len(names) != 2:
        raise ValueError(
            f"columns has {len(names)} names; a swap needs the two columns that are confused."
        )
    chance = np.full(len(frame), rate)
    if propensity is not None:
        chance = chances(check_propensity(propensity, len(frame)), rate)

    rng = np.random.default_rng(seed)
    together = whole_record or kind == "swap"
    shape = (len(frame), 1 if together else len(names))
    hit = np.broadcast_to(rng.random(shape) < chance[:, None], (len(frame), len(names)))
    changed = frame.copy()
    for place, name in enumerate(names):
        column = frame[name]
        if kind == "swap":
            other = frame[names[1 - place]]
            new = column.where(~(hit[:, place] & other.notna().to_numpy()), other)
            new = new.where(column.notna())
        elif is_number(column):
            new = _wrong_numbers(column, kind, hit[:, place], rng)
        else:
            new = another_category(column, hit[:, place], rng)
        changed[name] = new
    return changed, differences(frame, changed)


def _wrong_numbers(
    column: pd.Series[Any], kind: str, hit: Mask, rng: np.random.Generator
) -> pd.Series[Any]:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "unit":
        wrong = by_unit(values)
    elif kind == "sign":
        wrong = by_sign(values)
    else:
        wrong = by_chance(values, rng)
    if pd.api.types.is_integer_dtype(column.dtype):
        info = np.iinfo(getattr(column.dtype, "numpy_dtype", column.dtype))
        outside = hit & ((wrong < info.min) | (wrong > info.max))
        if outside.any():
            raise ValueError(
                f"The column {column.name!r} ({column.dtype}) cannot hold the wrong values. Give "
                "it the type float first."
            )
        # Whole numbers stay exact where nothing is changed: a float64 holds 53 bits.
        safe = pd.Series(np.where(hit, wrong, 0), index=column.index)
        return column.mask(hit & column.notna().to_numpy(), safe.fillna(0).astype(column.dtype))
    return column.mask(hit, pd.Series(wrong, index=column.index).astype(column.dtype))


def differences(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Say where two tables of the same form differ; two missing values do not."""
    found = {}
    for name in before:
        one, two = before[name], after[name]
        differ = (one != two).fillna(True).to_numpy(dtype=bool)
        found[name] = differ & ~(one.isna() & two.isna()).to_numpy()
    return pd.DataFrame(found, index=before.index, columns=before.columns)


def missing(
    frame: Any, mechanism: str, rate: Any, seed: int, columns: Any, depends_on: Any, strength: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do what :func:`mlkit.datasets.inject_missing` says."""
    check_mechanism(mechanism)
    frame = check_frame(frame)
    rate = check_rate(rate)
    strength = _check_strength(strength)
    if (mechanism == "mar") != (depends_on is not None):
        raise ValueError(
            f"mechanism is {mechanism!r} and depends_on is {depends_on!r}; 'mar' needs a column "
            "that tells who does not answer, and the others none."
        )
    if columns is None:
        columns = [name for name in frame if depends_on is None or name != depends_on]
    names = check_columns(frame, columns)
    score: Floats | None = None
    if depends_on is not None:
        check_columns(frame, [depends_on], "depends_on")
        if depends_on in names:
            raise ValueError(
                f"depends_on is {depends_on!r}, which is among columns: what depends on a value "
                "that may be missing itself is 'mnar'. Leave it out of columns."
            )
        if frame[depends_on].isna().any():
            raise ValueError(
                f"The column {depends_on!r} of depends_on has missing values, and 'mar' depends on "
                "what is observed. Fill them, or take another column."
            )
        score = ranks(frame[depends_on])

    rng = np.random.default_rng(seed)
    mask = pd.DataFrame(False, index=frame.index, columns=frame.columns)
    changed = frame.copy()
    for name in names:
        own = ranks(frame[name]) if mechanism == "mnar" else score
        hit = no_answer(frame[name].notna().to_numpy(), own, rate, rng, strength)
        mask[name] = hit
        changed[name] = blank(frame[name], hit)
    return changed, mask


def check_mechanism(mechanism: Any) -> None:
    """Refuse an unknown mechanism."""
    if mechanism not in ("mcar", "mar", "mnar"):
        raise ValueError(f"mechanism is {mechanism!r}; allowed are 'mcar', 'mar' and 'mnar'.")


def _check_strength(strength: Any) -> float:
    if isinstance(strength, bool) or not isinstance(strength, (int, float, np.number)):
        raise TypeError(f"strength is {strength!r} ({type(strength).__name__}); give a number.")
    if not -20 <= strength <= 20:
        raise ValueError(
            f"strength is {strength}; give a number from -20 to 20. It is the difference of the "
            "log-odds between the highest and the lowest value."
        )
    return float(strength)


def no_answer(
    eligible: Mask,
    score: Floats | None,
    rate: float,
    rng: np.random.Generator,
    strength: float = STRENGTH,
) -> Mask:
    """Draw who does not answer, among the eligible; `rate` is their share."""
    draws = rng.random(len(eligible))
    chance = np.zeros(len(eligible))
    if score is None:
        chance[eligible] = rate
    else:
        chance[eligible] = logistic_chances(score[eligible], rate, strength)
    return draws < chance


def blank(column: pd.Series[Any], hit: Mask) -> pd.Series[Any]:
    """Make values missing; a column of truth values or whole numbers takes a type that can."""
    if not hit.any():
        return column.copy()
    if column.dtype == bool:
        column = column.astype("boolean")
    elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu":
        column = column.astype("float64")
    return column.mask(hit)
