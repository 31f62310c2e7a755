"""Rasters on disk: opened, read, compared and written whole, with errors that help.

rasterio is imported here, and in :mod:`mlkit.imagery`, alone: it comes with an extra, and its
own messages speak of GDAL's inside.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlkit.paths import KitError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from rasterio.io import DatasetReader, DatasetWriter
    from rasterio.windows import Window

__all__ = [
    "RasterError",
    "block_rows",
    "check_same_grid",
    "open_raster",
    "rasterio",
    "read_window",
    "transform_points",
    "write_raster",
]

BLOCK = 256
"""Side of the tiles that we write, in pixels: what cloud-optimised GeoTIFFs mostly have."""

TOLERANCE = 1e-3
"""How far two grids may be apart and count as one, in pixels."""


class RasterError(KitError, ValueError):
    """A raster is missing, damaged, or does not fit what is asked of it."""


def rasterio() -> Any:
    """Import rasterio, or say how to get it.

    Raises
    ------
    RasterError
        When rasterio is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise RasterError(
            "Satellite images need the package rasterio, and it is not installed. It comes with "
            "the kit's extra 'imagery': from a checkout, pip install -e '.[imagery]'."
        ) from error
    return rasterio


@contextmanager
def open_raster(path: str | os.PathLike[str], **options: Any) -> Iterator[DatasetReader]:
    """Open a raster for reading.

    Parameters
    ----------
    path : path
        The file.
    **options
        Given to :func:`rasterio.open`.

    Yields
    ------
    rasterio.io.DatasetReader
        The open data set, closed on leaving.

    Raises
    ------
    RasterError
        When there is no such file, it is empty, or no raster that GDAL can read.
    """
    place = Path(path)
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "does not exist"
        raise RasterError(
            f"{place} {what}. Give the path of a raster file, such as a GeoTIFF; the current "
            f"folder is {Path.cwd()}."
        )
    library = rasterio()
    try:
        dataset = _quiet_open(place, **options)
    except library.errors.RasterioIOError as error:
        raise RasterError(
            f"{place} ({place.stat().st_size:,} bytes) is not a raster that can be read: {error}. "
            "If it was downloaded or copied, do that again: the file may be cut off."
        ) from error
    with dataset:
        yield dataset


def read_window(
    dataset: DatasetReader, window: Window | None = None, **options: Any
) -> NDArray[Any]:
    """Read a part of an open raster.

    Parameters
    ----------
    dataset : rasterio.io.DatasetReader
        The open raster.
    window : rasterio.windows.Window, optional
        The part; all by default.
    **options
        Given to ``dataset.read``, such as ``indexes`` or ``masked``.

    Returns
    -------
    ndarray
        As ``dataset.read`` gives it.

    Raises
    ------
    RasterError
        When the file is damaged, for example cut off.
    """
    try:
        values: NDArray[Any] = dataset.read(window=window, **options)
    except rasterio().errors.RasterioIOError as error:
        where = "" if window is None else f" at {_words(window)}"
        raise RasterError(
            f"{dataset.name} opens, but its pixels cannot be read{where}: the file is damaged or "
            f"cut off ({error}). Download or copy it again."
        ) from error
    return values


def block_rows(dataset: DatasetReader, pixels: int = 4_000_000) -> list[Window]:
    """Cut a raster into bands of whole rows of blocks, so that each block is read once.

    Parameters
    ----------
    dataset : rasterio.io.DatasetReader
        The open raster.
    pixels : int, default 4,000,000
        A band takes as many rows of blocks as stay under this number of pixels, and at least
        one.

    Returns
    -------
    list of rasterio.windows.Window
        The bands from top to bottom, each as wide as the raster.
    """
    from rasterio.windows import Window

    block = dataset.block_shapes[0][0]
    height = max(pixels // (block * dataset.width), 1) * block
    return [
        Window(0, top, dataset.width, min(height, dataset.height - top))
        for top in range(0, dataset.height, height)
    ]


def check_same_grid(first: DatasetReader, *others: DatasetReader) -> None:
    """Refuse rasters whose pixels do not lie on each other.

    Parameters
    ----------
    first, *others : rasterio.io.DatasetReader
        Open rasters.

    Raises
    ------
    RasterError
        When they differ in size, in coordinate reference system or in the place of their
        pixels. The message holds the command that brings one onto the grid of the other.
    """
    for other in others:
        differences = list(_differences(first, other))
        if differences:
            moved = Path(other.name).stem + "_on_grid.tif"
            raise RasterError(
                f"{Path(first.name).name} and {Path(other.name).name} lie on different grids: "
                f"{'; '.join(differences)}. Pixels are compared one with one, so bring the second "
                "onto the grid of the first (a class map by nearest neighbour, measured values "
                f"by bilinear resampling):\n  rio warp {other.name} {moved} --like {first.name} "
                "--resampling nearest"
            )


def _differences(first: DatasetReader, other: DatasetReader) -> Iterator[str]:
    if first.shape != other.shape:
        yield f"{_size(first)} and {_size(other)} pixels (rows x columns)"
    if first.crs != other.crs:
        yield f"coordinate reference systems {_crs(first)} and {_crs(other)}"
    here, there = np.array(first.transform)[:6], np.array(other.transform)[:6]
    pixel = max(abs(here[0]), abs(here[1]), abs(here[3]), abs(here[4]))
    corners = np.array([[0, 0, 1], [first.width, first.height, 1]])
    shift = corners @ (here - there).reshape(2, 3).T
    if np.abs(shift).max() > TOLERANCE * pixel:
        if first.res != other.res:
            yield f"pixels of {_pair(first.res)} and {_pair(other.res)}"
        else:
            yield (
                f"upper left corners at {_pair(here[[2, 5]])} and {_pair(there[[2, 5]])}"
                if not np.array_equal(here[[2, 5]], there[[2, 5]])
                else "grids turned against each other"
            )


def transform_points(
    source: Any, target: Any, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take points from one coordinate reference system to another.

    Parameters
    ----------
    source, target : CRS, or text that names one, such as ``"EPSG:4326"``
        From where to where.
    x, y : array-like of shape (n,)
        Easting and northing, or longitude and latitude, in this order in every system.

    Returns
    -------
    x, y : ndarray of shape (n,)
        The same points.

    Raises
    ------
    RasterError
        When a point has no place in one of the systems, or a text names none.
    """
    library = rasterio()
    from rasterio._err import CPLE_BaseError  # what GDAL signals, which rasterio passes on here
    from rasterio.warp import transform

    points = [np.asarray(values, dtype=float).tolist() for values in (x, y)]
    try:
        there = transform(source, target, *points)
    except (CPLE_BaseError, library.errors.RasterioError) as error:
        raise RasterError(
            f"Points cannot be taken from {source} to {target}: {error}. They may lie off the map."
        ) from error
    return np.array(there[0], float), np.array(there[1], float)


@contextmanager
def write_raster(path: str | os.PathLike[str], **profile: Any) -> Iterator[DatasetWriter]:
    """Write a raster beside its place, and move it there when it is whole.

    Parameters
    ----------
    path : path
        The file to write; one of that name is replaced, at the end.
    **profile
        Given to :func:`rasterio.open`: width, height, count, dtype, crs, transform and others.
        Unless told otherwise: a GeoTIFF in tiles of 256 x 256 pixels, deflated.

    Yields
    ------
    rasterio.io.DatasetWriter
        The open raster, closed on leaving. If the block fails, nothing is left under the name
        or beside it.

    Raises
    ------
    RasterError
        When the folder does not exist, or the profile is not one that GDAL can write.
    """
    place = Path(path)
    if not place.parent.is_dir():
        raise RasterError(f"{place.parent} is no folder, so {place.name} cannot be written there.")
    library = rasterio()
    tiles = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        try:
            dataset = _quiet_open(
                beside, "w", **{**tiles, "compress": "deflate", "bigtiff": "if_safer", **profile}
            )
        except (library.errors.RasterioError, TypeError, ValueError) as error:
            raise RasterError(f"{place} cannot be written: {error}.") from error
        with dataset:
            yield dataset
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _quiet_open(*arguments: Any, **options: Any) -> Any:
    """Open without rasterio's warning of a missing transform: who needs one refuses himself."""
    library = rasterio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", library.errors.NotGeoreferencedWarning)
        return library.open(*arguments, **options)


def _size(dataset: DatasetReader) -> str:
    return f"{dataset.height:,} x {dataset.width:,}"


def _crs(dataset: DatasetReader) -> str:
    if dataset.crs is None:
        return "none"
    code = dataset.crs.to_string()
    return code if len(code) <= 40 else f"{code[:37]}..."


def _pair(values: Any) -> str:
    return f"({values[0]:,.10g}, {values[1]:,.10g})"


def _words(window: Window) -> str:
    return (
        f"rows {window.row_off:,} to {window.row_off + window.height - 1:,}, columns "
        f"{window.col_off:,} to {window.col_off + window.width - 1:,}"
    )
