"""Fall back to the parent code: each record gets the deepest code that is safe for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from mlkit.coding._certify import _levels, _Sample, threshold_grid
from mlkit.coding._checks import as_design
from mlkit.coding._fall_back_certificate import FallBackCertificate, FallBackCodes, LevelRule

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_matrix

    from mlkit.classifications import Classification
    from mlkit.coding._certificate import Scope
    from mlkit.estimate import AnyDesign

_MEASURES = ("top", "margin")

# Probabilities of so many records times classes are in memory at a time: 32 MB.
_BLOCK = 4_000_000

# Rows from which the temperature of a decision function is learnt; more change it little.
_TEMPERATURE_ROWS = 10_000

# Prior variance of what is particular to a code, on the log-odds, given its parent's. The
# default of scikit-learn: a code differs from its parent by a factor e in the odds.
_PRIOR_VARIANCE = 1.0

# The log-odds of 0 and 1 are infinite, so confidences stop short of them.
_EDGE = 1e-7

# Rules from careful to bold. First those that would pass with fewer errors than are allowed, by
# the part of them that they need: should the sample be worse than the rows that plan, some pass.
# Then those with less and less of a chance to pass, by its normal quantile.
_PARTS = (0.2, 0.4, 0.6, 0.8)
_QUANTILES = np.linspace(4, -1, 21)

# With fewer records, half of them may be alike by chance.
_FEW = 10

# Some libraries, fastText among them, return 1.00001 for certainty; others work in float32.
_ROUNDING = 1e-3

_NOWHERE = -1  # in arrays of places of codes


class FallBackCoder(BaseEstimator):  # type: ignore[misc]
    """Code each record at the deepest level of a classification that is safe for it.

    A wrapper around a fitted classifier. The probability of a code is the sum of those of the
    classes below it. At each level the record has a best code and a confidence, which is turned
    into the probability that this code is right, by code. A record is coded at the deepest level
    where that probability reaches the level's cut-off; a record that reaches none goes to a
    clerk. The cut-offs are certified on a fresh sample.

    It takes three sets of records, no record in two of them: one that trained the classifier,
    one for :meth:`fit`, and a random sample of the population for :meth:`certify`.

    Parameters
    ----------
    classification : Classification
        To which the classes belong. They may be of different levels, and the classification
        ragged.
    classifier : fitted scikit-learn classifier, optional
        With `classes_`, and `predict_proba` or `decision_function`; a Pipeline that takes rows
        of text, for example. It is never trained here. Wrap it in scikit-learn's
        FrozenEstimator if this estimator is to be cloned. Without a classifier, X is everywhere
        a pair ``(codes, scores)``, each of shape (n, k): the stored short-lists of any coder,
        the best code first, padded with None.
    levels : sequence of str, optional
        The levels at which records may be coded. By default every level that a class reaches.
    measure : {"top", "margin"}, default="top"
        The confidence at a level: the probability of its best code, or the difference between
        its best and its second-best.

    Attributes
    ----------
    levels_ : tuple of str
        The levels at which records may be coded, from the top down.
    slopes_ : ndarray of shape (levels,)
        By level, how much the log-odds of being right rise with those of the confidence.
    temperature_ : float
        By which margins are divided before the softmax, if the classifier has a
        decision function and no probabilities; else 1.
    certificate_ : FallBackCertificate
        What :meth:`certify` found.

    See Also
    --------
    certify_per_code : One certificate for each predicted code, at one level.

    Notes
    -----
    **What is certified.** For every level used, all at once, with the confidence asked for: of
    the records coded *at* that level, at least the target has a right code, the true code or an
    ancestor of it. The claim is about those coded *at* the level, not at it or deeper: the
    records that fall back are the hard ones, and in a pooled figure the easy ones would hide
    them. (A threshold certified at each level by itself, each record then taking the deepest
    that it passes, guarantees nothing about those that fall back.) Codes of a level are pooled;
    a claim for single codes needs hundreds of checked records of each: :func:`certify_per_code`.

    **How.** A rule is a set of cut-offs, one for each level. Rules are planned from the rows of
    :meth:`fit` and the size of the sample alone, in an order from careful to bold: each takes,
    from the deepest level up, the loosest cut-off at which that level is expected to pass its
    test with a certain chance, which falls from .99997 to .16. A level for which there is none
    is closed in that rule, and its records fall on to the next level. The walk tests the rules on
    the fresh sample in that order. A rule passes if at *every* level it uses the lower bound
    reaches the target; the walk stops at the first that does not, and keeps the last that did.

    **Why no confidence needs to be shared out.** A rule that is false at some level passes only
    if that level's own bound fails, which happens with probability delta at most, whatever
    the other levels do (intersection-union test [1]_). Of the false rules only the first in the
    order can start a false certificate, for the walk ends there unless it passes (fixed-sequence
    test [2]_). So every test is made at the full confidence, over levels and rules. The price:
    the weakest level stops the walk for all, for which reason every level is given the same chance.

    **Thresholds by code.** The probability that the best code c at a level is right, given its
    confidence s, is ``logit(q) = slope * logit(s) + b + sum of u_v``, over c and its ancestors
    v; a logistic regression with a ridge penalty on the u_v. A rare code has a u_v near 0 and
    so the threshold of its parent, one that never occurred exactly that. A cut-off in q is a
    threshold in s for each code: :meth:`thresholds`.

    **Details.** A true code above the level at which a record is coded cannot confirm the code,
    so it counts as wrong. A true code that the classifier has no class for can be right at higher
    levels. In a ragged classification, a class that ends early is a code of its own level.
    Probabilities are summed in blocks of rows. Of a short-list only the codes listed count, so
    that a parent's confidence is a lower bound; what is certified holds all the same.

    **When it fails.** After the period of the sample; when :meth:`certify` is called on several
    targets or fits until one passes; when its rows trained the classifier, which cannot be seen
    here; where the gold standard errs. Bounds are exact for simple random samples, else
    approximate.

    References
    ----------
    .. [1] Berger, R. L. (1982). Multiparameter hypothesis testing and acceptance sampling.
       Technometrics 24.
    .. [2] Angelopoulos, A., Bates, S., Candes, E., Jordan, M. and Lei, L. (2021). Learn then
       test. arXiv:2110.01052, section on fixed-sequence testing.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from mlkit.classifications import Classification
    >>> from mlkit.coding import Scope
    >>> jobs = Classification.from_table(
    ...     pd.DataFrame(
    ...         {
    ...             "code": ["1", "11", "12", "2", "21"],
    ...             "parent": ["", "1", "1", "", "2"],
    ...             "title": ["Managers", "Directors", "Farmers", "Professionals", "Doctors"],
    ...         }
    ...     ),
    ...     code="code", parent="parent", title="title", name="jobs", levels=["major", "unit"],
    ... )
    >>> rng = np.random.default_rng(0)
    >>> true = rng.choice(["11", "12", "21"], 6000)
    >>> vague = (true != "21") & (rng.random(6000) < 0.5)  # answers that only say "manager"
    >>> first = np.where(vague, rng.choice(["11", "12"], 6000), true)
    >>> other = np.where(first == "11", "12", "11")
    >>> codes = np.column_stack([first, other])
    >>> scores = np.where(vague[:, None], [0.5, 0.5], [0.98, 0.01])
    >>> coder = FallBackCoder(jobs).fit((codes[:3000], scores[:3000]), true[:3000])
    >>> scope = Scope("simulated answers", "2024", "records", "the arbitrated code")
    >>> certificate = coder.certify((codes[3000:], scores[3000:]), true[3000:], scope=scope)
    >>> certificate.certified
    True
    >>> coder.predict(([["11", "12"], ["11", "12"]], [[0.98, 0.01], [0.5, 0.5]]))
    array(['11', '1'], dtype=object)
    """

    def __init__(
        self,
        classification: Classification,
        classifier: Any = None,
        *,
        levels: Sequence[str] | None = None,
        measure: Literal["top", "margin"] = "top",
    ) -> None:
        self.classification = classification
        self.classifier = classifier
        self.levels = levels
        self.measure = measure

    def fit(self, X: Any, y: Any) -> FallBackCoder:  # noqa: N803
        """Learn how sure each code is, and plan from which records the cut-offs will come.

        Parameters
        ----------
        X : sequence, array, DataFrame or sparse matrix with n rows
            What the classifier takes, such as a list or Series of texts: records that did not
            train it. Without a classifier a pair ``(codes, scores)``, each of shape (n, k).
        y : array-like of shape (n,)
            Their true codes, of any level. They need not be among the classes.

        Returns
        -------
        FallBackCoder
            Itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        ValueError
            If lengths differ, there are no records, a true code is missing, a class or a code is
            unknown to the classification, a level is unknown or reached by no class, or
            probabilities are missing or do not add up to 1.
        TypeError
            If the classifier has neither `predict_proba` nor `decision_function`, or codes are
            neither text nor whole numbers.
        """
        if self.measure not in _MEASURES:
            raise ValueError(
                f"measure={self.measure!r}; allowed are {', '.join(map(repr, _MEASURES))}."
            )
        records, truth = _read(X, y, self.classifier)
        reached = records.different if isinstance(records, _Lists) else _classes(self.classifier)
        self.levels_ = _choose_levels(self.classification, self.levels, reached)
        self._tree = _Tree.of(self.classification, self.levels_)
        self.temperature_ = 1.0
        if isinstance(records, _Rows):
            self._sums = self._tree.sums_over(reached)
            if not hasattr(self.classifier, "predict_proba"):
                self.temperature_ = _fit_temperature(self.classifier, records, truth)
        guess = self._guess(records)
        right = self._right(guess, truth)
        self._lines = _Lines.fit(self._tree, guess, right)
        self.slopes_ = self._lines.slopes
        self._seen = np.bincount(guess.best[guess.best != _NOWHERE], minlength=len(self._tree))
        self._planned_from = _out_of_fold(self._tree, guess, right), right
        self._fingerprint = _fingerprint(guess, right)
        self.__dict__.pop("certificate_", None)  # of an earlier fit
        return self

    def certify(
        self,
        X: Any,  # noqa: N803
        y: Any,
        *,
        scope: Scope,
        target: float = 0.95,
        confidence: float = 0.95,
        sample_weight: ArrayLike | None = None,
        design: AnyDesign | None = None,
    ) -> FallBackCertificate:
        """Walk down the planned rules on a fresh sample, and keep the last that passes.

        Parameters
        ----------
        X : as for :meth:`fit`
            The records of the certification sample: a random one of the population, with
            records that a clerk would code included; none of those of :meth:`fit`, nor of those
            that trained the classifier.
        y : array-like of shape (n,)
            Their true codes.
        scope : Scope
            Population, period, unit and gold standard.
        target : float, default=0.95
            The agreement to certify at every level.
        confidence : float, default=0.95
            The confidence of the certificate, for all levels together.
        sample_weight : array-like of shape (n,), optional
            Design weights, valid for independent selection only. With strata or primary units,
            give `design`.
        design : Design or ReplicateDesign, optional
            The design of the certification sample.

        Returns
        -------
        FallBackCertificate
            The certified cut-offs with their path; also kept as `certificate_`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If the records are those of :meth:`fit`; as there; or if `target` or `confidence` is
            not between 0 and 1, or weights are negative or all 0.
        """
        _require(self, "levels_", "fit")
        target, delta = _levels(target, confidence)
        records, truth = _read(X, y, self.classifier)
        design = as_design(sample_weight, design, records.size)
        guess = self._guess(records)
        right = self._right(guess, truth)
        _refuse_same_rows(self._fingerprint, _fingerprint(guess, right))
        rules = _plan(*self._planned_from, _effective_size(design, records.size), target, delta)
        samples = [
            _Sample(right_there, sure_there, design, records.size)
            for right_there, sure_there in zip(right.T, self._lines.sure(guess).T, strict=True)
        ]
        self.certificate_ = FallBackCertificate(
            levels=self.levels_,
            target=target,
            confidence=1 - delta,
            scope=scope,
            path=_walk(rules, samples, self.levels_, target, delta),
            planned=len(rules),
            records=records.size,
            method=samples[0].method,
        )
        return self.certificate_

    def code(self, X: Any) -> FallBackCodes:  # noqa: N803
        """Code records, each at the deepest level that is safe for it.

        Parameters
        ----------
        X : as for :meth:`fit`
            Records of the population and period of the certificate. Zero records are allowed.

        Returns
        -------
        FallBackCodes
            Codes, levels and confidences, and the share coded at each level.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`certify`.
        """
        _require(self, "certificate_", "certify")
        guess = self._guess(_read_records(X, self.classifier))
        sure = self._lines.sure(guess)
        cut_offs = self.certificate_.cut_offs
        depth = _deepest(sure, np.array([cut_offs[level] for level in self.levels_]))
        coded = depth != _NOWHERE
        rows = np.arange(len(depth))
        codes = np.array([*self._tree.codes, None], dtype=object)
        names = np.array([*self.levels_, None], dtype=object)
        return FallBackCodes(
            codes=codes[np.where(coded, guess.best[rows, depth], _NOWHERE)],
            levels=names[depth],
            confidences=np.where(coded, sure[rows, depth], np.nan),
            names=self.levels_,
        )

    def predict(self, X: Any) -> NDArray[np.object_]:  # noqa: N803
        """Give the codes alone.

        Parameters
        ----------
        X : as for :meth:`fit`
            Records of the population and period of the certificate.

        Returns
        -------
        ndarray of shape (n,)
            The code of each record at the deepest level that is safe; None where a clerk must
            code.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`certify`.
        """
        return self.code(X).codes

    def thresholds(self) -> pd.DataFrame:
        """Tell which confidence each code needs.

        Returns
        -------
        DataFrame
            One row per code of the levels used, the deepest level first: `code`, `level`,
            `records` (how many rows of :meth:`fit` had it as best code of the level), and
            `threshold`: the confidence, as the measure gives it, from which a record is coded
            to it, if not more deeply; missing if no confidence is enough. A code with few
            records has a threshold near that of its parent.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`certify`.
        """
        _require(self, "certificate_", "certify")
        frames = []
        for level in reversed(range(len(self.levels_))):
            name, places = self.levels_[level], self._tree.places(level)
            frame = pd.DataFrame(
                {
                    "code": self._tree.codes[places],
                    "level": name,
                    "records": self._seen[places],
                    "threshold": self._lines.thresholds(
                        level, places, self.certificate_.cut_offs[name]
                    ),
                }
            )
            frames.append(frame.astype({"code": "str", "level": "str"}))
        return pd.concat(frames, ignore_index=True)

    def _guess(self, records: _Rows | _Lists) -> _Guess:
        """Give the best code and its confidence, at each level."""
        if isinstance(records, _Lists):
            return _best_of_lists(records, self._tree, self.measure)
        classes = len(_classes(self.classifier))
        best = np.empty((records.size, len(self.levels_)), dtype=np.intp)
        score = np.empty(best.shape)
        for block in _blocks(records.size, classes):
            table = _chances(self.classifier, records[block], classes, self.temperature_)
            for level, places, matrix in self._sums:
                table = table if matrix is None else table @ matrix
                number, score[block, level] = _best_of(table[:, : len(places)], self.measure)
                best[block, level] = places[number]
        return _Guess(best, np.clip(score, 0.0, 1.0))

    def _right(self, guess: _Guess, truth: _Truth) -> NDArray[np.bool_]:
        """Say at which levels the best code is the true one or an ancestor of it."""
        true = self._tree.paths(truth.different, "y")[truth.numbers]
        right: NDArray[np.bool_] = (guess.best == true) & (true != _NOWHERE)
        return right


class _Truth(NamedTuple):
    """True codes: for each record the number of one of the different codes."""

    numbers: NDArray[np.intp]
    different: list[Any]


class _Guess(NamedTuple):
    """The place of the best code at each level, and the confidence in it: both (n, levels)."""

    best: NDArray[np.intp]
    score: NDArray[np.float64]


@dataclass(frozen=True)
class _Rows:
    """Records as a classifier takes them."""

    given: Any
    size: int

    def __getitem__(self, block: slice) -> Any:
        return self.given.iloc[block] if hasattr(self.given, "iloc") else self.given[block]


@dataclass(frozen=True)
class _Lists:
    """Stored short-lists: numbers of codes, and their scores, both (n, k)."""

    numbers: NDArray[np.intp]
    scores: NDArray[np.float64]
    different: list[Any]

    @property
    def size(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class _Tree:
    """The codes of some levels of a classification, numbered level by level from the top."""

    classification: Classification
    levels: tuple[str, ...]
    codes: NDArray[np.object_]
    starts: NDArray[np.intp]  # the first place of each level, and the end

    @classmethod
    def of(cls, classification: Classification, levels: tuple[str, ...]) -> _Tree:
        by_level = [classification.codes(level) for level in levels]
        starts = np.cumsum([0, *map(len, by_level)])
        return cls(classification, levels, np.concatenate(by_level), starts)

    def __len__(self) -> int:
        return len(self.codes)

    def places(self, level: int) -> NDArray[np.intp]:
        return np.arange(self.starts[level], self.starts[level + 1])

    def paths(self, codes: Sequence[Any], name: str) -> NDArray[np.intp]:
        """Find the ancestor (or itself) of each code at each level; nowhere below the code."""
        place = {code: number for number, code in enumerate(self.codes)}
        paths = np.full((len(codes), len(self.levels)), _NOWHERE, dtype=np.intp)
        for level, level_name in enumerate(self.levels):
            above = _at_level(self.classification, codes, level_name, name)
            paths[:, level] = [place.get(code, _NOWHERE) for code in above]
        return paths

    def sums_over(self, classes: Sequence[Any]) -> list[_Sum]:
        """Say how classes add up to the codes of each level, the deepest first.

        Each level adds up the columns of the level below it, because those are fewer than the
        classes; behind its codes it hands on the classes that end above it.
        """
        from scipy.sparse import csr_matrix

        paths = self.paths(classes, "classes_ of the classifier")
        steps = []
        for level in reversed(range(len(self.levels))):
            ends_above = paths[:, level] == _NOWHERE
            numbers, places = pd.factorize(paths[~ends_above, level])
            rows = np.arange(len(paths))
            columns = np.empty(len(paths), dtype=np.intp)
            columns[~ends_above] = numbers
            columns[ends_above] = len(places) + np.arange(ends_above.sum())
            matrix = None
            if (columns != rows).any():
                matrix = csr_matrix((np.ones(len(paths)), (rows, columns)))
            steps.append(_Sum(level, places, matrix))
            _, first = np.unique(columns, return_index=True)
            paths = paths[first]
        return steps


class _Sum(NamedTuple):
    """One level: the places of its codes, and the matrix that makes their columns.

    Without a matrix the columns are there already.
    """

    level: int
    places: NDArray[np.intp]
    matrix: csr_matrix | None


@dataclass(frozen=True)
class _Lines:
    """By level, the line that turns the log-odds of a confidence into those of being right.

    `slopes` has one entry per level, `offsets` one per code, and one more for nowhere.
    """

    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]

    @classmethod
    def fit(cls, tree: _Tree, guess: _Guess, right: NDArray[np.bool_]) -> _Lines:
        paths = tree.paths(tree.codes.tolist(), "codes")
        fitted = [
            _fit_line(
                paths[:, : level + 1], tree.places(level), guess.best[:, level],
                guess.score[:, level], right[:, level],
            )
            for level in range(len(tree.levels))
        ]  # fmt: skip
        slopes, offsets = zip(*fitted, strict=True)
        return cls(np.array(slopes), np.concatenate([*offsets, [-np.inf]]))

    def sure(self, guess: _Guess) -> NDArray[np.float64]:
        """Give the probability that the best code is right; 0 where there is none."""
        from scipy.special import expit

        line = self.offsets[guess.best] + self.slopes * _log_odds(guess.score)
        return np.asarray(expit(line), dtype=np.float64)

    def thresholds(self, level: int, places: NDArray[np.intp], cut: float) -> NDArray[np.float64]:
        """Turn a cut-off of probabilities into confidences by code; NaN where none is enough."""
        from scipy.special import expit, logit

        if not cut <= 1:
            return np.full(len(places), np.nan)
        missing = logit(cut) - self.offsets[places]
        if self.slopes[level] == 0:
            return np.where(missing <= 0, 0.0, np.nan)
        wanted = expit(missing / self.slopes[level])
        wanted[wanted <= _EDGE] = 0.0
        return np.where(wanted <= 1 - _EDGE, wanted, np.nan)


def _fit_line(
    paths: NDArray[np.intp],
    places: NDArray[np.intp],
    best: NDArray[np.intp],
    score: NDArray[np.float64],
    right: NDArray[np.bool_],
) -> tuple[float, NDArray[np.float64]]:
    """Fit the line of one level: its slope, and the offset of each of its codes.

    A ridge penalty on what is particular to a code and to each of its ancestors makes rare codes
    borrow from their parents.
    """
    from scipy.sparse import csr_matrix, vstack
    from sklearn.linear_model import LogisticRegression

    there = best != _NOWHERE
    best, score, right = best[there], score[there], right[there]
    if not len(best):
        return 0.0, np.full(len(places), -np.inf)
    depth = paths.shape[1]
    # One row of the matrix: the log-odds, then a 1 for the code and for each ancestor.
    columns = np.column_stack([np.zeros(len(best), dtype=np.intp), 1 + paths[best]])
    values = np.column_stack([_log_odds(score), np.ones((len(best), depth))])
    ends = np.arange(len(best) + 1) * (depth + 1)
    features = csr_matrix(
        (values.ravel(), columns.ravel(), ends), shape=(len(best), 1 + int(places[-1]) + 1)
    )
    # Platt's targets: as if one more row were right and one more wrong. Each row stands twice.
    n_right = int(right.sum())
    wanted = np.where(right, (n_right + 1) / (n_right + 2), 1 / (len(right) - n_right + 2))
    outcome = np.repeat([True, False], len(best))
    weights = np.concatenate([wanted, 1 - wanted])

    def fit(matrix: csr_matrix) -> tuple[float, NDArray[np.float64]]:
        model = LogisticRegression(C=_PRIOR_VARIANCE, max_iter=1000)
        model.fit(vstack([matrix, matrix]), outcome, sample_weight=weights)
        slope, particular = model.coef_[0, 0], model.coef_[0, 1:]
        return float(slope), model.intercept_[0] + particular[paths[places]].sum(axis=1)

    slope, offsets = fit(features)
    if slope < 0:  # a confidence that says nothing must not turn the order round
        features.data[:: depth + 1] = 0.0
        slope, offsets = 0.0, fit(features)[1]
    return slope, offsets


def _out_of_fold(
    tree: _Tree, guess: _Guess, right: NDArray[np.bool_], folds: int = 5
) -> NDArray[np.float64]:
    """Give each record the probability by lines that were fitted without it.

    By lines that know the record, rare codes would look surer than they are.
    """
    sure = np.empty(guess.score.shape)
    fold = np.arange(len(sure)) % folds
    for number in range(min(folds, len(sure))):
        inside, outside = fold == number, fold != number
        lines = _Lines.fit(tree, _Guess(*(part[outside] for part in guess)), right[outside])
        sure[inside] = lines.sure(_Guess(*(part[inside] for part in guess)))
    return sure


def _plan(
    sure: NDArray[np.float64], right: NDArray[np.bool_], size: float, target: float, delta: float
) -> list[NDArray[np.float64]]:
    """Order rules from careful to bold, for a sample of this size: cut-offs by level."""
    from scipy.special import ndtr

    rules: list[NDArray[np.float64]] = []
    growth = size / len(sure)
    chances = ndtr(_QUANTILES)
    dial = [(1 - part * (1 - target), chances[0]) for part in _PARTS]
    dial += [(target, chance) for chance in chances]
    for aim, chance in dial:
        cuts = np.full(sure.shape[1], np.inf)
        free = np.ones(len(sure), dtype=bool)
        for level in reversed(range(len(cuts))):
            cuts[level] = _loosest_cut(
                sure[free, level], right[free, level], growth, chance, aim, delta
            )
            free &= sure[:, level] < cuts[level]
        new = not rules or not np.array_equal(rules[-1], cuts)
        if new and np.isfinite(cuts).any():
            rules.append(cuts)
    return rules


def _loosest_cut(
    sure: NDArray[np.float64],
    right: NDArray[np.bool_],
    growth: float,
    chance: float,
    target: float,
    delta: float,
) -> float:
    """Find the loosest cut-off that passes with such a chance; infinite if there is none.

    `growth` is how many records of the sample are expected for each record here.
    """
    from scipy.special import bdtrik, betainc

    order = np.argsort(-sure, kind="stable")
    if not len(order) or sure[order[0]] <= 0:
        return math.inf
    grid = np.array(threshold_grid(sure, size=100))
    here = np.searchsorted(-sure[order], -grid, side="right")  # records that reach each
    expected = here * growth
    fine = (grid > 0) & (expected >= math.log(delta) / math.log(target))
    grid, here, expected = grid[fine], here[fine], expected[fine]
    # The most errors with which the bound of Clopper and Pearson still reaches the target.
    allowed = np.floor(bdtrik(delta, expected, 1 - target))
    # Share of errors: its posterior mean after Jeffreys' prior. What the sample will show of it
    # varies with both numbers of records; a beta distribution with that mean and variance.
    error = (here - np.cumsum(right[order])[here - 1] + 0.5) / (here + 1)
    weight = 1 / (1 / expected + 1 / (here + 2))
    shown = np.minimum((allowed + 0.5) / expected, 1.0)
    passes = betainc(error * weight, (1 - error) * weight, shown) >= chance
    return float(grid[passes][-1]) if passes.any() else math.inf


def _walk(
    rules: Sequence[NDArray[np.float64]],
    samples: Sequence[_Sample],
    levels: tuple[str, ...],
    target: float,
    delta: float,
) -> tuple[LevelRule, ...]:
    """Test the rules in order, each at every level it uses; stop at the first that fails."""
    sure = np.column_stack([sample.scores for sample in samples])
    everyone = samples[0].everyone
    path = []
    for number, cuts in enumerate(rules, 1):
        depth = _deepest(sure, cuts)
        tests = {
            levels[level]: samples[level].test(
                number, float(cuts[level]), depth == level, everyone, delta
            )
            for level in reversed(range(len(cuts)))
            if math.isfinite(cuts[level])
        }
        path.append(LevelRule(number, dict(zip(levels, cuts.tolist(), strict=True)), tests))
        if not path[-1].passes(target):
            break
    return tuple(path)


def _deepest(sure: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the deepest level whose cut-off each record reaches; nowhere if none."""
    reached = sure >= cuts
    last = len(cuts) - 1 - reached[:, ::-1].argmax(axis=1)
    return np.where(reached.any(axis=1), last, _NOWHERE)


def _best_of(
    chances: NDArray[np.float64], measure: str
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the best column of each row, and the confidence in it."""
    rows = np.arange(len(chances))
    best = chances.argmax(axis=1)
    score = chances[rows, best]
    if measure == "margin" and chances.shape[1] > 1:
        score = score - np.partition(chances, -2, axis=1)[:, -2]
    return best, score


def _best_of_lists(lists: _Lists, tree: _Tree, measure: str) -> _Guess:
    """Find the best code of each level, of the codes that short-lists hold."""
    paths = np.vstack([tree.paths(lists.different, "codes"), [[_NOWHERE] * len(tree.levels)]])
    rows = np.arange(lists.size)
    best = np.empty((lists.size, len(tree.levels)), dtype=np.intp)
    score = np.empty(best.shape)
    for level, path in enumerate(paths.T):
        codes = path[lists.numbers]
        there = codes != _NOWHERE
        chances = np.zeros(codes.shape)
        for column in range(codes.shape[1]):  # codes with the same ancestor are added up
            same = (codes == codes[:, [column]]) & there
            chances[:, column] = np.where(same, lists.scores, 0.0).sum(axis=1)
        first = chances.argmax(axis=1)
        best[:, level] = np.where(there.any(axis=1), codes[rows, first], _NOWHERE)
        score[:, level] = chances[rows, first]
        if measure == "margin":
            rivals = np.where(codes == best[:, [level]], 0.0, chances)
            score[:, level] -= rivals.max(axis=1)
    return _Guess(best, np.clip(score, 0.0, 1.0))


def _chances(classifier: Any, rows: Any, classes: int, temperature: float) -> NDArray[np.float64]:
    """Give the probability of each class, of shape (rows, classes)."""
    if not hasattr(classifier, "predict_proba"):
        from scipy.special import softmax

        margins = _margins(classifier, rows, classes)
        return np.asarray(softmax(margins / temperature, axis=1), dtype=np.float64)
    chances = np.asarray(classifier.predict_proba(rows), dtype=np.float64)
    _check_shape(chances, classes, "predict_proba")
    off = ~(np.abs(chances.sum(axis=1) - 1) <= _ROUNDING)  # also where a value is missing
    if off.any() or chances.min(initial=0) < -_ROUNDING:
        raise ValueError(
            f"predict_proba gives {int(off.sum()):,} of {len(chances):,} records probabilities "
            "that are missing, or that do not add up to 1. Only probabilities of classes that "
            "exclude each other can be added up to those of parent codes."
        )
    return chances


def _margins(classifier: Any, rows: Any, classes: int) -> NDArray[np.float64]:
    margins = np.asarray(classifier.decision_function(rows), dtype=np.float64)
    if margins.ndim == 1 and classes == 2:
        margins = np.column_stack([np.zeros(len(margins)), margins])
    _check_shape(margins, classes, "decision_function")
    if not np.isfinite(margins).all():
        raise ValueError("decision_function gives margins that are missing or infinite.")
    return margins


def _check_shape(table: NDArray[np.float64], classes: int, name: str) -> None:
    if table.ndim != 2 or table.shape[1] != classes:
        raise ValueError(
            f"{name} gives the shape {table.shape} for {classes:,} classes; it needs one column "
            "per class. (Of SVC, take decision_function_shape='ovr'.)"
        )


def _fit_temperature(classifier: Any, records: _Rows, truth: _Truth) -> float:
    """Find the number to divide margins by, so that the softmax is most likely."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    classes = _classes(classifier)
    places = {str(code): place for place, code in enumerate(classes)}
    numbers = [places.get(str(code), _NOWHERE) for code in truth.different]
    true = np.array(numbers)[truth.numbers[:_TEMPERATURE_ROWS]]
    known = np.flatnonzero(true != _NOWHERE)
    if not len(known) or len(classes) == 1:
        return 1.0
    margins = _margins(classifier, records[:_TEMPERATURE_ROWS], len(classes))[known]
    hit = margins[np.arange(len(known)), true[known]]

    def loss(log: float) -> float:
        heat = math.exp(log)
        return float((logsumexp(margins / heat, axis=1) - hit / heat).mean())

    return math.exp(minimize_scalar(loss, bounds=(-7, 7), method="bounded").x)


def _blocks(size: int, classes: int) -> Iterator[slice]:
    step = max(1, _BLOCK // classes)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def _read(X: Any, y: Any, classifier: Any) -> tuple[_Rows | _Lists, _Truth]:  # noqa: N803
    """Read records with their true codes."""
    records = _read_records(X, classifier)
    if np.ndim(y) != 1:
        raise ValueError(
            f"y has the shape {np.shape(y)}; give one true code per record, shape (n,)."
        )
    column = pd.Series(y)
    if len(column) != records.size:
        raise ValueError(
            f"{records.size:,} records, but {len(column):,} true codes. Give one per record."
        )
    if not records.size:
        raise ValueError("There are no records. Give records with their true codes.")
    if absent := int((column.isna() | (column == "")).sum()):
        raise ValueError(
            f"y: {absent:,} of {len(column):,} are missing. Leave out the records that nobody "
            "has coded."
        )
    numbers, different = pd.factorize(column)
    return records, _Truth(numbers, list(different))


def _read_records(X: Any, classifier: Any) -> _Rows | _Lists:  # noqa: N803
    """Read what a classifier takes; without one, short-lists."""
    if classifier is None:
        return _read_lists(X)
    _classes(classifier)
    if isinstance(X, (str, bytes)) or not (hasattr(X, "shape") or hasattr(X, "__len__")):
        raise TypeError(
            f"X is a {type(X).__name__}; give the records as a list, Series, array, DataFrame "
            "or sparse matrix."
        )
    size = X.shape[0] if hasattr(X, "shape") else len(X)
    return _Rows(X, int(size))


def _read_lists(X: Any) -> _Lists:  # noqa: N803
    if not isinstance(X, tuple) or len(X) != 2:
        raise TypeError(
            "Without a classifier, X is the pair (codes, scores) of stored short-lists, each of "
            f"shape (n, k); given is a {type(X).__name__}. For other records give a classifier."
        )
    codes, scores = (pd.DataFrame(part) for part in X)
    if codes.shape != scores.shape:
        raise ValueError(
            f"codes have the shape {codes.shape}, scores {scores.shape}; give one score per code."
        )
    numbers, different = pd.factorize(codes.to_numpy(dtype=object).ravel())
    there = (numbers != _NOWHERE).reshape(codes.shape)
    try:
        values = np.where(there, scores.to_numpy(dtype=np.float64, na_value=np.nan), 0.0)
    except (TypeError, ValueError) as error:
        raise TypeError(f"scores are no table of numbers: {error}.") from error
    if not ((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)).all():
        raise ValueError(
            "scores: some are missing beside a code, or outside [0, 1]. Give the probability of "
            "each code of a short-list, and None for codes that it lacks."
        )
    return _Lists(numbers.reshape(codes.shape), values, list(different))


def _classes(classifier: Any) -> Sequence[Any]:
    """List the classes of a fitted classifier."""
    if not any(hasattr(classifier, name) for name in ("predict_proba", "decision_function")):
        raise TypeError(
            f"{classifier!r} has neither predict_proba nor decision_function. Give a classifier "
            "that says how sure it is."
        )
    classes = getattr(classifier, "classes_", None)
    if classes is None:
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(
            f"{type(classifier).__name__} is not fitted. Fit it on records that are not given "
            "here; wrap it in FrozenEstimator to keep it so when this estimator is cloned."
        )
    if np.ndim(classes) != 1:
        raise TypeError("The classifier predicts several columns. Give one that predicts codes.")
    return list(classes)


def _choose_levels(
    classification: Classification, wanted: Sequence[str] | None, reached: Sequence[Any]
) -> tuple[str, ...]:
    """Choose the levels at which records may be coded, from the top down."""
    if not len(reached):
        raise ValueError("The short-lists hold no code at all. Give the codes of some records.")
    name = "classes, or codes of the short-lists"
    some = [
        level
        for level in classification.levels
        if any(code is not None for code in _at_level(classification, reached, level, name))
    ]
    if wanted is None:
        return tuple(some)
    if isinstance(wanted, str) or not len(wanted):
        raise ValueError(f"levels={wanted!r}; give a list with at least one of {some}.")
    for level in wanted:
        classification.codes(level)  # refuses an unknown one
        if level not in some:
            raise ValueError(
                f"No class of the classifier reaches the level {level!r}; they reach {some}."
            )
    return tuple(level for level in some if level in wanted)


def _at_level(
    classification: Classification, codes: Sequence[Any], level: str, name: str
) -> NDArray[np.object_]:
    """Climb from each code to a level; say whose codes they are if one is unknown."""
    try:
        above: NDArray[np.object_] = classification.at_level(list(codes), level)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
    return above


def _fingerprint(guess: _Guess, right: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Make one number of all that is known about each record."""
    # Rounded, because the last digits depend on which rows share a block.
    known = pd.DataFrame(np.hstack([guess.score.round(9), guess.best, right]))
    return np.asarray(pd.util.hash_pandas_object(known, index=False), dtype=np.uint64)


def _refuse_same_rows(planned: NDArray[np.uint64], own: NDArray[np.uint64]) -> None:
    """Refuse a sample that holds records of `fit`, as far as can be seen."""
    small, large = sorted([planned, own], key=len)
    # Common answers are in both by right; what occurs once is in both by mistake only.
    values, counts = np.unique(large, return_counts=True)
    shared = np.isin(small, values[counts == 1]).mean()
    same = len(values) > 1 and np.array_equal(planned, own)
    if same or (len(small) >= _FEW and shared > 0.5):
        raise ValueError(
            "The certification sample has records of fit in it. Cut-offs that were planned on the "
            "sample that judges them guarantee nothing: take other records of the same population."
        )


def _effective_size(design: AnyDesign | None, records: int) -> float:
    """Give the number of records with equal weights that say as much (Kish)."""
    if design is None:
        return records
    weights = np.asarray(design.weights)
    return float(weights.sum() ** 2 / (weights**2).sum())


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import logit

    return np.asarray(logit(np.clip(scores, _EDGE, 1 - _EDGE)), dtype=np.float64)


def _require(coder: FallBackCoder, attribute: str, method: str) -> None:
    """Refuse to go on before a step was taken."""
    if not hasattr(coder, attribute):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(f"This FallBackCoder is not ready: call {method} first.")
