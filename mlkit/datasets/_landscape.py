"""A simulated landscape seen by a satellite on several days, with known truth, in any size."""

from __future__ import annotations

import functools
import itertools
import numbers
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlkit._views import as_html, as_text
from mlkit.datasets._cards import Card, dataset_card

if TYPE_CHECKING:
    import os

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mlkit.datasets._landscape_world import Ground, Images, World

__all__ = ["Landscape", "make_landscape"]

# Beyond this number of values, 1 GB, an image is not held in memory.
_MOST_VALUES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """A simulated landscape, its images and its truth; made by :func:`make_landscape`.

    The arrays are computed when they are first asked for. A landscape that is too large for
    memory is written by :meth:`to_geotiff`, which never holds more than a few tiles.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    days : tuple of int
        Days of the year on which the satellite passed.
    bands : tuple of str
        Names of the bands.
    seed : int
        The seed.
    classes : dict of int to str
        Codes and names of the land classes.
    colours : dict of int to str
        A colour for each class, for maps.
    region_names : dict of int to str
        Codes and names of the districts.
    card : Card
        What the data are.
    """

    shape: tuple[int, int]
    days: tuple[int, ...]
    bands: tuple[str, ...]
    seed: int
    classes: dict[int, str]
    colours: dict[int, str]
    region_names: dict[int, str]
    card: Card = field(repr=False)
    _world: World = field(repr=False, compare=False)

    @property
    def crs(self) -> str:
        """The coordinate reference system, an equal-area one."""
        return "EPSG:3035"

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """The affine transform from (column, row) to (x, y), as ``rasterio.Affine`` takes it."""
        size = float(self.card.settings["pixel_size"])
        x, y = self.card.settings["corner"]
        return (size, 0.0, float(x), 0.0, -size, float(y))

    @property
    def image(self) -> NDArray[np.uint16]:
        """Reflectance times 10,000, of shape (days, bands, rows, columns); never 0."""
        return self._arrays.image

    @property
    def clouds(self) -> NDArray[np.uint8]:
        """Cloud masks of shape (days, rows, columns): 0 clear, 1 cloud, 2 shadow of a cloud."""
        return self._arrays.clouds

    @property
    def truth(self) -> NDArray[np.uint8]:
        """The true land class of each pixel, of shape (rows, columns)."""
        return self._ground.truth

    @property
    def parcels(self) -> NDArray[np.int32]:
        """The parcel of each pixel, 0 outside parcels, of shape (rows, columns)."""
        return self._ground.parcels

    @property
    def regions(self) -> NDArray[np.uint8]:
        """The district of each pixel, from 1, of shape (rows, columns)."""
        return self._ground.regions

    @functools.cached_property
    def plots(self) -> pd.DataFrame:
        """The pixels of the training plots, a row each, with their true class.

        Columns: `plot`, `cluster`, `row`, `col`, `x`, `y`, `region`, `parcel`, `land_class`
        (name), `clear` (no cloud or shadow on any day), and the reflectance in each band and
        day, such as ``nir_165``.
        """
        from mlkit.datasets._landscape_world import plots

        return plots(self)

    @functools.cached_property
    def class_pixels(self) -> pd.DataFrame:
        """True numbers of pixels: a row for each class, a column for each district."""
        import numpy as np
        import pandas as pd

        from mlkit.datasets._landscape_world import ground, tiles

        n = len(self.region_names) + 1
        counts = np.zeros((len(self.classes) + 1) * n, dtype=np.int64)
        for tile in tiles(self.shape):
            true = ground(self._world, tile)
            pairs = true.truth.astype(np.int64) * n + true.regions
            counts += np.bincount(pairs.ravel(), minlength=len(counts))
        table = counts.reshape(-1, n)[1:, 1:]
        return pd.DataFrame(
            table,
            index=pd.Index([*self.classes.values()], name="land_class"),
            columns=pd.Index([*self.region_names.values()], name="region"),
        )

    def to_frame(self) -> pd.DataFrame:
        """Give the true number of pixels of each class, its share and its area in hectares."""
        pixels = self.class_pixels.sum(axis=1)
        hectares = pixels * self.card.settings["pixel_size"] ** 2 / 10_000
        return pixels.rename("pixels").to_frame().assign(share=pixels / pixels.sum(), ha=hectares)

    def to_geotiff(self, folder: str | os.PathLike[str]) -> dict[str, Path]:
        """Write images, cloud masks and truth as tiled GeoTIFFs, and the plots as CSV.

        Parameters
        ----------
        folder : path
            The folder, made if it is not there. Files of the same names are replaced, each
            when it is whole.

        Returns
        -------
        dict of str to Path
            ``image_105`` and ``clouds_105`` for each day, ``truth``, ``parcels``, ``regions``
            and ``plots``. Images and masks are those of :attr:`image` and :attr:`clouds`; 0 is
            declared to be no data in the images, and no pixel has it.

        Raises
        ------
        RasterError
            If rasterio is not installed, or the folder cannot be made.

        Notes
        -----
        Memory does not grow with the size of the landscape but for the coarse grids from which
        it is made: 118 MB of them for 10,980 x 10,980 pixels and three days.
        """
        from mlkit._raster import RasterError, rasterio, write_raster
        from mlkit.datasets import _landscape_world as engine

        place = Path(folder)
        library = rasterio()
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RasterError(f"The folder {place} cannot be made: {error.strerror}.") from error
        names = [f"{kind}_{day}" for kind in ("image", "clouds") for day in self.days]
        names += ["truth", "parcels", "regions"]
        paths = {name: place / f"{name}.tif" for name in names}
        # By default GDAL keeps a twentieth of the machine's memory full of written tiles.
        with library.Env(GDAL_CACHEMAX=64), ExitStack() as stack:
            files = {
                name: stack.enter_context(write_raster(path, **self._profile(name)))
                for name, path in paths.items()
            }
            self._describe(files)
            for tile in engine.tiles(self.shape):
                image, clouds = engine.image(self._world, tile)
                layers = [*image, *clouds[:, None]]
                layers += [part[None] for part in engine.ground(self._world, tile)]
                window = library.windows.Window(tile.left, tile.top, tile.width, tile.height)
                for file, layer in zip(files.values(), layers, strict=True):
                    file.write(layer, window=window)
        paths["plots"] = place / "plots.csv"
        beside = place / ".plots.csv.part"
        self.plots.to_csv(beside, index=False)
        beside.replace(paths["plots"])
        return paths

    def _profile(self, name: str) -> dict[str, Any]:
        from mlkit._raster import rasterio

        kind = name.partition("_")[0]
        rows, cols = self.shape
        profile = {
            "width": cols,
            "height": rows,
            "count": 1,
            "dtype": {"image": "uint16", "parcels": "int32"}.get(kind, "uint8"),
            "crs": self.crs,
            "transform": rasterio().Affine(*self.transform),
        }
        if kind == "image":
            profile |= {"count": len(self.bands), "nodata": 0}
        return profile

    def _describe(self, files: dict[str, Any]) -> None:
        for day in self.days:
            files[f"image_{day}"].descriptions = self.bands
        files["truth"].write_colormap(
            1,
            {
                code: tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
                for code, colour in self.colours.items()
            },
        )
        for name, codes in (("truth", self.classes), ("regions", self.region_names)):
            files[name].update_tags(classes=",".join(f"{k} {v}" for k, v in codes.items()))

    @functools.cached_property
    def _ground(self) -> Ground:
        import numpy as np

        from mlkit.datasets import _landscape_world as engine

        self._refuse_too_large(1)
        whole = engine.Ground(*(np.empty(self.shape, dtype) for dtype in engine.Ground.dtypes()))
        for tile in engine.tiles(self.shape):
            part = engine.ground(self._world, tile)
            whole.truth[tile.slices] = part.truth
            whole.parcels[tile.slices] = part.parcels
            whole.regions[tile.slices] = part.regions
        _freeze(whole)
        return whole

    @functools.cached_property
    def _arrays(self) -> Images:
        import numpy as np

        from mlkit.datasets import _landscape_world as engine

        self._refuse_too_large(len(self.days) * len(self.bands))
        image = np.empty((len(self.days), len(self.bands), *self.shape), dtype=np.uint16)
        clouds = np.empty((len(self.days), *self.shape), dtype=np.uint8)
        for tile in engine.tiles(self.shape):
            image[..., *tile.slices], clouds[..., *tile.slices] = engine.image(self._world, tile)
        _freeze((image, clouds))
        return engine.Images(image, clouds)

    def _refuse_too_large(self, layers: int) -> None:
        values = layers * self.shape[0] * self.shape[1]
        if values > _MOST_VALUES:
            raise ValueError(
                f"A landscape of {self.shape[0]:,} x {self.shape[1]:,} pixels has {values:,} "
                f"values here, more than {_MOST_VALUES:,}: too many for memory. Write it with "
                "to_geotiff(folder), and read parts of the files."
            )

    def __str__(self) -> str:
        return as_text(self._title, self.to_frame().round({"share": 3, "ha": 1}), "")

    def _repr_html_(self) -> str:
        return as_html(self._title, self.to_frame().round({"share": 3, "ha": 1}), "")

    @property
    def _title(self) -> str:
        rows, cols = self.shape
        return f"Simulated landscape of {rows:,} x {cols:,} pixels: truth"


def make_landscape(
    shape: tuple[int, int] = (400, 400),
    *,
    seed: int = 0,
    days: Sequence[int] = (115, 165, 215),
    bands: Sequence[str] = ("blue", "green", "red", "nir"),
    cloud_cover: float = 0.1,
    heterogeneity: float = 1.0,
    noise: float = 1.0,
    regions: int = 6,
    plots: int = 80,
    clusters: int = 6,
) -> Landscape:
    """Make a landscape seen by a satellite on several days, with known truth. Simulated.

    Fields lie in blocks, in strips along the block; each has one crop, of three, or grass.
    Between them are woods, lakes, a river, towns and roads. A crop covers the ground with
    leaves by a curve over the year, so that classes which look alike on one day differ on
    another. Growing conditions change smoothly across the country; light is blurred over
    neighbouring pixels; clouds hide a part and throw shadows.

    Parameters
    ----------
    shape : tuple of two int, default (400, 400)
        Rows and columns, at least 64 each. A pixel is 10 m wide.
    seed : int, default 0
        The seed. The same arguments give the same landscape.
    days : sequence of int, default (115, 165, 215)
        Days of the year of the images, from 1 to 366, increasing.
    bands : sequence of str, default ("blue", "green", "red", "nir")
        Which of "blue", "green", "red", "nir" and "swir", in any order.
    cloud_cover : float, default 0.1
        The share of the area under cloud on each day, from 0 to 0.9; shadows come on top.
    heterogeneity : float, default 1.0
        How strongly light, soil and the dates of growth change across the country, from 0. It
        is what makes a classifier that knows one corner fail in another.
    noise : float, default 1.0
        The noise of the sensor, in units of 0.004 in reflectance, from 0.
    regions : int, default 6
        Number of districts, from 1 to 99.
    plots : int, default 80
        Number of training plots of 3 x 3 pixels, at most 2,000 and one for every 48 pixels.
    clusters : int, default 6
        In how many clusters the plots lie, at most as many as there are plots.

    Returns
    -------
    Landscape
        Images, cloud masks, truth, parcels, districts and training plots.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range.

    Notes
    -----
    All spectra and dates are invented; the card has them. It is a simulation for claims about
    methods, in the manner of those in the literature on spatial cross-validation, and no model
    of any place.

    Examples
    --------
    >>> land = make_landscape((128, 128), seed=1)
    >>> land.image.shape, land.truth.shape
    ((3, 4, 128, 128), (128, 128))
    >>> land.classes[1], land.bands[3]
    ('cereals', 'nir')
    """
    from mlkit.datasets._landscape_world import world as draw_world

    _check(shape, seed, days, bands, regions, plots, clusters)
    _check_amounts(cloud_cover, heterogeneity, noise)
    card = dataset_card("landscape")
    settings = card.settings
    size = (int(shape[0]), int(shape[1]))
    names = settings["classes"]
    world = draw_world(
        size,
        seed=int(seed),
        days=tuple(map(int, days)),
        bands=tuple(bands),
        cloud_cover=float(cloud_cover),
        heterogeneity=float(heterogeneity),
        noise=float(noise),
        regions=int(regions),
        plots=(int(plots), int(clusters)),
        settings=settings,
    )
    return Landscape(
        shape=size,
        days=world.days,
        bands=world.bands,
        seed=int(seed),
        classes=dict(enumerate(names, start=1)),
        colours=dict(enumerate(settings["colours"], start=1)),
        region_names={code: f"District {code}" for code in range(1, int(regions) + 1)},
        card=card,
        _world=world,
    )


def _check(
    shape: Any,
    seed: object,
    days: Any,
    bands: Any,
    regions: object,
    plots: object,
    clusters: object,
) -> None:
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise TypeError(f"shape is {shape!r}; it must be two whole numbers, rows and columns.")
    for name, side in zip(("rows", "columns"), shape, strict=True):
        _whole(f"shape: the number of {name}", side, 64, 1_000_000)
    _whole("seed", seed, 0, 2**63)
    _whole("regions", regions, 1, 99)
    _whole("plots", plots, 1, min(2_000, (shape[0] // 4) * (shape[1] // 4) // 3))
    _whole("clusters", clusters, 1, int(plots))  # type: ignore[call-overload]
    if isinstance(days, str) or not len(days):
        raise ValueError(f"days is {days!r}; give days of the year, such as (115, 165, 215).")
    for day in days:
        _whole("a day", day, 1, 366)
    if any(later <= sooner for sooner, later in itertools.pairwise(days)):
        raise ValueError(f"days is {days!r}; days must increase.")
    known = dataset_card("landscape").settings["bands"]
    if isinstance(bands, str) or not len(bands) or len(set(bands)) < len(bands):
        raise ValueError(f"bands is {bands!r}; give different ones of: {', '.join(known)}.")
    for band in bands:
        if band not in known:
            raise ValueError(f"There is no band {band!r}; there are: {', '.join(known)}.")


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}; it must be a whole number.")
    if not low <= int(value) <= high:
        raise ValueError(f"{name} is {value}; allowed are {low:,} to {high:,}.")


def _check_amounts(cloud_cover: object, heterogeneity: object, noise: object) -> None:
    amounts = {
        "cloud_cover": (cloud_cover, 0.9),
        "heterogeneity": (heterogeneity, 10.0),
        "noise": (noise, 100.0),
    }
    for name, (value, most) in amounts.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} is {value!r}; it must be a number.")
        if not 0 <= float(value) <= most:  # NaN too
            raise ValueError(f"{name} is {value}; allowed are 0 to {most:g}.")


def _freeze(arrays: Sequence[NDArray[Any]]) -> None:
    for array in arrays:
        array.flags.writeable = False
