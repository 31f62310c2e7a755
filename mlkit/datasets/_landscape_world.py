"""How a simulated landscape is computed, tile by tile. mlkit.datasets._landscape shows it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    import pandas as pd

    from mlkit.datasets._landscape import Landscape

__all__ = ["Ground", "Images", "Tile", "World", "ground", "image", "plots", "tiles", "world"]

P = ParamSpec("P")
R = TypeVar("R")

Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]

# The country is computed tile by tile, each from its place and the seed alone: so it comes out
# the same in memory and on disk. Tiles are those of the files, plus a rim for the blur.
_TILE = 256
_RIM = 2

_CLEAR, _CLOUD, _SHADOW = 0, 1, 2

# Shadows fall to the north-west of clouds, by so many pixels.
_SHADOW_ROWS, _SHADOW_COLS = 14, 9

# Fields of a block are numbered by strip and place in the strip, 16 by 16.
_STRIPS = 16


# --- tiles -------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """A piece of the country, and the coordinates of its pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    def axes(self, rim: int = 0) -> tuple[Floats, Floats]:
        """Give the rows and columns of a whole tile, whatever of it lies in the country."""
        steps = np.arange(-rim, _TILE + rim, dtype=np.float64)
        return self.top + steps, self.left + steps  # type: ignore[return-value]


class Ground(NamedTuple):
    """What is true of each pixel."""

    truth: NDArray[np.uint8]
    parcels: NDArray[np.int32]
    regions: NDArray[np.uint8]

    @staticmethod
    def dtypes() -> tuple[type, type, type]:
        return np.uint8, np.int32, np.uint8


class Images(NamedTuple):
    image: NDArray[np.uint16]
    clouds: NDArray[np.uint8]


def tiles(shape: tuple[int, int]) -> Iterator[Tile]:
    for top in range(0, shape[0], _TILE):
        for left in range(0, shape[1], _TILE):
            yield Tile(top, left, min(_TILE, shape[0] - top), min(_TILE, shape[1] - left))


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function multiply its small matrices in one thread; two mostly wait for each other."""

    @functools.wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _threads().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


# --- random fields and numbers that depend on the place alone ---------------------------------


class _Field:
    """A smooth random field with mean 0 and variance about 1.

    Sum of cubic B-splines on square lattices with independent normal coefficients; each lattice
    is half as fine and has `decay` times the weight of the one before.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int],
        spacings: Sequence[int],
        decay: float,
    ) -> None:
        weights = decay ** np.arange(len(spacings))
        # The sum of squared B-spline weights is 151/315 on average, in each direction.
        weights /= np.sqrt((weights**2).sum()) * (151 / 315)
        self.layers = []
        for spacing, weight in zip(spacings, weights, strict=True):
            size = [(_TILE + side + 2 * _MARGIN) // spacing + 5 for side in shape]
            lattice = rng.standard_normal(size, dtype=np.float32) * np.float32(weight)
            self.layers.append((spacing, lattice))

    def at(self, rows: Any, cols: Any) -> Floats:
        """Evaluate the field at the crossings of rows and columns."""
        total: Any = 0
        for spacing, lattice in self.layers:
            (i, down), (j, along) = (_spline(axis, spacing) for axis in (rows, cols))
            total = total + down @ lattice[i : i + down.shape[1], j : j + along.shape[1]] @ along.T
        return total  # type: ignore[no-any-return]


# Fields reach so many pixels beyond the country: rims of tiles, and clouds outside it.
_MARGIN = 64


def _spline(axis: Any, spacing: int) -> tuple[int, Floats]:
    """Give the first coefficient that matters on an axis, and the weights of all that do."""
    place = (np.asarray(axis) + _MARGIN) / spacing
    cell = np.floor(place).astype(np.intp)
    t = place - cell
    first = int(cell[0])
    weights = np.zeros((len(place), int(cell[-1]) - first + 4), dtype=np.float32)
    basis = (
        (1 - t) ** 3,
        3 * t**3 - 6 * t**2 + 4,
        -3 * t**3 + 3 * t**2 + 3 * t + 1,
        t**3,
    )
    rows = np.arange(len(place))
    for step, values in enumerate(basis):
        weights[rows, cell - first + step] = values / 6
    return first, weights


def _hash(numbers: Places, seed: int, what: int) -> Floats:
    """Give each whole number a random one in [0, 1): the finaliser of splitmix64."""
    mix = np.uint64((seed * 0x9E3779B97F4A7C15 + what * 0xD1B54A32D192ED03) % 2**64)
    z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + mix
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


class _Cells(NamedTuple):
    """Which cell of a Voronoi pattern a pixel is in, where, and how far from the cell's edge."""

    number: Places
    down: Floats
    along: Floats
    edge: Floats


class _Voronoi:
    """Cells around the shaken points of a square lattice."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], spacing: int) -> None:
        size = [(_TILE + side + 2 * _MARGIN) // spacing + 3 for side in shape]
        self.spacing = spacing
        shaken = rng.uniform(0.12, 0.88, (2, *size))
        grid = np.indices(size)
        self.points = ((grid + shaken - 1) * spacing - _MARGIN).astype(np.float32)

    def at(self, rows: Any, cols: Any) -> _Cells:
        """Find the nearest point and the distance to the border with the second nearest."""
        i = ((rows + _MARGIN) // self.spacing).astype(np.intp) + 1
        j = ((cols + _MARGIN) // self.spacing).astype(np.intp) + 1
        y, x = rows[:, None].astype(np.float32), cols[None, :].astype(np.float32)
        shape = (len(rows), len(cols))
        nearest, next_one = np.full((2, *shape), np.inf, dtype=np.float32)
        who, who_next = np.zeros((2, *shape), dtype=np.int8)
        for step in range(9):
            cell = np.ix_(i + step // 3 - 1, j + step % 3 - 1)
            distance = (y - self.points[0][cell]) ** 2
            distance += (x - self.points[1][cell]) ** 2
            closer, second = distance < nearest, distance < next_one
            np.copyto(who_next, step, where=second)
            np.copyto(who_next, who, where=closer)
            np.copyto(who, step, where=closer)
            np.minimum(next_one, np.maximum(distance, nearest), out=next_one)
            np.minimum(nearest, distance, out=nearest)
        (down, along), number = self._seen_from(y, x, i, j, who)
        there, _ = self._seen_from(y, x, i, j, who_next)
        apart = np.hypot(down - there[0], along - there[1])
        edge = (next_one - nearest) / (2 * np.maximum(apart, 1))
        return _Cells(number, down, along, edge)

    def _seen_from(
        self, y: Floats, x: Floats, i: Places, j: Places, step: NDArray[np.int8]
    ) -> tuple[tuple[Floats, Floats], Places]:
        """Give the place of pixels as seen from a point near them, and the point's number."""
        across = self.points.shape[2]
        number = (i[:, None] - 1) * across + (j[None, :] - 1)
        number += np.array([k // 3 * across + k % 3 for k in range(9)])[step]
        points = self.points.reshape(2, -1)
        return (y - points[0][number], x - points[1][number]), number


# --- the country -------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Everything from which a tile is computed."""

    shape: tuple[int, int]
    seed: int
    days: tuple[int, ...]
    bands: tuple[str, ...]
    heterogeneity: float
    noise: float
    plots: tuple[int, int]
    settings: Any
    fields: dict[str, _Field]
    clouds: tuple[_Field, ...]
    cloud_limits: tuple[float, ...]
    limits: dict[str, float]
    blocks: _Voronoi
    towns: _Voronoi
    roads: _Voronoi
    block_soil: Floats
    centres: Floats


@_one_thread
def world(
    shape: tuple[int, int],
    *,
    seed: int,
    days: tuple[int, ...],
    bands: tuple[str, ...],
    cloud_cover: float,
    heterogeneity: float,
    noise: float,
    regions: int,
    plots: tuple[int, int],
    settings: Any,
) -> World:
    """Draw the coarse grids, and set limits so that woods, lakes and clouds have their shares."""
    rngs = iter(np.random.default_rng([seed, part]) for part in range(12 + len(days)))
    spacings = {
        "wood": ((88, 44, 22, 11, 5), 0.6),
        "relief": ((120, 60, 30, 15), 0.45),
        "river": ((210, 70), 0.3),
        "soil": ((110, 24), 0.5),
        "season": ((130,), 1.0),
        "light": ((150, 70), 0.6),
        "vigour": ((18, 9), 0.7),
    }
    fields = {name: _Field(next(rngs), shape, *given) for name, given in spacings.items()}
    blocks, towns, roads = (
        _Voronoi(next(rngs), shape, settings[name]) for name in ("block", "town", "road")
    )
    centres = next(rngs).uniform(0, 1, (regions, 2)) * shape
    clouds = tuple(
        _Field(rng, shape, (90, 45, 22, 11, 5), 0.6) for rng in itertools.islice(rngs, len(days))
    )
    # A grid of up to 300 x 300 points is enough for quantiles.
    coarse = [np.linspace(0, side - 1, min(side, 300)) for side in shape]
    seen = {name: fields[name].at(*coarse) for name in ("wood", "relief")}
    limits = {
        "wood": float(np.quantile(seen["wood"], 1 - settings["forest"])),
        "lake": float(np.quantile(seen["relief"], settings["lakes"])),
    }
    cloud_limits = tuple(
        float(np.quantile(cloud.at(*coarse), 1 - cloud_cover)) if cloud_cover else math.inf
        for cloud in clouds
    )
    return World(
        shape=shape,
        seed=seed,
        days=days,
        bands=bands,
        heterogeneity=heterogeneity,
        noise=noise,
        plots=plots,
        settings=settings,
        fields=fields,
        clouds=clouds,
        cloud_limits=cloud_limits,
        limits=limits,
        blocks=blocks,
        towns=towns,
        roads=roads,
        block_soil=_at_points(fields["soil"], blocks, shape),
        centres=centres.astype(np.float32),
    )


def _at_points(field: _Field, cells: _Voronoi, shape: tuple[int, int]) -> Floats:
    """Evaluate a field once for each cell, near enough to its point."""
    axes = [
        np.clip((np.arange(count) - 0.5) * cells.spacing - _MARGIN, -_MARGIN, side + _TILE)
        for count, side in zip(cells.points.shape[1:], shape, strict=True)
    ]
    return field.at(*axes).ravel()


def _codes(world: World) -> dict[str, int]:
    return {name: code for code, name in enumerate(world.settings["classes"], start=1)}


@_one_thread
def ground(world: World, tile: Tile) -> Ground:
    """Compute what is true of the pixels of a tile."""
    rows, cols = tile.axes()
    truth, parcels = _land(world, rows, cols)
    # Borders of districts wind: pixels are looked up a little beside their place.
    y = rows[:, None] + 12 * world.fields["soil"].at(rows, cols)
    x = cols[None, :] + 12 * world.fields["light"].at(rows, cols)
    distance = [(y - row) ** 2 + (x - col) ** 2 for row, col in world.centres]
    regions = np.argmin(distance, axis=0) + 1
    inside = (slice(tile.height), slice(tile.width))
    return Ground(
        truth[inside],
        parcels[inside].astype(np.int32),
        regions[inside].astype(np.uint8),
    )


def _land(world: World, rows: Any, cols: Any) -> tuple[NDArray[np.uint8], Places]:
    """Give class and parcel of the pixels at the crossings of rows and columns."""
    code = _codes(world)
    block = world.blocks.at(rows, cols)
    parcel = _parcels(block, world.seed)
    # Where the soil is good there is more cereal and less grass.
    chance = _hash(parcel, world.seed, 1) - 0.1 * world.block_soil[block.number]
    ends = np.cumsum(world.settings["crop_shares"])[:-1]
    truth = (np.searchsorted(ends, chance, side="right") + 1).astype(np.uint8)
    lane = block.edge < 0.75
    truth[lane] = code["grassland"]
    wood = world.fields["wood"].at(rows, cols)
    truth[wood > world.limits["wood"]] = code["forest"]
    truth[_town(world, rows, cols, wood)] = code["developed"]
    truth[_water(world, rows, cols)] = code["water"]
    truth[world.roads.at(rows, cols).edge < 0.8] = code["developed"]
    parcel[lane | (truth >= code["forest"])] = 0
    return truth, parcel


def _parcels(block: _Cells, seed: int) -> Places:
    """Cut blocks into strips along a direction of their own, and strips into parcels."""
    turn = np.pi * _hash(block.number, seed, 2)
    wide = 9 + 9 * _hash(block.number, seed, 3)
    long = 26 + 34 * _hash(block.number, seed, 4)
    cos, sin = np.cos(turn), np.sin(turn)
    half = _STRIPS // 2
    strip = np.floor((block.down * cos + block.along * sin) / wide).astype(np.int64) + half
    strip = np.clip(strip, 0, _STRIPS - 1)
    start = _hash(block.number * _STRIPS + strip, seed, 5)
    place = np.floor((block.along * cos - block.down * sin) / long + start).astype(np.int64) + half
    place = np.clip(place, 0, _STRIPS - 1)
    number: Places = (block.number * _STRIPS + strip) * _STRIPS + place + 1
    return number


def _town(world: World, rows: Any, cols: Any, rough: Floats) -> NDArray[np.bool_]:
    """Say where towns are: around their centres, some large, with rough edges."""
    town = world.towns.at(rows, cols)
    size = 6 + 26 * _hash(town.number, world.seed, 6) ** 2
    ragged = 5 * rough + 6 * world.fields["vigour"].at(rows, cols)
    near: NDArray[np.bool_] = np.hypot(town.down, town.along) + ragged < size
    return near


def _water(world: World, rows: Any, cols: Any) -> NDArray[np.bool_]:
    """Say where lakes are, in hollows, and a river, where a smooth field changes its sign."""
    bend = world.fields["river"].at(rows, cols)
    slope = np.hypot(*np.gradient(bend))
    river = np.abs(bend) < 1.8 * slope
    lake = world.fields["relief"].at(rows, cols) < world.limits["lake"]
    wet: NDArray[np.bool_] = lake | (river & (slope > 0.002))
    return wet


# --- light -------------------------------------------------------------------------------------


@_one_thread
def image(world: World, tile: Tile) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Compute the images and cloud masks of a tile on all days."""
    from scipy import ndimage

    rows, cols = tile.axes(_RIM)
    inside = (slice(_RIM, _RIM + tile.height), slice(_RIM, _RIM + tile.width))
    scene = _Scene.of(world, rows, cols)
    rng = np.random.default_rng([world.seed, 99, tile.top, tile.left])
    days, bands = len(world.days), len(world.bands)
    image = np.empty((days, bands, tile.height, tile.width), dtype=np.uint16)
    clouds = np.empty((days, tile.height, tile.width), dtype=np.uint8)
    chosen = [world.settings["bands"].index(band) for band in world.bands]
    cloud_light = np.array(world.settings["spectra"]["cloud"], dtype=np.float32)[chosen]
    for at, day in enumerate(world.days):
        light = _reflectance(world, scene, day)[chosen]
        # The blur is part of the sensor: half of a pixel's light comes from its neighbours.
        light = ndimage.gaussian_filter(light, (0, 0.6, 0.6), radius=(0, _RIM, _RIM))
        light = light[:, *inside]
        cloud, shadow = (part[inside] for part in _cloud(world, at, rows, cols))
        light = light * (1 - 0.6 * shadow)
        light += cloud * (cloud_light[:, None, None] - light)
        light += rng.standard_normal((bands, _TILE, _TILE), dtype=np.float32)[
            :, : tile.height, : tile.width
        ] * np.float32(0.004 * world.noise)
        image[at] = np.clip(np.rint(light * 10_000), 1, 65_535)
        clouds[at] = np.where(cloud >= 0.2, _CLOUD, np.where(shadow >= 0.2, _SHADOW, _CLEAR))
    return image, clouds


@dataclass(frozen=True)
class _Scene:
    """What the light of a tile depends on and no day changes: arrays of its shape with rim."""

    truth: NDArray[np.uint8]
    delay: Floats
    vigour: Floats
    bright: Floats
    light: Floats
    grain: Floats

    @classmethod
    def of(cls, world: World, rows: Any, cols: Any) -> _Scene:
        truth, parcel = _land(world, rows, cols)
        fields = {
            name: world.fields[name].at(rows, cols)
            for name in ("soil", "season", "light", "vigour")
        }
        change = np.float32(world.heterogeneity)
        pixel = (rows[:, None] * 2_000_003 + cols[None, :] + 2**40).astype(np.int64)
        grain = _hash(pixel, world.seed, 7) - np.float32(0.5)
        sown = _hash(parcel, world.seed, 8) - np.float32(0.5)
        grown = _hash(parcel, world.seed, 9) - np.float32(0.5)
        return cls(
            truth=truth,
            delay=12 * sown + change * 14 * fields["season"],
            vigour=1 + 0.16 * grown + 0.05 * fields["vigour"],
            bright=1 + 0.2 * grown + change * 0.14 * fields["soil"] + 0.03 * fields["vigour"],
            light=np.exp(change * 0.07 * fields["light"]),
            grain=grain,
        )


def _reflectance(world: World, scene: _Scene, day: int) -> Floats:
    """Mix the light of leaves and ground, of shape (all bands, rows, columns)."""
    settings, truth, code = world.settings, scene.truth, _codes(world)
    names = ["soil", *settings["classes"]]
    spectra = {k: np.array(v, dtype=np.float32) for k, v in settings["spectra"].items()}
    cover = {k: np.array([0, *v], dtype=np.float32) for k, v in settings["cover"].items()}
    late = np.float32(day) - scene.delay
    up = _rise((late - cover["green_up"][truth]) / 9)
    ripe = _rise((late - cover["ripe"][truth]) / 7)
    least, most = cover["least"][truth], cover["most"][truth]
    leaves = least * (1 - ripe) + (most - least) * up * (1 - ripe)
    # Streets and gardens, crowns of trees, tufts of grass: coarse in towns, fine in fields.
    rough = np.array([0, 0.03, 0.03, 0.03, 0.1, 0.2, 0, 0.5], dtype=np.float32)[truth]
    leaves = np.clip(leaves * scene.vigour + rough * scene.grain, 0, 1)
    ground = np.array(
        [spectra[name] if name in ("water", "developed") else spectra["soil"] for name in names]
    ).T[:, truth]
    harvested = ripe * ((truth == code["cereals"]) | (truth == code["rapeseed"]))
    ground += harvested * (spectra["straw"][:, None, None] - ground)
    dry = np.array([1, 1, 1, 1, 1, 1, 0.1, 1], dtype=np.float32)[truth]
    ground *= 1 + dry * (scene.bright - 1) + rough * scene.grain
    leaf = np.array([spectra[name] for name in names]).T[:, truth]
    leaf[:, truth == code["developed"]] = spectra["grassland"][:, None]
    bloom = np.exp(-(((late - 118) / 11) ** 2)) * (truth == code["rapeseed"])
    leaf += bloom * (spectra["flower"][:, None, None] - leaf)
    light: Floats = (ground + leaves * (leaf - ground)) * scene.light
    return light


def _rise(x: NDArray[Any]) -> Floats:
    """Rise from 0 to 1 by the logistic curve."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), dtype=np.float32)


def _cloud(world: World, at: int, rows: Any, cols: Any) -> tuple[Floats, Floats]:
    """Give the opacity of clouds and the depth of their shadows, from 0 to 1."""
    field, limit = world.clouds[at], world.cloud_limits[at]
    over, sunward = (
        np.clip((field.at(rows + down, cols + along) - limit) / 0.35 + 0.2, 0, 1)
        for down, along in ((0, 0), (_SHADOW_ROWS, _SHADOW_COLS))
    )
    return over.astype(np.float32), sunward.astype(np.float32)


# --- training plots ----------------------------------------------------------------------------


def plots(land: Landscape) -> pd.DataFrame:
    """Draw clusters of plots of 3 x 3 pixels, and read the pixels off their tiles."""
    import pandas as pd

    world = land._world
    n, clusters = world.plots
    rng = np.random.default_rng([world.seed, 98])
    middles = rng.uniform(0.08, 0.92, (clusters, 2)) * world.shape
    cluster = np.sort(np.arange(n) % clusters)
    place = _plot_places(world.shape, middles[cluster], rng)
    offsets = np.stack(np.divmod(np.arange(9), 3), axis=1) - 1
    pixels = (place[:, None, :] + offsets).reshape(-1, 2)
    frame = pd.DataFrame({"plot": np.repeat(np.arange(1, n + 1), 9)})
    frame["cluster"] = np.repeat(cluster + 1, 9)
    frame["row"], frame["col"] = pixels.T
    size, _, left, _, _, top = land.transform
    frame["x"] = left + (frame["col"] + 0.5) * size
    frame["y"] = top - (frame["row"] + 0.5) * size
    return pd.concat([frame, _seen(land, frame["row"], frame["col"])], axis=1)


def _plot_places(
    shape: tuple[int, int], middles: NDArray[np.float64], rng: np.random.Generator
) -> Places:
    """Draw the middle of each plot, near the middle of its cluster; plots do not overlap.

    Plots lie on a lattice with a step of 4 pixels. One that falls outside the country, or on
    another, is drawn again, a little farther from the middle.
    """
    steps = np.array(shape) // 4
    cells = np.full(middles.shape, -1, dtype=np.int64)
    again = np.ones(len(cells), dtype=bool)
    spread = 0.05 * np.full(2, min(*shape, 500))
    while again.any():
        drawn = middles[again] + spread * rng.standard_normal((again.sum(), 2))
        cells[again] = np.floor(drawn / 4).astype(np.int64)
        _, first = np.unique(cells, axis=0, return_index=True)
        again = np.ones(len(cells), dtype=bool)
        again[first] = False
        again |= ((cells < 0) | (cells >= steps)).any(axis=1)
        spread = np.minimum(1.1 * spread, 0.3 * np.array(shape))
    places: Places = 4 * cells + 1
    return places


def _seen(land: Landscape, rows: pd.Series, cols: pd.Series) -> pd.DataFrame:
    """Read truth, clouds and light of single pixels."""
    import pandas as pd

    row, col = rows.to_numpy(), cols.to_numpy()
    n, world = len(row), land._world
    truth, parcel, region = (np.empty(n, dtype=np.int64) for _ in range(3))
    light = np.empty((n, len(land.days), len(land.bands)), dtype=np.int64)
    clear = np.empty(n, dtype=bool)
    for tile in tiles(land.shape):
        mine = (row // _TILE * _TILE == tile.top) & (col // _TILE * _TILE == tile.left)
        if mine.any():
            at = (row[mine] - tile.top, col[mine] - tile.left)
            truth[mine], parcel[mine], region[mine] = (part[at] for part in ground(world, tile))
            seen, clouds = image(world, tile)
            light[mine] = np.moveaxis(seen[:, :, *at], -1, 0)
            clear[mine] = (clouds[:, *at] == _CLEAR).all(axis=0)
    names = pd.array(["", *land.classes.values()], dtype="str")
    columns: dict[str, Any] = {
        "region": region,
        "parcel": parcel,
        "land_class": names.take(truth),
        "clear": clear,
    }
    for place, day in enumerate(land.days):
        for band, name in enumerate(land.bands):
            columns[f"{name}_{day}"] = light[:, place, band]
    return pd.DataFrame(columns)
