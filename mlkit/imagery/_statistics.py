"""Mean and standard deviation of bands, in one pass by blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._raster import RasterError, rasterio
from mlkit._views import as_html, as_text
from mlkit.imagery._bands import CACHE_BYTES, Bands, Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

STRIP_PIXELS = 1_000_000


@dataclass(frozen=True, repr=False)
class BandStatistics:
    """Mean and standard deviation of each band, with which chips are scaled.

    Attributes
    ----------
    mean : tuple of float
        The mean of each band, in the units of the image.
    standard_deviation : tuple of float
        The standard deviation of each band (divisor n), in the units of the image.
    pixels : int
        How many pixels they were computed from; 0 if they were given by hand.
    """

    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    pixels: int = 0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.standard_deviation) or not self.mean:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.standard_deviation)} standard deviations "
                "were given: give one of each for every band."
            )
        both = np.array([self.mean, self.standard_deviation], dtype=float)
        if not np.isfinite(both).all() or (both[1] < 0).any():
            raise ValueError(
                f"Means {self.mean} and standard deviations {self.standard_deviation} must be "
                "finite, and no standard deviation negative."
            )

    def to_frame(self) -> pd.DataFrame:
        """Write the statistics as a table.

        Returns
        -------
        DataFrame
            One row per band: `band`, from 1, `mean`, `standard_deviation`.
        """
        return pd.DataFrame(
            {
                "band": np.arange(1, len(self.mean) + 1),
                "mean": self.mean,
                "standard_deviation": self.standard_deviation,
            }
        )

    def _view(self) -> tuple[str, pd.DataFrame]:
        source = f" of {self.pixels:,} pixels with data" if self.pixels else ", given by hand"
        return f"Statistics of {len(self.mean)} bands{source}", self.to_frame().round(4)

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def band_statistics(image: Image) -> BandStatistics:
    """Compute mean and standard deviation of each band, block by block.

    Parameters
    ----------
    image : path or list of paths
        A raster, or several on the same grid.

    Returns
    -------
    BandStatistics
        Of the pixels that hold data in all bands.

    Raises
    ------
    mlkit._raster.RasterError
        If a file is missing or damaged, grids differ, or no pixel holds data.

    Notes
    -----
    Counts, means and sums of squares of strips are joined by the formulas of Chan, Golub and
    LeVeque (1979; cited from memory), which lose no digits where the mean is large.

    Examples
    --------
    >>> from mlkit.imagery import band_statistics
    >>> band_statistics("scene.tif")  # doctest: +SKIP
    """
    return statistics_of(Bands(image))


def strips(bands: Bands, pixels: int = STRIP_PIXELS) -> Iterator[tuple[int, int]]:
    """Cut a raster into strips of whole rows of blocks: top and height of each."""
    block = bands.block[0]
    height = max(pixels // (block * bands.width), 1) * block
    for top in range(0, bands.height, height):
        yield top, min(height, bands.height - top)


def statistics_of(bands: Bands) -> BandStatistics:
    """Compute statistics of what is open already."""
    count = 0
    mean, squares = np.zeros(bands.count), np.zeros(bands.count)
    with rasterio().Env(GDAL_CACHEMAX=CACHE_BYTES):
        for top, height in strips(bands):
            values, full = bands.read(top, 0, height, bands.width)
            part: NDArray[Any] = (
                values.reshape(bands.count, -1) if full is None else values[:, full]
            )
            size = part.shape[1]
            if size == 0:
                continue
            here = part.mean(axis=1, dtype=float)
            # Band by band, so that one band at a time is held as floating point.
            spread = [
                np.square(band - middle).sum() for band, middle in zip(part, here, strict=True)
            ]
            step = here - mean
            mean += step * size / (count + size)
            squares += np.array(spread) + step**2 * count * size / (count + size)
            count += size
    bands.close()
    if count == 0:
        raise RasterError(
            f"No pixel of {', '.join(bands.paths)} holds data in all bands: each is nodata or NaN. "
            "Look whether the right file and the right nodata value are given (rio info FILE)."
        )
    return BandStatistics(tuple(mean.tolist()), tuple(np.sqrt(squares / count).tolist()), count)


def scaled(
    values: NDArray[Any], full: NDArray[np.bool_] | None, statistics: BandStatistics | None
) -> NDArray[np.float32]:
    """Scale a window to mean 0 and standard deviation 1; 0 where there are no data."""
    if statistics is None:
        out = values.astype(np.float32)
    else:
        spread = np.array(statistics.standard_deviation)
        factor = (1 / np.where(spread > 0, spread, 1)).astype(np.float32)
        mean = np.array(statistics.mean, np.float32)
        out = values.astype(np.float32)
        out -= mean[:, None, None]
        out *= factor[:, None, None]
    if full is not None:
        out[:, ~full] = 0
    return out


def check_statistics(statistics: BandStatistics, bands: Bands) -> None:
    """Refuse statistics of another number of bands."""
    if len(statistics.mean) != bands.count:
        raise RasterError(
            f"The statistics are of {len(statistics.mean)} bands, the image has {bands.count}. "
            "Give the statistics that the model was trained with, and an image of the same bands."
        )
