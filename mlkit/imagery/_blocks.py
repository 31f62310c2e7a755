"""Cross-validation that holds out whole blocks of land."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import _num_samples

from mlkit._views import as_html, as_text, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


class SpatialBlocks(GroupKFold):  # type: ignore[misc]
    """Split samples into folds of whole square blocks of land.

    Land is cut into squares of the side `size`, counted from the origin of the coordinates;
    whole squares go to folds so that these hold about as many samples (as
    :class:`sklearn.model_selection.GroupKFold` balances groups). With a `buffer`, samples nearer
    to a test sample than that are left out of training. The coordinates are given as `groups`,
    so that it works in :func:`sklearn.model_selection.cross_val_score`, in searches, and, since
    splitters ask for groups by default, with metadata routing.

    Parameters
    ----------
    size : float
        The side of a block, in the units of the coordinates: metres in a projected system. Blocks
        should be larger than the distance over which neighbours are alike.
    n_splits : int, default 5
        The number of folds, at least 2.
    buffer : float, default 0
        Samples at this distance or less from a test sample are left out of training; 0 leaves
        none out.

    See Also
    --------
    sklearn.model_selection.LeaveOneGroupOut : Where each polygon is a fold.
    Chips.centres : Coordinates of chips.

    Notes
    -----
    *Target.* How well a model does in a place from which it has no training data: for choosing
    between models that shall map such places. Not the accuracy of a map of the area that the
    samples come from: that takes a probability sample (Wadoux et al. 2021, cited from memory).

    *Polygons.* Samples of one polygon are nearly copies. Give its number as a third column of
    `groups`: then all of a polygon's samples go with the block that holds their mean point.

    *When it fails.* Blocks smaller than the range of correlation leave the score too high;
    few and large ones leave types of land out of training, so that it is too low
    (:meth:`report` names classes that are missing in training). Degrees are no distances.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from mlkit.imagery import SpatialBlocks
    >>> rng = np.random.default_rng(0)
    >>> places = rng.uniform(0, 1000, (200, 2))
    >>> X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    >>> blocks = SpatialBlocks(size=250, n_splits=4)
    >>> len(cross_val_score(LogisticRegression(), X, y, groups=places, cv=blocks))
    4
    """

    def __init__(self, size: float, n_splits: int = 5, *, buffer: float = 0.0) -> None:
        super().__init__(n_splits=n_splits)
        for name, value, least in (("size", size, "above 0"), ("buffer", buffer, "0 or more")):
            if not np.isfinite(value) or value < 0 or (name == "size" and value == 0):
                raise ValueError(f"{name} is {value}: give a distance, {least}.")
        self.size = size
        self.buffer = buffer

    def split(
        self,
        X: ArrayLike,  # noqa: N803 as scikit-learn calls it
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Give the positions of training and test samples of each fold.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            The samples; only their number counts.
        y : array-like of shape (n,), optional
            Not used; there as scikit-learn's splitters have it.
        groups : array-like of shape (n, 2) or (n, 3)
            x and y of each sample; in a third column, if there is one, its polygon.

        Yields
        ------
        train, test : ndarray
            Positions of training and test samples, ascending.

        Raises
        ------
        ValueError
            If there are no coordinates, they are missing, infinite or as many as not to fit
            `X`; if there are fewer blocks than folds; if the buffer leaves nothing to train on.
        """
        places, polygons = _read_places(groups, _num_samples(X))
        blocks = self._blocks(places, polygons)
        for train, test in super().split(X, groups=blocks):
            if self.buffer > 0:
                away, _ = cKDTree(places[test]).query(places[train])
                train = train[away > self.buffer]
            if len(train) == 0:
                raise ValueError(
                    f"A buffer of {self.buffer:g} leaves no sample to train on in one of "
                    f"{self.n_splits} folds. Give a smaller buffer, or more and smaller blocks."
                )
            yield train, test

    def report(self, groups: ArrayLike, y: ArrayLike | None = None) -> FoldReport:
        """Tell what the folds are made of.

        Parameters
        ----------
        groups : array-like of shape (n, 2) or (n, 3)
            As for :meth:`split`.
        y : array-like of shape (n,), optional
            The classes, of which those missing in training are named.

        Returns
        -------
        FoldReport
            Samples, blocks and distances of each fold.

        Raises
        ------
        ValueError
            As :meth:`split`; or if `y` has another length than `groups`.
        """
        size = _num_samples(groups)
        places, polygons = _read_places(groups, size)
        classes = None if y is None else np.asarray(y)
        if classes is not None and classes.shape != (size,):
            raise ValueError(f"y has the shape {classes.shape}, groups are {size:,} samples.")
        blocks = self._blocks(places, polygons)
        fold_of = np.empty(size, dtype=np.intp)
        rows = []
        for fold, (train, test) in enumerate(self.split(places, groups=groups)):
            fold_of[test] = fold
            away, _ = cKDTree(places[test]).query(places[train])
            missing = (
                [] if classes is None else np.setdiff1d(classes[test], classes[train]).tolist()
            )
            rows.append(
                {
                    "fold": fold,
                    "blocks": len(np.unique(blocks[test])),
                    "test": len(test),
                    "train": len(train),
                    "left_out": size - len(test) - len(train),
                    "nearest": float(away.min()),
                    "missing_in_training": ", ".join(map(str, missing)),
                }
            )
        return FoldReport(pd.DataFrame(rows), places, fold_of, self.size, self.buffer)

    def _blocks(
        self, places: NDArray[np.float64], polygons: NDArray[Any] | None
    ) -> NDArray[np.intp]:
        """Find the number of the block of each sample."""
        if polygons is not None:
            number, places = _means(places, polygons)
        cells = np.floor(places / self.size)
        blocks: NDArray[np.intp] = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
        if blocks.max() + 1 < self.n_splits:
            raise ValueError(
                f"Squares of {self.size:g} give {blocks.max() + 1} blocks that hold samples, fewer "
                f"than n_splits={self.n_splits}. Give a smaller size, in the units of the "
                "coordinates, or fewer folds."
            )
        return blocks if polygons is None else blocks[number]


@dataclass(frozen=True, repr=False, eq=False)
class FoldReport:
    """What the folds of :class:`SpatialBlocks` are made of.

    Attributes
    ----------
    folds : DataFrame
        See :meth:`to_frame`.
    places : ndarray of shape (n, 2)
        x and y of each sample.
    fold_of : ndarray of shape (n,)
        The fold in which each sample is tested.
    size, buffer : float
        Side of the blocks and buffer, in the units of the coordinates.
    """

    folds: pd.DataFrame
    places: NDArray[np.float64]
    fold_of: NDArray[np.intp]
    size: float
    buffer: float

    def to_frame(self) -> pd.DataFrame:
        """Give the table of folds.

        Returns
        -------
        DataFrame
            One row per fold: `fold`, `blocks` that it tests, samples that it uses to `test` and
            to `train`, samples `left_out` by the buffer, distance of the `nearest` training
            sample to a test sample, classes of the test that are `missing_in_training`.
        """
        return self.folds.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the samples on a map, one colour and marker for each fold.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        from mlkit import style

        colours = [style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.SKY, style.PINK]
        markers = "os^Dv"  # another number than colours, so that 30 folds differ
        ax = axes(ax)
        for fold in range(len(self.folds)):
            x, y = self.places[self.fold_of == fold].T
            ax.scatter(
                x, y, s=12, color=colours[fold % 6], marker=markers[fold % 5], label=f"fold {fold}"
            )
        ax.set_aspect("equal")
        ax.set(title=f"Blocks of {self.size:g}", xlabel="x (map units)", ylabel="y (map units)")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        table = self.folds.rename(
            columns={"left_out": "left out", "missing_in_training": "missing in training"}
        )
        table["nearest"] = table["nearest"].map("{:,.4g}".format)
        return (
            f"{len(table)} folds of blocks of {self.size:g}, {len(self.places):,} samples",
            table,
            f"Training samples within {self.buffer:g} of a test sample are left out."
            if self.buffer
            else "No buffer: training samples may lie just beside test samples.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def _read_places(
    groups: ArrayLike | None, size: int
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    found = None if groups is None else np.asarray(groups)
    if found is None or found.ndim != 2 or found.shape[1] not in (2, 3):
        given = "none are given" if found is None else f"groups have the shape {found.shape}"
        raise ValueError(
            f"SpatialBlocks needs the coordinates of the samples, and {given}. Give them as "
            "groups=, an array of shape (n, 2), x and y, or (n, 3), with the polygon; where the "
            "groups themselves are the folds, use scikit-learn's LeaveOneGroupOut or GroupKFold."
        )
    if len(found) != size:
        raise ValueError(f"groups hold {len(found):,} coordinates, X has {size:,} samples.")
    if size == 0:
        raise ValueError("There are no samples to split.")
    places = found[:, :2].astype(float)
    if not np.isfinite(places).all():
        faults = int((~np.isfinite(places).all(axis=1)).sum())
        raise ValueError(
            f"{faults:,} of {size:,} coordinates are missing or infinite. Leave those samples out."
        )
    if found.shape[1] == 2:
        return places, None
    if pd.isna(found[:, 2]).any():
        raise ValueError("The third column of groups, the polygon, has missing values.")
    return places, found[:, 2]


def _means(
    places: NDArray[np.float64], polygons: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the number of each sample's polygon, and the mean point of each polygon."""
    number, _ = pd.factorize(polygons)
    size = np.bincount(number)
    means = [np.bincount(number, axis) / size for axis in places.T]
    return number, np.column_stack(means)
