"""Several completed data sets, from imputers whose draws vary as much as what is unknown."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone

from mlkit._views import as_html, as_text
from mlkit.estimate import Estimate
from mlkit.evaluation._imputation_cells import as_frame
from mlkit.evaluation._imputation_pool import Pooled, pool

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Mask = NDArray[np.bool_]

OMITTED = (
    "{} not among the columns of the imputation model, so that figures of these domains, or under "
    "this design, may be biased and their intervals too short: in simulations the 95 % intervals "
    "of an omitted domain held the truth in .6 of the samples. Add to columns: {}."
)
FIXED = "it imputes the same values every time, so that the imputed data sets would not differ"
_FEWEST = 2  # observed values of a column that is to be imputed


class ApproximateBayesianBootstrap(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Impute from random donors of the same class, with draws that are proper.

    A hot deck that draws its donors at random among all donors of the class repeats what the
    donors are; that they are themselves a sample is forgotten. Here as many donors are first
    drawn with replacement, and from these those of the recipients. One donor gives all missing
    values of a recipient, so that relations among them are kept.

    Parameters
    ----------
    classes : sequence of str
        The columns whose combinations are the imputation classes: complete, and few different
        values. Publication domains and strata belong here. May be empty: one class.
    random_state : int or None, default=None
        Seed of the draws.

    Attributes
    ----------
    donors_ : DataFrame
        The records that are complete.
    feature_names_in_ : ndarray of str
        The columns.

    Notes
    -----
    Values are missing at random within classes, and donors are the records without any missing
    value. Draws ignore weights: make classes of the weights, or of the strata. With few donors in
    a class the variance is somewhat too small.

    References
    ----------
    Rubin, D. B. and Schenker, N. (1986). Multiple imputation for interval estimation from simple
    random samples with ignorable nonresponse. Journal of the American Statistical Association 81,
    366-374 (cited from memory).

    Examples
    --------
    >>> import pandas as pd
    >>> from mlkit.evaluation.imputation import ApproximateBayesianBootstrap
    >>> people = pd.DataFrame({
    ...     "region": ["north"] * 3 + ["south"] * 3, "income": [1.0, 2.0, None, 8.0, None, 9.0],
    ... })
    >>> ApproximateBayesianBootstrap(["region"], random_state=0).fit_transform(people)
      region  income
    0  north     1.0
    1  north     2.0
    2  north     1.0
    3  south     8.0
    4  south     8.0
    5  south     9.0
    """

    proper_draws = True

    def __init__(self, classes: Sequence[str] = (), random_state: int | None = None) -> None:
        self.classes = classes
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: object = None) -> ApproximateBayesianBootstrap:  # noqa: N803
        """Keep the donors.

        Parameters
        ----------
        X : DataFrame of shape (n, columns)
            Records, some of them with missing values.
        y : ignored
            For scikit-learn's pipelines.

        Returns
        -------
        ApproximateBayesianBootstrap
            Itself.

        Raises
        ------
        ValueError
            If a class has no column, or the column has missing values, or no record is complete.
        TypeError
            If X is no DataFrame, or `classes` is one text.
        """
        _check_classes(self.classes, X)
        complete = X.notna().all(axis=1).to_numpy()
        if not complete.any():
            raise ValueError("No record is complete, so that there is no donor. Choose columns.")
        self.donors_ = X[complete].reset_index(drop=True)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:  # noqa: N803
        """Give the missing values of each record those of a donor of its class.

        Parameters
        ----------
        X : DataFrame of shape (n, columns)
            Records with the columns that were fitted.

        Returns
        -------
        DataFrame of shape (n, columns)
            The same without missing values. Given values, order and index stay.

        Raises
        ------
        ValueError
            If columns differ, a class column has missing values, or a class has fewer than 2
            donors.
        """
        _check_classes(self.classes, X)
        if list(X.columns) != list(self.feature_names_in_):
            raise ValueError(
                f"The columns are {', '.join(map(str, X.columns))}; fitted were "
                f"{', '.join(map(str, self.feature_names_in_))}."
            )
        missing = X.isna()
        rows = np.flatnonzero(missing.any(axis=1).to_numpy())
        if not len(rows):
            return X.copy()
        donor = self._choose(X.iloc[rows])
        filled = X.copy()
        for column in X.columns[missing.any().to_numpy()]:
            cells = missing[column].to_numpy()[rows]
            values = X[column].copy()
            values.iloc[rows[cells]] = self.donors_[column].iloc[donor[cells]].to_numpy()
            filled[column] = values
        return filled

    def _choose(self, recipients: pd.DataFrame) -> NDArray[np.intp]:
        """Choose a donor for each recipient."""
        rng = np.random.default_rng(self.random_state)
        theirs, ours = self._class_numbers(recipients)
        order = np.argsort(theirs, kind="stable")
        size = np.bincount(theirs, minlength=int(max(theirs.max(), ours.max())) + 1)
        few = size[ours] < _FEWEST
        if few.any():
            first = recipients[list(self.classes)].iloc[int(few.argmax())].to_dict()
            raise ValueError(
                f"{len(np.unique(ours[few])):,} imputation classes have fewer than {_FEWEST} "
                f"donors, the first {first}. Join it with a class like it, or use fewer columns."
            )
        start = np.cumsum(size) - size

        def draw(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
            """Draw a place among those of each class."""
            within = np.floor(rng.random(len(numbers)) * size[numbers]).astype(np.intp)
            places: NDArray[np.intp] = start[numbers] + within
            return places

        bootstrapped = order[draw(theirs[order])]
        chosen: NDArray[np.intp] = bootstrapped[draw(ours)]
        return chosen

    def _class_numbers(self, recipients: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give classes the same numbers among donors and recipients."""
        n = len(self.donors_)
        if not len(self.classes):
            return np.zeros(n, dtype=np.intp), np.zeros(len(recipients), dtype=np.intp)
        classes = list(self.classes)
        both = pd.concat([self.donors_[classes], recipients[classes]], ignore_index=True)
        numbers = (
            both.groupby(classes, observed=True, sort=False).ngroup().to_numpy().astype(np.intp)
        )
        return numbers[:n], numbers[n:]


@dataclass(frozen=True, eq=False, repr=False)
class MultipleImputation:
    """What :func:`multiple_imputation` made.

    Attributes
    ----------
    frames : tuple of DataFrame
        The m completed data sets, with the index and columns of what was given.
    missing : DataFrame of bool
        Which cells were imputed.
    columns : tuple
        The columns of the imputation model.
    imputer : str
        What imputed.
    seed : int
        From which the seed of each draw was made.
    note : str
        What to know before using them.
    """

    frames: tuple[pd.DataFrame, ...]
    missing: pd.DataFrame
    columns: tuple[Any, ...]
    imputer: str
    seed: int
    note: str

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return iter(self.frames)

    def __getitem__(self, place: int) -> pd.DataFrame:
        return self.frames[place]

    def pool(
        self,
        statistic: Callable[[pd.DataFrame], Estimate | pd.DataFrame],
        *,
        nu_com: ArrayLike | None = None,
        confidence: float = 0.95,
    ) -> Pooled:
        """Compute a figure from each completed data set, and join them by :func:`pool`.

        Parameters
        ----------
        statistic : callable
            Takes a completed data set and returns an Estimate, or a table as of
            :func:`mlkit.estimate.mean_by`, with standard errors of the *design*.
        nu_com, confidence
            As in :func:`pool`.

        Returns
        -------
        Pooled
            The figures.

        Raises
        ------
        TypeError
            If the statistic returns something else.
        ValueError
            As :func:`pool`.
        """
        found = [statistic(frame) for frame in self.frames]
        for one in found:
            if not isinstance(one, (Estimate, pd.DataFrame)):
                raise TypeError(
                    f"The statistic returns a {type(one).__name__}; return an Estimate of "
                    "mlkit.estimate, or a table of mean_by. For numbers call pool with variances."
                )
        pooled: Pooled = pool(found, nu_com=nu_com, confidence=confidence)  # type: ignore[arg-type]
        return pooled

    def to_frame(self) -> pd.DataFrame:
        """Count what was imputed.

        Returns
        -------
        DataFrame
            One row per imputed column: `imputed`, the number of cells, and `share` of the records.
        """
        counts = self.missing.sum()
        counts = counts[counts > 0]
        return pd.DataFrame({"imputed": counts, "share": counts / len(self.missing)})

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        frame = self.to_frame()
        shown = {
            "column": [str(name) for name in frame.index],
            "imputed": [f"{count:,}" for count in frame["imputed"]],
            "share": [f"{share:.1%}" for share in frame["share"]],
        }
        return (
            f"{len(self):,} completed data sets of {len(self.missing):,} records, {self.imputer}",
            pd.DataFrame(shown),
            f"Columns of the imputation model: {', '.join(map(str, self.columns))}.",
            self.note,
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def multiple_imputation(
    frame: pd.DataFrame,
    imputer: Any,
    *,
    columns: Sequence[Any] | None = None,
    design_columns: Sequence[Any] = (),
    m: int = 20,
    seed: int,
) -> MultipleImputation:
    """Complete a data set m times, with draws that differ as much as what is unknown.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        Records, some of them with missing values. One row per unit.
    imputer : estimator
        scikit-learn's ``IterativeImputer(sample_posterior=True)``,
        :class:`ApproximateBayesianBootstrap`, or any estimator with ``fit``, ``transform``, a
        parameter `random_state` and an attribute ``proper_draws = True``, by which its author
        says that its draws are. It is cloned, never changed.
    columns : sequence of labels, optional
        The columns of the imputation model, those to impute among them; all by default. Others
        stay as they are.
    design_columns : sequence of labels, optional
        The columns that hold publication domains, strata and weights. A warning is given if one
        of them is not among `columns`.
    m : int, default=20
        How many completed data sets.
    seed : int
        Each draw has a seed of its own, made from this one.

    Returns
    -------
    MultipleImputation
        The completed data sets; :meth:`~MultipleImputation.pool` makes a figure of them.

    Raises
    ------
    ValueError
        If nothing is missing, a column to impute has fewer than 2 values, columns are unknown or
        come twice, record identifiers come twice, a number is infinite, m is below 2, or the
        imputer's draws are not proper: the message says why.
    TypeError
        If `frame` is no DataFrame, the imputer is none, or text is to be imputed by an imputer of
        numbers.

    Warns
    -----
    UserWarning
        If publication domains, strata or weights are not in the model.

    Notes
    -----
    Method sheet:

    - *Target*: m draws from what the missing values may be, given those that were observed.
    - *Proper draws* (Rubin 1987): they vary with the unknown values *and* with the parameters of
      the model, which are estimated from the respondents. ``SimpleImputer``, ``KNNImputer`` and
      ``IterativeImputer(sample_posterior=False)`` impute one value, and are refused: pooled, they
      would publish the standard error of a survey without missing values.
    - ``IterativeImputer(sample_posterior=True)`` draws each value by itself, as if the parameters
      had been drawn anew for every record, so that their error, which all values share, averages
      out: in samples of 200 with half of the values missing, 95 % intervals of a mean covered .91,
      and with 70 % missing .84. So here each draw is fitted to a bootstrap sample of the records
      and then completes all of them, as in mice's norm.boot; the same figures are .95 and .95.
    - *Encoding*: for an IterativeImputer complete columns of text, truth values or categories
      become columns of 0 and 1. They enter the model as additive effects; a relation that differs
      by domain needs columns of your own.
    - *Assumptions*: those of :func:`pool`. The imputer's: linear and normal for its default
      model, so that imputed values may break edit rules; adjusting them afterwards changes their
      variance, and with it the intervals.
    - *Fails* where the model omits a publication domain, and for clusters that the model does not
      know, as records are drawn one by one in the bootstrap.
    - *Test*: coverage by simulation, with both controls: a domain omitted, and draws without the
      bootstrap.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from mlkit.estimate import mean_by
    >>> from mlkit.evaluation.imputation import (
    ...     ApproximateBayesianBootstrap, multiple_imputation
    ... )
    >>> rng = np.random.default_rng(0)
    >>> people = pd.DataFrame({"region": np.repeat(["north", "south"], 50)})
    >>> people["income"] = rng.normal(np.repeat([20.0, 30.0], 50), 4)
    >>> people.loc[rng.random(100) < 0.3, "income"] = np.nan
    >>> completed = multiple_imputation(
    ...     people, ApproximateBayesianBootstrap(["region"]), design_columns=["region"], seed=1
    ... )
    >>> pooled = completed.pool(lambda frame: mean_by(frame["income"], frame["region"]))
    >>> print(pooled.estimate("south"))
    30.00 (standard error 0.65; 95 % interval 28.69 to 31.30)
    """
    from threadpoolctl import threadpool_limits

    proper = _check_imputer(imputer)
    chosen = _check_frame(frame, columns, m)
    note = _check_design_columns(frame, chosen, design_columns)
    if note:
        warnings.warn(note, UserWarning, stacklevel=2)
    model = frame[chosen] if proper else _encode(frame[chosen])
    draw = _draw_directly if proper else _draw_after_bootstrap
    missing = frame.isna()
    missing.loc[:, [name for name in frame.columns if name not in set(chosen)]] = False
    seeds = np.random.SeedSequence(seed).generate_state(m)
    with threadpool_limits(1, user_api="blas"):  # tiny matrices: more threads are slower
        frames = tuple(_fill(frame, draw(imputer, model, int(one)), missing) for one in seeds)
    return MultipleImputation(frames, missing, tuple(chosen), type(imputer).__name__, seed, note)


def _check_imputer(imputer: Any) -> bool:
    """Say whether draws are proper by themselves, or after a bootstrap; refuse others."""
    name = type(imputer).__name__
    if not (hasattr(imputer, "fit") and hasattr(imputer, "transform")) or isinstance(imputer, type):
        raise TypeError(
            f"imputer is {imputer!r}; give an estimator with fit and transform, such as "
            "ApproximateBayesianBootstrap(classes=[...])."
        )
    if getattr(imputer, "proper_draws", False) is True:
        return True
    advice = (
        "Use IterativeImputer(sample_posterior=True) or ApproximateBayesianBootstrap; for the "
        "variance after imputing once, reimputation_bootstrap"
    )
    if not hasattr(imputer, "sample_posterior"):
        raise ValueError(
            f"{name} is refused, as its draws are not proper: "
            + (FIXED if name in ("SimpleImputer", "KNNImputer") else "nothing says that they are")
            + f". {advice}."
        )
    if not imputer.sample_posterior:
        raise ValueError(
            f"{name}(sample_posterior=False) is refused, as its draws are not proper: {FIXED}. "
            f"{advice}."
        )
    estimator = getattr(imputer, "estimator", None)
    if estimator is not None and "return_std" not in signature(estimator.predict).parameters:
        raise ValueError(
            f"{name}(estimator={type(estimator).__name__}()) is refused: the estimator knows no "
            "standard deviation of its predictions, so there is nothing to draw from. Use one "
            "whose predict takes return_std, such as BayesianRidge."
        )
    if getattr(imputer, "add_indicator", False):
        raise ValueError(
            f"{name}(add_indicator=True) gives more columns than it takes. Use add_indicator=False."
        )
    return False


def _draw_directly(imputer: Any, model: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw with an imputer that is proper by itself."""
    drawn = clone(imputer).set_params(random_state=seed).fit(model).transform(model)
    return _as_completed(drawn, model, imputer)


def _draw_after_bootstrap(imputer: Any, model: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw with an imputer that is fitted to a bootstrap sample of the records.

    scikit-learn's IterativeImputer draws each value by itself from its predictive distribution;
    what all values share, the error of the parameters, comes in by the bootstrap.
    """
    rng = np.random.default_rng(seed)
    values = model.to_numpy(dtype=np.float64, na_value=np.nan)
    given = ~np.isnan(values)
    enough = np.minimum(given.sum(axis=0), _FEWEST)
    rows = rng.integers(len(values), size=len(values))
    # A sample that has lost all values of a column could not impute it.
    while (given[rows].sum(axis=0) < enough).any():
        rows = rng.integers(len(values), size=len(values))
    sample = np.vstack([values[rows], np.where(given.all(axis=0), values[0], np.nan)])
    # Complete columns need no model; the row added above, from which no model learns, keeps
    # a column from counting as complete where the bootstrap has lost its missing values.
    settings = {"random_state": int(rng.integers(2**31)), "skip_complete": True}
    known = imputer.get_params(deep=False)
    fitted = clone(imputer).set_params(**{k: v for k, v in settings.items() if k in known})
    return _as_completed(fitted.fit(sample).transform(values), model, imputer)


def _encode(model: pd.DataFrame) -> pd.DataFrame:
    """Write complete columns of categories as columns of 0 and 1; numbers stay."""
    categories = [name for name in model.columns if not _is_number(model[name])]
    for name in categories:
        if model[name].isna().any():
            raise TypeError(
                f"The column {name!r} holds {model[name].dtype} values and is to be imputed, but "
                "IterativeImputer imputes numbers. Use ApproximateBayesianBootstrap, or leave it "
                "out of columns."
            )
    numbers = model.drop(columns=categories)
    if not categories:
        return numbers
    return pd.concat([numbers, pd.get_dummies(model[categories], dtype=float)], axis=1)


def _is_number(series: pd.Series[Any]) -> bool:
    kind = series.dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def _as_completed(drawn: Any, model: pd.DataFrame, imputer: Any) -> pd.DataFrame:
    """Check what an imputer gives back."""
    shape = np.shape(drawn)
    if shape != model.shape:
        raise ValueError(
            f"{type(imputer).__name__} gave the shape {shape} for {model.shape}. It must complete "
            "the columns that it is given."
        )
    columns = list(model.columns)
    table = drawn if isinstance(drawn, pd.DataFrame) else pd.DataFrame(drawn)
    table = table.set_axis(columns, axis=1).set_axis(model.index)
    if table.isna().to_numpy().any():
        raise ValueError(
            f"{type(imputer).__name__} left {int(table.isna().to_numpy().sum()):,} values missing."
        )
    return table


def _fill(frame: pd.DataFrame, drawn: pd.DataFrame, missing: pd.DataFrame) -> pd.DataFrame:
    """Put drawn values where values are missing, and nowhere else."""
    filled = frame.copy()
    for name in frame.columns[missing.any().to_numpy()]:
        column, fresh = frame[name], drawn[name]
        if _is_number(column) and not pd.api.types.is_float_dtype(column.dtype):
            column = column.astype("Float64")  # draws need not be whole numbers
        filled[name] = column.where(~missing[name], fresh)
    return filled


def _check_frame(frame: Any, columns: Sequence[Any] | None, m: int) -> list[Any]:
    """Refuse what cannot be imputed; give the columns of the model."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame.")
    as_frame(frame, "frame")
    if isinstance(columns, str):
        raise TypeError(f"columns={columns!r}; give a list, such as [{columns!r}].")
    if m < 2:
        raise ValueError(f"m={m}; at least 2 completed data sets are needed, better 20.")
    chosen = list(frame.columns if columns is None else columns)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"columns has a name twice: {chosen}.")
    _refuse_unknown(frame, chosen, "columns")
    if not frame[chosen].isna().to_numpy().any():
        raise ValueError("Nothing is missing in the columns of the model: there is nothing to do.")
    for name in chosen:
        column = frame[name]
        if column.isna().any() and column.notna().sum() < _FEWEST:
            raise ValueError(
                f"The column {name!r} has {int(column.notna().sum())} values; at least {_FEWEST} "
                "are needed to impute the others. Leave it out of columns."
            )
        if _is_number(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            if np.isinf(numbers).any():
                raise ValueError(
                    f"The column {name!r} has {int(np.isinf(numbers).sum()):,} infinite values. "
                    "Correct them, or make them missing."
                )
    return chosen


def _check_design_columns(
    frame: pd.DataFrame, chosen: list[Any], design_columns: Sequence[Any]
) -> str:
    if isinstance(design_columns, str):
        raise TypeError(f"design_columns={design_columns!r}; give a list of columns.")
    _refuse_unknown(frame, list(design_columns), "design_columns")
    left_out = [name for name in design_columns if name not in chosen]
    if not left_out:
        return ""
    listed = ", ".join(map(repr, left_out))
    return OMITTED.format(f"{listed} {'is' if len(left_out) == 1 else 'are'}", listed)


def _check_classes(classes: Sequence[str], frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"X is a {type(frame).__name__}; give a DataFrame.")
    if isinstance(classes, str):
        raise TypeError(f"classes={classes!r}; give a list, such as [{classes!r}].")
    _refuse_unknown(frame, list(classes), "classes")
    for name in classes:
        if frame[name].isna().any():
            raise ValueError(
                f"The class column {name!r} has {int(frame[name].isna().sum()):,} missing values. "
                "Fill them, for example with 'unknown', or leave it out of classes."
            )


def _refuse_unknown(frame: pd.DataFrame, names: list[Any], what: str) -> None:
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise ValueError(
            f"{what} names {unknown[0]!r}, which is no column; the columns are "
            f"{', '.join(map(str, frame.columns[:20]))}."
        )
