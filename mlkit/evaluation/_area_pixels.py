"""How large the pixels of a raster are on the ground, row by row."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit._raster import RasterError, open_raster, transform_points
from mlkit._views import as_html, as_text

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    Floats: TypeAlias = NDArray[np.float64]

__all__ = ["PixelAreas", "pixel_areas"]

# Projections that PROJ computes equal-area on the ellipsoid. Mollweide, Eckert IV and others of
# that kind are computed on a sphere, so they are measured like projections of any other kind.
_EQUAL_AREA = {"aea", "bonne", "cea", "eqearth", "laea", "leac", "sinu"}

_WITHIN_ROW = 0.01
"""By how much pixels of one row may differ before one area for the row is refused."""

_NO_VARIATION = 1e-6
"""Below this, differences within a row are the rounding of their computation."""

_STEP = 1000.0  # metres: projections are smooth over it, and rounding does not show
_NODES = 9, 33  # columns and rows of the coarse grid


@dataclass(frozen=True, eq=False, repr=False)
class PixelAreas:
    """The area on the ground of a pixel, for each row of a raster.

    Attributes
    ----------
    square_metres : ndarray of shape (height,)
        The mean area of a pixel of the row.
    variation : float
        The largest relative difference between two pixels of one row; 0 where pixels of a row
        are equally large by the nature of the coordinates.
    method : str
        How they were found.
    source : str
        The name of the raster.
    """

    square_metres: Floats
    variation: float
    method: str
    source: str

    @property
    def equal(self) -> bool:
        """Whether all pixels are equally large."""
        return bool((self.square_metres == self.square_metres[0]).all())

    @property
    def note(self) -> str:
        """What to know before using them; empty if there is nothing."""
        if self.variation < _NO_VARIATION:
            return ""
        return (
            f"pixels of one row differ in area by up to {self.variation:.2g} of it, and each "
            "counts with the mean of its row"
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the areas as a table.

        Returns
        -------
        DataFrame
            One row per row of the raster: `row`, from 0, and `square_metres`.
        """
        rows = np.arange(len(self.square_metres))
        return pd.DataFrame({"row": rows, "square_metres": self.square_metres})

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        areas = self.square_metres
        shown = {"first row": areas[0], "last row": areas[-1]}
        shown |= {"smallest": areas.min(), "largest": areas.max()}
        table = pd.DataFrame({"": list(shown), "m²": [f"{area:,.3f}" for area in shown.values()]})
        note = f"Note: {self.note}." if self.note else ""
        return f"Area of a pixel of {self.source}", table, f"Method: {self.method}.", note

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def pixel_areas(path: str | os.PathLike[str]) -> PixelAreas:
    """Find the area of a raster's pixels on the ground.

    Pixel width times height is the area on the ground only in an equal-area projection. In
    degrees, pixels shrink towards the poles; in UTM, which Sentinel-2 scenes have, areas are
    wrong by -0.08 % in the middle of the zone, and by up to +0.2 % at its edge; in Web Mercator,
    at 60 degrees of latitude, by a factor of four.

    Parameters
    ----------
    path : path
        The raster. Its pixels are not read.

    Returns
    -------
    PixelAreas
        In square metres, one figure for each row.

    Raises
    ------
    RasterError
        When there is no such raster, it has no coordinate reference system or no transform, its
        rows run askew to the coordinates (in an equal-area projection that is allowed), it
        reaches beyond a pole or to where its projection has no coordinates, or pixels of one row
        differ by more than 1 %.

    Notes
    -----
    - In an equal-area projection (as PROJ computes it on the ellipsoid: Albers, Lambert azimuthal
      and cylindrical equal area, sinusoidal, Bonne, Equal Earth): width times height.
    - In degrees: exact on the ellipsoid. The area between two parallels, of width d lambda, is
      a^2 d lambda (q2 - q1) / 2 with q = (1 - e^2) [sin(phi) / (1 - e^2 sin^2(phi))
      + atanh(e sin(phi)) / e] (Snyder, Map Projections: A Working Manual, USGS Professional Paper
      1395, 1987, in the chapter on authalic latitude; cited from memory, tested against
      geographiclib's polygons).
    - In other projections: a coarse grid of points is taken to the Lambert azimuthal equal-area
      projection around the middle of the raster; the determinant of the derivatives there, found
      by differences over 1 km, is the area of a unit of the raster's own projection. It is
      averaged over the columns and interpolated between the rows.

    Heights above the ellipsoid and slopes are left out, as in every map.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from mlkit._raster import write_raster
    >>> from rasterio.transform import from_origin
    >>> path = tempfile.mkdtemp() + "/degrees.tif"
    >>> profile = dict(width=4, height=3, count=1, dtype="uint8", crs="EPSG:4326")
    >>> with write_raster(path, **profile, transform=from_origin(15, 60, 1, 1)) as out:
    ...     out.write(np.ones((1, 3, 4), "uint8"))
    >>> (pixel_areas(path).square_metres / 1e6).round(3)
    array([6309.806, 6494.447, 6677.009])
    """
    with open_raster(path) as dataset:
        return areas_of(dataset)


def areas_of(dataset: DatasetReader) -> PixelAreas:
    """Find the area of an open raster's pixels."""
    name = Path(dataset.name).name
    crs, transform = dataset.crs, dataset.transform
    if crs is None or not crs:
        raise RasterError(
            f"{name} has no coordinate reference system, so nobody can tell how large its pixels "
            f"are. If you know which it has: rio edit-info {dataset.name} --crs EPSG:32633 (with "
            "its own number)."
        )
    if transform.is_identity:
        raise RasterError(
            f"{name} does not say where its pixels lie: it has no transform. Take it from the "
            "scene it was made from, such as rio edit-info --transform, or write it again with one."
        )
    proj = crs.to_dict().get("proj", "")
    if proj in _EQUAL_AREA:
        area = abs(transform.determinant) * _metres(crs) ** 2
        return PixelAreas(np.full(dataset.height, area), 0.0, f"equal-area ({proj})", name)
    if transform.b or transform.d:
        raise RasterError(
            f"{name} has rows that run askew to its coordinates, and these are not equal-area: "
            "the area of a pixel is not the same along a row. Bring it onto an equal-area grid: "
            f"{_to_equal_area(dataset)}"
        )
    if proj == "longlat":
        areas = _in_degrees(dataset, name)
        return PixelAreas(areas, 0.0, "exact on the ellipsoid, from degrees", name)
    areas, variation = _compared(dataset, name)
    if variation > _WITHIN_ROW:
        raise RasterError(
            f"{name}: pixels of one row differ in area by up to {variation:.1%} in its projection "
            f"({proj or 'unknown'}); allowed are {_WITHIN_ROW:.0%}. Bring it onto an equal-area "
            f"grid: {_to_equal_area(dataset)}"
        )
    method = f"projection ({proj or 'of no common kind'}) compared with an equal-area one"
    return PixelAreas(areas, variation, method, name)


def _in_degrees(dataset: DatasetReader, name: str) -> Floats:
    a, e = _ellipsoid(dataset.crs, name)
    radians = dataset.crs.units_factor[1]
    top, height = dataset.transform.f, dataset.transform.e
    edges = (top + height * np.arange(dataset.height + 1)) * radians
    beyond = np.abs(edges).max() - np.pi / 2
    if beyond > 1e-3 * abs(height) * radians:  # a thousandth of a pixel is rounding
        raise RasterError(
            f"{name} reaches from {top:g} to {top + height * dataset.height:g} degrees of "
            "latitude, beyond a pole. Its transform is wrong, or longitude and latitude are "
            "exchanged: see rio info."
        )
    sine = np.sin(np.clip(edges, -np.pi / 2, np.pi / 2))
    below = np.arctanh(e * sine) / e if e else sine
    q = (1 - e**2) * (sine / (1 - (e * sine) ** 2) + below)
    areas: Floats = a**2 * abs(dataset.transform.a) * radians * np.abs(np.diff(q)) / 2
    return areas


def _compared(dataset: DatasetReader, name: str) -> tuple[Floats, float]:
    """Compare with an equal-area projection: the mean area per row, and how far rows vary."""
    transform, crs = dataset.transform, dataset.crs
    # Means of rows by Gauss's quadrature, with the ends added to see how far a row varies; rows
    # at Chebyshev's points, where a polynomial through them is right for smooth functions.
    gauss, weights = np.polynomial.legendre.leggauss(_NODES[0])
    columns = np.array([-1, *gauss, 1]) / 2 + 0.5
    degree = min(_NODES[1], dataset.height) - 1
    rows = np.polynomial.chebyshev.chebpts1(degree + 1) / 2 + 0.5
    columns, rows = dataset.width * columns, dataset.height * rows
    x = transform.c + transform.a * columns[None, :] + 0 * rows[:, None]
    y = transform.f + transform.e * rows[:, None] + 0 * columns[None, :]
    step = _STEP / _metres(crs)
    try:
        equal_area = _equal_area_around(dataset, name)
        east, north, west, south = (
            np.array(transform_points(crs, equal_area, (x + dx).ravel(), (y + dy).ravel()))
            for dx, dy in ((step, 0.0), (0.0, step), (-step, 0.0), (0.0, -step))
        )
    except RasterError as error:
        raise RasterError(f"{_off_the_map(name)} ({error})") from error
    along, across = (east - west) / (2 * step), (north - south) / (2 * step)
    unit = np.abs(along[0] * across[1] - along[1] * across[0]).reshape(x.shape)
    if not np.isfinite(unit).all():
        raise RasterError(_off_the_map(name))
    mean = unit[:, 1:-1] @ weights / 2
    variation = float(((unit.max(axis=1) - unit.min(axis=1)) / mean).max())
    centres = np.arange(dataset.height) + 0.5
    smooth = np.polynomial.Chebyshev.fit(rows, mean, degree, domain=[0, dataset.height])
    return abs(transform.determinant) * smooth(centres), variation


def _off_the_map(name: str) -> str:
    return (
        f"{name} reaches to where its projection has no coordinates on the ground. Cut it down to "
        "the part that is on the map: rio clip."
    )


def _equal_area_around(dataset: DatasetReader, name: str) -> str:
    a, e = _ellipsoid(dataset.crs, name)
    shape = f"+a={a!r} +b={a * math.sqrt(1 - e**2)!r}"
    x, y = dataset.xy(dataset.height / 2, dataset.width / 2, offset="ul")
    middle = transform_points(dataset.crs, f"+proj=longlat {shape} +no_defs", [x], [y])
    longitude, latitude = float(middle[0][0]), float(middle[1][0])
    if not np.isfinite([longitude, latitude]).all():
        raise RasterError(_off_the_map(name))
    return f"+proj=laea +lat_0={latitude!r} +lon_0={longitude!r} {shape} +units=m +no_defs"


def _ellipsoid(crs: Any, name: str) -> tuple[float, float]:
    """Read semi-major axis and eccentricity from a coordinate reference system."""
    found = re.search(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",([-\d.eE+]+),([-\d.eE+]+)', crs.to_wkt())
    if found is None:
        raise RasterError(
            f"{name} has a coordinate reference system without an ellipsoid, so nothing is known "
            "of its areas on the ground. Give it the system it is in: rio edit-info --crs."
        )
    a, inverse = float(found[1]), float(found[2])
    flattening = 1 / inverse if inverse else 0.0  # 0 stands for a sphere
    return a, math.sqrt(flattening * (2 - flattening))


def _metres(crs: Any) -> float:
    """How many metres a unit of the coordinates has; degrees are taken at the equator."""
    factor = float(crs.units_factor[1])
    return factor * 6_371_000 if crs.is_geographic else factor


def _to_equal_area(dataset: DatasetReader) -> str:
    moved = Path(dataset.name).stem + "_equal_area.tif"
    return (
        f"rio warp {dataset.name} {moved} --dst-crs EPSG:6933 --resampling nearest (6933 is "
        "equal-area for the whole world; EPSG:3035 suits Europe better)."
    )
