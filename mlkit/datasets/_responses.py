"""Simulated survey answers to "What is your job?"."""

from __future__ import annotations

import math
import numbers
from typing import Any

from mlkit.datasets._bunch import Bunch

__all__ = ["make_occupation_responses"]


def make_occupation_responses(n: int, *, seed: int, months: int = 12, drift: float = 1.0) -> Bunch:
    """Simulate survey answers to "What is your job?", with their true codes. Any number.

    The answers are drawn from the entries of the ONS coding index of SOC 2010 and put into
    words as people put them, so that the index does not simply give the codes back. The card
    (``print(responses.card)``) says how, with every setting. The population is always the
    same: `seed` draws the sample, so a fresh sample for an audit is a call with another seed.

    Train on rows whose `held_back` is false, and judge on all rows of another sample: the
    others are the jobs that nobody has coded before. No text occurs both with and without
    `held_back`, in samples of whatever seed.

    Parameters
    ----------
    n : int
        The number of answers, 0 or more.
    seed : int
        0 or more. The same call gives the same rows.
    months : int, default=12
        The number of months over which the interviews are spread, from 1 to 120.
    drift : float, default=1.0
        How far things change from the middle of the period to its end: shares of the major
        groups shift, and new wordings come up. 0 for no change, at most 3.

    Returns
    -------
    Bunch
        frame : DataFrame of shape (n, 9)
            What the survey has: columns `text`, `coder_a`, `coder_b`, `arbiter`, `month`,
            `stratum`, `psu`, `weight` and `held_back`, in the order of months, strata and
            primary units. Codes are text, unit groups of SOC 2010. `arbiter` is there for
            every row; a lesson decides which rows were arbitrated.
        classification : Classification
            SOC 2010, with the levels "major", "submajor", "minor" and "unit".
        dictionary : DataFrame
            The entries of the index that a dictionary may use: those that are not held back.
            Columns as in :func:`load_soc_index`, and `text`, the title in spoken order.
        truth : DataFrame of shape (n, 5)
            What nobody has, row by row as in `frame`: the true `code`; `entry`, the row of
            the index it comes from; `clean`, the text before typing errors; `best_code`,
            what the best possible coder says given the text; and `best_probability`, how
            likely he is right.
        ceiling : DataFrame
            One row for each level, from "major" to "unit": the expected share of right codes
            of that best coder, exact, among the `records` of such samples (unweighted) and
            in the `population` (weighted). One minus it is the irreducible error.
        shares : DataFrame
            The true share of each unit group (row) in the population, by month (column).
        card : Card
            What the data are, in full. `DESCR` is the same as text; `name`, `kind`,
            `licence` and `citation` are taken from it.

    Raises
    ------
    TypeError
        If a number is of another type than said above.
    ValueError
        If a number is out of its range.
    DatasetError
        If a file of the kit is missing or damaged.

    Notes
    -----
    The generator is a finite table of entries e, their texts x and probabilities P(e, x),
    mixed over months. The best coder given x takes the code c with the highest
    sum of P(e, x) over the entries of c; his accuracy is the sum over x of that maximum.
    Misspellings do not lower it, because none is a word or the misspelling of another word.

    Examples
    --------
    >>> responses = make_occupation_responses(1000, seed=0)
    >>> responses.frame.shape
    (1000, 9)
    >>> responses.ceiling["records"].round(2).to_dict()
    {'major': 0.94, 'submajor': 0.93, 'minor': 0.91, 'unit': 0.89}
    """
    n = _whole_number("n", n, at_least=0)
    seed = _whole_number("seed", seed, at_least=0)
    months = _whole_number("months", months, at_least=1, at_most=120)
    drift = _strength(drift)

    from mlkit.datasets._survey import simulate

    return simulate(n, seed=seed, months=months, drift=drift)


def _whole_number(name: str, value: Any, at_least: int, at_most: float = math.inf) -> int:
    limits = f"{at_least} or more" if at_most == math.inf else f"from {at_least} to {at_most}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} is {value!r} ({type(value).__name__}); give a whole number, {limits}."
        )
    number = int(value)
    if not at_least <= number <= at_most:
        raise ValueError(f"{name} is {number}; give a whole number, {limits}.")
    return number


def _strength(drift: Any) -> float:
    if isinstance(drift, bool) or not isinstance(drift, numbers.Real):
        raise TypeError(f"drift is {drift!r} ({type(drift).__name__}); give a number from 0 to 3.")
    strength = float(drift)
    if not 0 <= strength <= 3:  # nor is a NaN
        raise ValueError(f"drift is {strength}; give a number from 0 (no drift) to 3.")
    return strength
