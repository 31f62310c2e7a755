"""Errors and missing values for any data frame, with masks that say where they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from mlkit.datasets._responses import _whole_number

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

__all__ = ["inject_errors", "inject_missing"]


def inject_errors(
    frame: pd.DataFrame,
    *,
    kind: Literal["unit", "sign", "swap", "random"],
    rate: float,
    seed: int,
    columns: Iterable[Any] | None = None,
    whole_record: bool = False,
    propensity: ArrayLike | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put errors of one kind into a data frame, and say where they are.

    For several kinds call it again with what it returned, and join the masks.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        The true records. It is not changed.
    kind : {"unit", "sign", "swap", "random"}
        What goes wrong with a value: "unit", it is given in units instead of thousands, that is
        times 1,000; "sign", it has the other sign; "swap", the values of two columns are
        confused; "random", a number is multiplied by a factor between 0.1 and 10 (log-uniform,
        rounded if the column holds whole numbers), and a text or truth value is replaced by
        another one of the column.
    rate : float
        The share of cells, or of records for swaps and with `whole_record`, that are hit.
    seed : int
        0 or more. The same call gives the same errors.
    columns : list of column names, optional
        Where errors may be; by default all columns of numbers, and for "random" all columns. A
        swap needs two.
    whole_record : bool, default=False
        Whether a record that is hit has the error in all these columns at once, such as all
        amounts in units.
    propensity : array-like of shape (n,), optional
        How much each record is prone to errors, 0 or more, relative to the others; the mean
        chance stays `rate`. For errors that grow with size give a column of sizes. By default
        all are the same.

    Returns
    -------
    frame : DataFrame of shape (n, columns)
        The records with errors; index, columns and types as given.
    mask : DataFrame of bool, of shape (n, columns)
        Where the value has changed. Fewer cells than were hit: a zero stays zero with any
        factor, a missing value stays missing, and a factor may round to the same value.

    Raises
    ------
    TypeError
        If `frame` is no data frame, or a column holds text where the kind needs numbers.
    ValueError
        If there are no records; columns are unknown, named twice or without any value; values
        are infinite; identifiers in the index are not unique; `rate` is no share; `propensity`
        has another length, is missing, negative or 0 throughout.

    Examples
    --------
    >>> import pandas as pd
    >>> firms = pd.DataFrame({"turnover": [120.0, 80.0, 95.0, 210.0]})
    >>> wrong, mask = inject_errors(firms, kind="unit", rate=0.5, seed=1)
    >>> wrong["turnover"].tolist(), mask["turnover"].tolist()
    ([120.0, 80.0, 95000.0, 210.0], [False, False, True, False])
    """
    seed = _whole_number("seed", seed, at_least=0)

    from mlkit.datasets._damage import errors

    return errors(frame, kind, rate, seed, columns, whole_record, propensity)


def inject_missing(
    frame: pd.DataFrame,
    *,
    mechanism: Literal["mcar", "mar", "mnar"],
    rate: float,
    seed: int,
    columns: Iterable[Any] | None = None,
    depends_on: Any = None,
    strength: float = 2.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make values of a data frame missing, and say which.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        The records. It is not changed.
    mechanism : {"mcar", "mar", "mnar"}
        "mcar", missing completely at random; "mar", at random given the column `depends_on`;
        "mnar", not at random: the chance depends on the value that goes missing.
    rate : float
        The expected share of the values of each column that go missing.
    seed : int
        0 or more. The same call gives the same missing values.
    columns : list of column names, optional
        Where values may go missing; all by default, without `depends_on`.
    depends_on : column name, optional
        For "mar" only, and needed there: the column on which the chance depends. It has no
        missing values and stays observed.
    strength : float, default=2.0
        For "mar" and "mnar": the difference of the log-odds of a missing value between the
        highest and the lowest value. Negative if low values go missing more often.

    Returns
    -------
    frame : DataFrame of shape (n, columns)
        The records with missing values; index and columns as given. Whole numbers become
        float64 and truth values "boolean" in columns that get a missing value.
    mask : DataFrame of bool, of shape (n, columns)
        What has gone missing. What was missing before is not in it.

    Raises
    ------
    TypeError
        If `frame` is no data frame, or a number is of another type than said above.
    ValueError
        If the mechanism is unknown; there are no records; columns are unknown, named twice or
        without any value; values are infinite; identifiers in the index are not unique; `rate`
        is no share; `depends_on` is missing for "mar", given otherwise, among `columns`, or has
        missing values.

    Notes
    -----
    The log-odds are linear in the rank of the value, so that a heavy tail does not decide who
    answers: logit p = a + strength (rank - 1/2) / n, with a such that the mean of p is `rate`
    in each column. Columns of text are ranked by alphabet. Columns go missing independently of
    each other, given what they depend on.

    Examples
    --------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"age": range(1000), "income": range(1000)})
    >>> seen, mask = inject_missing(
    ...     people, mechanism="mar", rate=0.2, seed=0, depends_on="age", strength=6.0
    ... )
    >>> mask.mean().to_dict()
    {'age': 0.0, 'income': 0.196}
    >>> float(people["income"].mean()), float(seen["income"].mean().round())
    (499.5, 429.0)
    """
    seed = _whole_number("seed", seed, at_least=0)

    from mlkit.datasets._damage import missing

    return missing(frame, mechanism, rate, seed, columns, depends_on, strength)
