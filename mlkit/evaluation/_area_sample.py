"""Draw reference pixels from a map at random, in one reading, and look up what lies at them."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._raster import (
    RasterError,
    block_rows,
    check_same_grid,
    transform_points,
)
from mlkit.evaluation._area_pixels import areas_of
from mlkit.evaluation._area_raster import (
    ClassRaster,
    Legend,
    PathLike,
    names_of,
    open_classes,
    read_legend,
    tallest,
)
from mlkit.paths import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

__all__ = ["draw_reference_sample", "read_at", "write_points"]

_MOST_REGIONS = 65_536
_PER_STEP = 4  # 64-bit numbers that a step of Philox's counter gives
_NO_LIMIT = 2**63
_GRID_TOLERANCE = 1e-3  # of a pixel, as for whole grids


def draw_reference_sample(
    map_path: PathLike,
    sizes: Mapping[Any, int] | pd.Series[int],
    *,
    seed: int,
    classes: Legend | None = None,
    strata_path: PathLike | None = None,
    strata: Legend | None = None,
    region_path: PathLike | None = None,
    regions: Legend | None = None,
    exclude_path: PathLike | None = None,
) -> pd.DataFrame:
    """Draw a stratified random sample of pixels, for someone to say what is really there.

    Within each stratum every set of pixels of the wanted size is equally likely. The same seed
    gives the same pixels, whatever the blocks of the files and the memory of the machine.

    Parameters
    ----------
    map_path : path
        The map: a raster of one band with a code per pixel.
    sizes : dict or Series of int
        How many pixels to draw from each stratum, by name or by code.
    seed : int
        Publish it with the result: it lets others draw the same pixels.
    classes : dict of int to str, Series, or sequence of int, optional
        The legend of the map; by default the codes are their own names.
    strata_path : path, optional
        A raster of strata on the same grid. By default the map's classes are the strata.
    strata : dict of int to str, Series, or sequence of int, optional
        The names of its strata.
    region_path : path, optional
        A raster of regions on the same grid, whose names are noted beside each pixel.
    regions : dict of int to str, Series, or sequence of int, optional
        The names of the regions.
    exclude_path : path, optional
        A raster on the same grid: pixels where it holds data other than 0 are no part of the
        population, such as those the map was trained on.

    Returns
    -------
    DataFrame
        One row per pixel, stratum by stratum, within a stratum in random order, so that its
        first rows are a random sample too. Columns: `point` (from 1), `row` and `column` (from
        0), `x` and `y` (of the pixel's centre, in the map's coordinates), `longitude` and
        `latitude` (WGS 84), `stratum`, `map_class`, `region` (if there are any),
        `stratum_pixels` (N_h, its size in the population), `inclusion_probability` (n_h / N_h),
        `weight` (its inverse), `square_metres` (the area of the pixel), and `reference`, empty:
        to be filled in by someone who does not see `map_class`.

    Raises
    ------
    RasterError
        As :func:`count_map`; also when a stratum has fewer pixels than are to be drawn, or does
        not occur.
    ValueError
        When `sizes` names an unknown stratum or holds something else than whole numbers from 0,
        or the seed is none.

    Notes
    -----
    Each pixel has a random number of 63 bits, which depends on the seed and the pixel's position
    alone: the n-th number (less its last bit) of NumPy's Philox generator, whose counter can be
    set forward, belongs to the n-th pixel of the raster, counted by rows. The n_h pixels with the
    smallest numbers of each stratum are the sample: a simple random one without replacement. So
    one reading is enough, though the sizes of strata are known at its end only.

    The population is the pixels that have data in all the rasters given. Pixels are drawn with
    equal probability, not areas: where pixels differ in size (in degrees), weigh them with
    `square_metres` too.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from mlkit._raster import write_raster
    >>> from rasterio.transform import from_origin
    >>> path = tempfile.mkdtemp() + "/map.tif"
    >>> profile = dict(width=50, height=40, count=1, dtype="uint8", crs="EPSG:3035")
    >>> values = np.ones((1, 40, 50), "uint8")
    >>> values[:, :, 45:] = 2
    >>> with write_raster(path, **profile, transform=from_origin(4e6, 3e6, 100, 100)) as out:
    ...     out.write(values)
    >>> names = {1: "forest", 2: "water"}
    >>> sample = draw_reference_sample(path, {"forest": 3, "water": 2}, seed=1, classes=names)
    >>> sample[["point", "stratum", "stratum_pixels", "inclusion_probability", "weight"]]
       point stratum  stratum_pixels  inclusion_probability  weight
    0      1  forest            1800               0.001667   600.0
    1      2  forest            1800               0.001667   600.0
    2      3  forest            1800               0.001667   600.0
    3      4   water             200               0.010000   100.0
    4      5   water             200               0.010000   100.0
    """
    _check_seed(seed)
    wanted = _read_sizes(sizes)
    legends = {"map": read_legend(classes, "classes")}
    files: dict[str, Any] = {"map": map_path}
    for role, path, legend in (
        ("stratum", strata_path, read_legend(strata, "strata")),
        ("region", region_path, read_legend(regions, "regions")),
    ):
        if path is not None:
            files[role], legends[role] = path, legend
        elif legend is not None:
            raise ValueError(f"Names of {role} codes are given, but no raster that holds them.")
    with ExitStack() as stack:
        rasters = {
            role: stack.enter_context(open_classes(path, legends[role], most=_MOST_REGIONS))
            for role, path in files.items()
        }
        datasets = [raster.dataset for raster in rasters.values()]
        excluded = None
        if exclude_path is not None:
            excluded = stack.enter_context(open_classes(exclude_path, None))
            datasets.append(excluded.dataset)
        check_same_grid(*datasets)
        areas = areas_of(datasets[0])
        role = "stratum" if "stratum" in rasters else "map"
        by_code = _by_code(wanted, legends[role], rasters[role].name)
        draw = _Draw(int(seed), by_code, rasters, excluded)
        for window in block_rows(tallest([*rasters.values()]).dataset):
            draw.read(window)
        drawn = draw.result(legends[role], rasters[role].name)
        for name in rasters:
            codes = drawn.pop(name).to_numpy()
            drawn[name] = pd.Series(names_of(codes.tolist(), legends[name]), dtype="str")
        if role == "map":
            drawn["stratum"] = drawn["map"]
        places = _places(datasets[0], drawn["row"].to_numpy(), drawn["column"].to_numpy())
    n = drawn.groupby("stratum", sort=False)["row"].transform("size")
    table = drawn[["row", "column"]].assign(**places, stratum=drawn["stratum"])
    table["map_class"] = drawn["map"]
    if region_path is not None:
        table["region"] = drawn["region"]
    table["stratum_pixels"] = drawn["stratum_pixels"]
    table["inclusion_probability"] = n / drawn["stratum_pixels"]
    table["weight"] = drawn["stratum_pixels"] / n
    table["square_metres"] = areas.square_metres[drawn["row"]]
    table["reference"] = pd.Series([None] * len(table), dtype="str")
    table.insert(0, "point", np.arange(1, len(table) + 1))
    return table


def read_at(
    path: PathLike, sample: pd.DataFrame, *, classes: Legend | None = None
) -> pd.Series[str]:
    """Look up the classes of a raster at the pixels of a sample.

    It plays the interpreter where a full reference map exists, as in exercises and simulations.

    Parameters
    ----------
    path : path
        A raster of one band on the grid that the sample was drawn from.
    sample : DataFrame
        From :func:`draw_reference_sample`: its columns `row`, `column`, `x`, `y` and, if it has
        them, `longitude` and `latitude` are used.
    classes : dict of int to str, Series, or sequence of int, optional
        The legend; by default the codes are their own names.

    Returns
    -------
    Series of str
        The class of each pixel, with the sample's index; missing where there are no data.

    Raises
    ------
    RasterError
        When there is no such raster, its grid is another one, or it holds a code outside the
        legend at one of the pixels.
    ValueError
        When the sample lacks a column.

    Examples
    --------
    >>> sample["reference"] = read_at(  # doctest: +SKIP
    ...     "reference.tif", sample, classes={1: "forest", 2: "water"}
    ... )
    """
    lacking = [name for name in ("row", "column", "x", "y") if name not in sample]
    if lacking:
        raise ValueError(
            f"The sample has no column {', '.join(lacking)}; give the table that "
            "draw_reference_sample made."
        )
    legend = read_legend(classes, "classes")
    rows, columns = sample["row"].to_numpy(), sample["column"].to_numpy()
    texts = np.full(len(sample), None, dtype=object)
    with open_classes(path, legend, most=_MOST_REGIONS) as raster:
        _check_places(raster, sample)
        for window in block_rows(raster.dataset, pixels=1):
            here = np.flatnonzero(
                (rows >= window.row_off) & (rows < window.row_off + window.height)
            )
            if not len(here):
                continue
            # Only what lies at points is looked at: a code elsewhere is nobody's business here.
            band = raster.read(window)
            at = rows[here] - window.row_off, columns[here]
            values = band[at]
            places = raster.places(values)
            strange = np.flatnonzero(places == raster.size - 1)
            if legend is None:
                raster.learn(values[None, :], window)
                places = raster.places(values)
            elif len(strange):
                first = here[strange[0]]
                raster.refuse(int(values[strange[0]]), int(rows[first]), int(columns[first]))
            codes = [*names_of(raster.codes.tolist(), legend), None, None]
            texts[here] = np.array(codes, dtype=object)[places]
    return pd.Series(texts, index=sample.index, dtype="str", name=raster.name)


def write_points(sample: pd.DataFrame, path: PathLike) -> None:
    """Write the points of a sample as GeoJSON, which a GIS or a telephone opens.

    Parameters
    ----------
    sample : DataFrame
        From :func:`draw_reference_sample`: its columns `point`, `longitude` and `latitude` are
        written, with `reference` and, if there are any, `region`. Stratum and map class are left
        out: who says what is there should not know what the map says.
    path : path
        The file to write, in WGS 84 (RFC 7946).

    Raises
    ------
    ValueError
        When the sample lacks a column.

    Examples
    --------
    >>> write_points(sample, "points.geojson")  # doctest: +SKIP
    """
    lacking = [name for name in ("point", "longitude", "latitude") if name not in sample]
    if lacking:
        raise ValueError(
            f"The sample has no column {', '.join(lacking)}; give the table that "
            "draw_reference_sample made."
        )
    known = [name for name in ("point", "region", "reference") if name in sample]
    properties = sample[known].astype(object).where(sample[known].notna(), None)
    # Seven decimals of a degree are about a centimetre.
    longitude, latitude = sample["longitude"].round(7), sample["latitude"].round(7)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [east, north]},
            "properties": described,
        }
        for east, north, described in zip(
            longitude.tolist(), latitude.tolist(), properties.to_dict("records"), strict=True
        )
    ]
    collection = {"type": "FeatureCollection", "features": features}
    write_whole(json.dumps(collection, ensure_ascii=False, indent=1) + "\n", Path(path))


class _Draw:
    """The smallest random numbers of each stratum so far, and how many pixels it has."""

    def __init__(
        self,
        seed: int,
        sizes: dict[int, int],
        rasters: dict[str, ClassRaster],
        excluded: ClassRaster | None,
    ) -> None:
        self.seed = np.random.SeedSequence(seed)
        self.sizes = sizes
        self.rasters = rasters
        self.excluded = excluded
        self.by = rasters["stratum" if "stratum" in rasters else "map"]
        self.found: dict[int, int] = {}
        self.kept: dict[int, pd.DataFrame] = {}

    def read(self, window: Any) -> None:
        """Look at the pixels of one band."""
        values = {}
        inside = np.ones((window.height, window.width), dtype=bool)
        for role, raster in self.rasters.items():
            values[role] = raster.read(window)
            places = raster.learn(values[role], window)
            inside &= places < len(raster.codes)
            if raster is self.by:
                stratum = places
        if self.excluded is not None:
            mask = self.excluded.read(window)
            has_data = self.excluded.learn(mask, window) < len(self.excluded.codes)
            inside &= ~(has_data & (mask != 0))
        stratum[~inside] = len(self.by.codes)
        counts = np.bincount(stratum.ravel(), minlength=self.by.size)[: len(self.by.codes)]
        for code, count in zip(self.by.codes.tolist(), counts.tolist(), strict=True):
            self.found[code] = self.found.get(code, 0) + count
        keys = self._keys(window.row_off * window.width, inside.size)
        self._keep(stratum.ravel(), keys, values, window)

    def _keys(self, start: int, n: int) -> NDArray[np.uint64]:
        """Give the random numbers of n pixels, from the one at `start` on."""
        generator = np.random.Philox(self.seed)
        generator.advance(start // _PER_STEP)
        skip = start % _PER_STEP
        keys: NDArray[np.uint64] = generator.random_raw(n + skip)[skip:]
        keys >>= np.uint64(1)  # 63 bits, so that a limit above all of them has room
        return keys

    def _keep(self, stratum: Any, keys: NDArray[np.uint64], values: Any, window: Any) -> None:
        # Once a stratum has enough, only numbers up to its largest so far can enter; equal ones
        # too, so that the bands have no say in a tie.
        limits = np.zeros(self.by.size, dtype=np.uint64)
        wanted = [place for place, code in enumerate(self.by.codes) if self.sizes.get(int(code))]
        for place in wanted:
            code = int(self.by.codes[place])
            full = len(self.kept.get(code, ())) == self.sizes[code]
            limits[place] = self.kept[code]["key"].max() + 1 if full else _NO_LIMIT
        near = np.flatnonzero(keys < np.take(limits, stratum, mode="clip"))
        for place in wanted:
            code = int(self.by.codes[place])
            at = near[stratum[near] == place]
            if len(at) > self.sizes[code]:  # most of a first band: sort only those that can stay
                last = np.partition(keys[at], self.sizes[code] - 1)[self.sizes[code] - 1]
                at = at[keys[at] <= last]
            if not len(at):
                continue
            new = {"key": keys[at], "pixel": window.row_off * window.width + at}
            new |= {role: codes.ravel()[at].astype(np.int64) for role, codes in values.items()}
            group = pd.DataFrame(new)
            if code in self.kept:
                group = pd.concat([self.kept[code], group])
            self.kept[code] = group.sort_values(["key", "pixel"]).head(self.sizes[code])

    def result(self, legend: dict[int, str] | None, name: str) -> pd.DataFrame:
        """Put the strata one below the other, or say which are too small."""
        if not any(self.found.values()):
            raise RasterError(
                f"No pixel of {name} can be drawn: every one is nodata"
                f"{' in one of the rasters' if len(self.rasters) > 1 else ''}"
                f"{'' if self.excluded is None else ' or excluded'}."
            )
        small = [
            f"{_named(code, legend)} has {self.found.get(code, 0):,}, wanted {size:,}"
            for code, size in self.sizes.items()
            if size > self.found.get(code, 0)
        ]
        if small:
            raise RasterError(
                f"Strata of {name} have fewer pixels than are to be drawn: {'; '.join(small)}. "
                "Draw fewer, all of them (a take-all stratum), or join strata."
            )
        parts = [
            self.kept[code].assign(stratum_pixels=self.found[code]) for code in sorted(self.kept)
        ]
        drawn = pd.concat(parts, ignore_index=True)
        width = self.by.dataset.width
        return drawn.assign(row=drawn["pixel"] // width, column=drawn["pixel"] % width)


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or int(seed) < 0:
        raise ValueError(f"seed={seed!r}; give a whole number from 0, and note it down.")


def _read_sizes(sizes: Any) -> dict[Any, int]:
    if not hasattr(sizes, "items"):
        raise ValueError(
            f"sizes is {type(sizes).__name__}; give the number of points of each stratum, such as "
            "{'forest': 100, 'water': 50}."
        )
    wanted = {}
    for stratum, size in sizes.items():
        if isinstance(size, bool) or not _is_whole(size):
            raise ValueError(f"sizes has {size!r} for {stratum!r}; points are whole numbers.")
        if size < 0:
            raise ValueError(f"sizes has {size} for {stratum!r}; it cannot be negative.")
        wanted[stratum] = int(size)
    if not any(wanted.values()):
        raise ValueError("sizes asks for no points; give the number for each stratum.")
    return wanted


def _is_whole(size: Any) -> bool:
    return isinstance(size, numbers.Real) and float(size).is_integer()


def _by_code(wanted: dict[Any, int], legend: dict[int, str] | None, name: str) -> dict[int, int]:
    """Turn names of strata into codes."""
    codes = {} if legend is None else {text: code for code, text in legend.items()}
    sizes: dict[int, int] = {}
    for stratum, size in wanted.items():
        code = codes.get(stratum, stratum)
        if isinstance(code, str) and legend is None and code.lstrip("-").isdigit():
            code = int(code)  # without a legend, codes are their own names
        if not isinstance(code, numbers.Integral) or (legend is not None and code not in legend):
            known = ", ".join(f"{c} {text}" for c, text in (legend or {}).items())
            raise ValueError(
                f"sizes names the stratum {stratum!r}, which {name} does not have; "
                + (f"there are: {known}." if known else "without a legend, strata are codes.")
            )
        if int(code) in sizes:
            raise ValueError(f"sizes has the stratum {stratum!r} twice, by name and by code.")
        sizes[int(code)] = size
    return sizes


def _named(code: int, legend: dict[int, str] | None) -> str:
    return str(code) if legend is None else legend[code]


def _places(dataset: DatasetReader, rows: Any, columns: Any) -> dict[str, NDArray[np.float64]]:
    """Give the centres of pixels, in the raster's coordinates and in WGS 84."""
    a, b, c, d, e, f = [*dataset.transform][:6]
    x = a * (columns + 0.5) + b * (rows + 0.5) + c
    y = d * (columns + 0.5) + e * (rows + 0.5) + f
    longitude, latitude = transform_points(dataset.crs, "EPSG:4326", x, y)
    return {"x": x, "y": y, "longitude": longitude, "latitude": latitude}


def _check_places(raster: ClassRaster, sample: pd.DataFrame) -> None:
    """Refuse a raster whose pixels lie elsewhere than those the sample was drawn from."""
    dataset = raster.dataset
    rows, columns = sample["row"].to_numpy(), sample["column"].to_numpy()
    outside = (rows < 0) | (rows >= dataset.height) | (columns < 0) | (columns >= dataset.width)
    here = None if outside.any() or dataset.crs is None else _places(dataset, rows, columns)
    if here is not None:
        near = _GRID_TOLERANCE * max(dataset.res)
        same = all(np.abs(here[name] - sample[name]).max() <= near for name in ("x", "y"))
        if same and "longitude" in sample:  # the same numbers in another system lie elsewhere
            apart = max(
                np.abs(here[name] - sample[name]).max() for name in ("longitude", "latitude")
            )
            same = apart < 1e-6
        if same:
            return
    raise RasterError(
        f"{raster.name} is not on the grid that the sample was drawn from: row and column of its "
        "pixels do not lie at the sample's x and y. Bring it onto the map's grid:\n"
        f"  rio warp {dataset.name} {Path(dataset.name).stem}_on_grid.tif --like MAP.tif "
        "--resampling nearest"
    )
