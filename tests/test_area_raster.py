"""Pixels of maps are counted, measured and drawn as the files say, whatever their blocks."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, chisquare
from sklearn.metrics import confusion_matrix

rasterio = pytest.importorskip("rasterio")

from rasterio.transform import Affine, from_origin  # noqa: E402

from mlkit._raster import RasterError, write_raster  # noqa: E402
from mlkit.evaluation import _area_counts, _area_sample  # noqa: E402
from mlkit.evaluation._area_counts import MapCounts, count_map  # noqa: E402
from mlkit.evaluation._area_pixels import pixel_areas  # noqa: E402
from mlkit.evaluation._area_sample import draw_reference_sample, read_at, write_points  # noqa: E402

REAL = os.environ.get("MLKIT_REAL_DATA")
EQUAL = from_origin(4_321_000, 3_210_000, 10, 10)
NAMES = {1: "forest", 2: "water", 3: "town"}


def write(path: Path, values: Any, *, mask: Any = None, **profile: Any) -> Path:
    values = np.atleast_3d(np.asarray(values).T).T
    bands, height, width = values.shape
    options = {"crs": "EPSG:3035", "transform": EQUAL, "nodata": 0, **profile}
    with write_raster(
        path, width=width, height=height, count=bands, dtype=values.dtype, **options
    ) as out:
        out.write(values)
        if mask is not None:
            out.write_mask(mask)
    return path


def classes_like(shape: tuple[int, int], seed: int, dtype: str = "uint8", k: int = 3) -> Any:
    return np.random.default_rng(seed).integers(0, k + 1, shape).astype(dtype)


# Areas of pixels --------------------------------------------------------------------------------

GEOD = [
    # Areas of whole rows by pyproj 3.7.2 (PROJ 9.5.1): Geod.polygon_area_perimeter of the row's
    # outline, with 4,001 points along its long sides, divided by its pixels.
    ("EPSG:4326", (15, 60, 1, 1), (3, 4), 0, 6309805668.83401),
    ("EPSG:4326", (15, 60, 1, 1), (3, 4), 1, 6494446987.121457),
    ("EPSG:4326", (15, 60, 1, 1), (3, 4), 2, 6677008927.697832),
    ("EPSG:4267", (-80, 36, 0.1, 0.1), (10, 10), 5, 100725239.62735996),  # Clarke 1866
    ("EPSG:32633", (199_980, 5_000_040, 10, 10), (10_980, 10_980), 0, 99.929805279819),
    ("EPSG:32633", (199_980, 5_000_040, 10, 10), (10_980, 10_980), 10_979, 99.92977048327401),
    ("EPSG:3857", (1e6, 8399737.889818361, 1000, 1000), (50, 50), 0, 250872.84508022876),
    ("EPSG:3413", (-500_000, 500_000, 10_000, 10_000), (100, 10), 30, 105980035.3755019),
    ("EPSG:2264", (2_000_000, 700_000, 100, 100), (50, 500), 10, 929.2214109192663),  # feet
    ("EPSG:3035", (4_321_000, 3_210_000, 10_000, 10_000), (10, 10), 0, 1e8),
]


@pytest.mark.parametrize(("crs", "origin", "shape", "row", "expected"), GEOD)
def test_areas_are_those_of_geographiclib(
    tmp_path: Path, crs: str, origin: Any, shape: tuple[int, int], row: int, expected: float
) -> None:
    path = tmp_path / "empty.tif"
    profile = {"width": shape[1], "height": shape[0], "count": 1, "dtype": "uint8"}
    with write_raster(path, **profile, crs=crs, transform=from_origin(*origin), sparse_ok=True):
        pass
    areas = pixel_areas(path)
    assert areas.square_metres.shape == (shape[0],)
    assert areas.square_metres[row] == pytest.approx(expected, rel=3e-7)


def test_the_whole_earth_in_degrees(tmp_path: Path) -> None:
    """WGS 84 has 510,065,621.724 km² (NIMA TR8350.2 gives 510,065,621.7; cited from memory)."""
    world = write(
        tmp_path / "world.tif",
        np.ones((18, 36), "uint8"),
        crs="EPSG:4326",
        transform=from_origin(-180, 90, 10, 10),
    )
    areas = pixel_areas(world).square_metres
    assert areas.sum() * 36 / 1e6 == pytest.approx(510_065_621.724, abs=0.01)
    np.testing.assert_allclose(areas, areas[::-1])


def test_a_sphere_has_the_area_of_a_zone(tmp_path: Path) -> None:
    """Archimedes: 2 pi r^2 (sin b - sin a) between two parallels of a sphere."""
    crs = "+proj=longlat +a=6371000 +b=6371000 +no_defs"
    path = write(
        tmp_path / "ball.tif", np.ones((3, 9)), crs=crs, transform=from_origin(0, 50, 2, 2)
    )
    edges = np.sin(np.radians([50, 48, 46, 44]))
    expected = 6_371_000**2 * np.radians(2) * -np.diff(edges)
    np.testing.assert_allclose(pixel_areas(path).square_metres, expected, rtol=1e-12)


def test_a_projection_around_the_pole(tmp_path: Path) -> None:
    """Near the pole of EPSG:3413 (true at 70 N) lengths are scaled by (1 + sin 70) / 2."""
    path = write(
        tmp_path / "pole.tif",
        np.ones((20, 20)),
        crs="EPSG:3413",
        transform=from_origin(-1e4, 1e4, 1e3, 1e3),
    )
    sphere = ((1 + np.sin(np.radians(70))) / 2) ** -2 * 1e6
    assert pixel_areas(path).square_metres[10] == pytest.approx(sphere, rel=3e-4)


def test_an_equal_area_grid_may_be_turned(tmp_path: Path) -> None:
    turned = Affine.translation(4e6, 3e6) @ Affine.rotation(30) @ Affine.scale(20, -10)
    areas = pixel_areas(write(tmp_path / "t.tif", np.ones((3, 4)), transform=turned))
    np.testing.assert_allclose(areas.square_metres, 200)
    assert areas.equal
    assert areas.note == ""


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"crs": None}, r"m\.tif has no coordinate reference system.*--crs EPSG:32633"),
        ({"transform": Affine.identity()}, "it has no transform"),
        (
            {"crs": "EPSG:32633", "transform": Affine(10, 1, 5e5, 1, -10, 5e6)},
            "rows that run askew.*rio warp .*EPSG:6933",
        ),
        (
            {"crs": "EPSG:4326", "transform": from_origin(0, 95, 1, 1)},
            "from 95 to 91 degrees of latitude, beyond a pole",
        ),
        (
            {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 5e5, 1e4)},
            r"differ in area by up to [\d.]+% in its projection \(utm\); allowed are 1%",
        ),
        (
            {"crs": "ESRI:54030", "transform": from_origin(1.6e7, 8e6, 1e5, 1e4)},
            "where its projection has no coordinates on the ground",
        ),
    ],
)
def test_areas_that_cannot_be_told(tmp_path: Path, profile: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "m.tif", np.ones((4, 4), "uint8"), **profile)
    with pytest.raises(RasterError, match=message):
        pixel_areas(path)
    with pytest.raises(RasterError, match=message):
        count_map(path)


def test_areas_show_themselves(tmp_path: Path) -> None:
    path = write(
        tmp_path / "utm.tif",
        np.ones((5, 600)),
        crs="EPSG:32633",
        transform=from_origin(2e5, 5e6, 100, 100),
    )
    areas = pixel_areas(path)
    assert areas.to_frame().columns.tolist() == ["row", "square_metres"]
    assert "differ in area by up to 0.0008" in repr(areas)
    assert "compared with an equal-area one" in areas._repr_html_()


# Counts -----------------------------------------------------------------------------------------

DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "uint32"]


@pytest.mark.parametrize("legend", [NAMES, None])
@pytest.mark.parametrize(("first", "second"), [*itertools.product(DTYPES[:4:3], DTYPES)])
def test_confusion_is_that_of_scikit_learn(
    tmp_path: Path, first: str, second: str, legend: dict[int, str] | None
) -> None:
    """Each pair of types takes another way through the code, and all give the same."""
    mapped, truth = classes_like((300, 270), 1, first), classes_like((300, 270), 2, second)
    a = write(tmp_path / "a.tif", mapped)
    b = write(tmp_path / "b.tif", truth, blockxsize=128, blockysize=64)
    counted = count_map(a, b, classes=legend)
    both = (mapped > 0) & (truth > 0)
    expected = confusion_matrix(truth[both], mapped[both], labels=[1, 2, 3]).T
    np.testing.assert_array_equal(counted.confusion(), expected)
    np.testing.assert_allclose(counted.confusion(of="hectares"), expected / 100)
    assert counted.left_out == (~both).sum()
    assert counted.codes == (1, 2, 3)
    assert counted.classes == (tuple(NAMES.values()) if legend else ("1", "2", "3"))


@pytest.mark.parametrize("nodata", [0, 255, 15, None])
@pytest.mark.parametrize("top", [14, 15, 16, 254])
def test_small_codes_are_counted_two_at_a_time_and_right(
    tmp_path: Path, nodata: int | None, top: int
) -> None:
    """Codes below 16, beside a nodata of 255 too, have a way of their own: 6,237 is odd."""
    choice = [1, 13, top, 0 if nodata is None else nodata]
    mapped, truth = np.random.default_rng(top).choice(choice, (2, 77, 81)).astype("uint8")
    a = write(tmp_path / "a.tif", mapped, nodata=nodata)
    b = write(tmp_path / "b.tif", truth, nodata=nodata)
    counted = count_map(a, b)
    both = np.full(mapped.shape, True)
    if nodata is not None:
        both = (mapped != nodata) & (truth != nodata)
    expected = confusion_matrix(truth[both], mapped[both], labels=list(counted.codes)).T
    np.testing.assert_array_equal(counted.pixels[0], expected)
    assert counted.pixels.sum() == both.sum()


@pytest.mark.parametrize("turned", [False, True])
def test_sixteen_in_one_of_the_rasters(tmp_path: Path, turned: bool) -> None:
    a = write(tmp_path / "a.tif", np.array([[1, 16, 16]], "uint8"))
    b = write(tmp_path / "b.tif", np.array([[1, 2, 1]], "uint8"))
    table = count_map(*((b, a) if turned else (a, b))).confusion()
    expected = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(table, expected.T if turned else expected)


@pytest.mark.parametrize("piece", [1, 270, 1000, 10**9])
@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:4326"])
@pytest.mark.parametrize("reference", [True, False])
def test_regions_and_areas_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crs: str, piece: int, reference: bool
) -> None:
    monkeypatch.setattr(_area_counts, "_PIECE", piece)
    mapped, truth = classes_like((80, 270), 1), classes_like((80, 270), 2)
    region = classes_like((80, 270), 3, "int32", k=2) * 1000
    profile = {"crs": crs, "transform": from_origin(10, 60, 0.1, 0.1)}
    if crs == "EPSG:3035":
        profile = {}
    a, b, r = (
        write(tmp_path / f"{name}.tif", values, **profile)
        for name, values in (("a", mapped), ("b", truth), ("r", region))
    )
    names = {1000: "north", 2000: "south", 3000: "sea"}
    counted = count_map(a, b if reference else None, region_path=r, regions=names, classes=NAMES)
    frame = pd.DataFrame(
        {
            "region": region.ravel(),
            "map": mapped.ravel(),
            "reference": truth.ravel() if reference else 1,
            "area": np.repeat(pixel_areas(a).square_metres, 270),
        }
    )
    frame = frame[
        (region.ravel() > 0) & (mapped.ravel() > 0) & ((truth.ravel() > 0) | (not reference))
    ]
    for place, code in enumerate(names):
        for k, j in itertools.product((1, 2, 3), (1, 2, 3) if reference else (1,)):
            is_cell = (frame["region"] == code) & (frame["map"] == k) & (frame["reference"] == j)
            chosen = frame[is_cell]
            at = (place, k - 1, j - 1)[: counted.pixels.ndim]
            assert counted.pixels[at] == len(chosen)
            assert counted.square_metres[at] == pytest.approx(chosen["area"].sum(), rel=1e-12)
    table = counted.to_frame()
    assert table["region"].tolist() == ["north"] * 3 + ["south"] * 3 + ["sea"] * 3
    assert table.groupby("region")["share"].sum(min_count=1)["north"] == pytest.approx(1)
    assert table["share"].isna().sum() == 3  # nothing lies in the sea
    assert table["pixels"].sum() == len(frame)
    if reference:
        assert counted.confusion(region="south").to_numpy().sum() == (frame["region"] == 2000).sum()


def test_equal_pixels_in_degrees_are_wrong(tmp_path: Path) -> None:
    """Negative control: forest in the north, as many pixels as water, has half the area."""
    values = np.repeat([[1], [2]], 10, axis=0) * np.ones((1, 5))
    path = write(
        tmp_path / "m.tif",
        values.astype("uint8"),
        crs="EPSG:4326",
        transform=from_origin(10, 80, 1, 2),
    )
    table = count_map(path, classes=NAMES).to_frame().set_index("class")
    assert table["pixels"].tolist() == [50, 50, 0]
    sines = np.sin(np.radians([80, 60, 40]))  # on a sphere
    expected = (sines[0] - sines[1]) / (sines[0] - sines[2])
    assert table.loc["forest", "share"] == pytest.approx(expected, abs=1e-3)
    assert table["share"].iloc[0] < 0.35


def test_a_mask_beside_the_codes_hides_them(tmp_path: Path) -> None:
    values = classes_like((40, 50), 1) + np.uint8(1)
    hidden = np.arange(50) < 20
    mask = np.broadcast_to(~hidden, (40, 50))
    path = write(tmp_path / "m.tif", values, nodata=None, mask=mask)
    counted = count_map(path)
    assert counted.left_out == 800
    np.testing.assert_array_equal(counted.pixels[0], np.bincount(values[:, 20:].ravel())[1:])


def test_new_codes_in_each_band_are_learned(tmp_path: Path) -> None:
    values = np.repeat(np.arange(1, 13, dtype="uint16") * 100, 20)[:, None] * np.ones(
        (1, 200_000 // 16), "uint16"
    )
    path = write(tmp_path / "m.tif", values, blockysize=16, blockxsize=1024)
    counted = count_map(path)
    assert counted.codes == tuple(range(100, 1300, 100))
    assert set(counted.pixels[0]) == {20 * values.shape[1]}


def test_a_class_in_one_raster_alone(tmp_path: Path) -> None:
    a = write(tmp_path / "a.tif", np.array([[1, 1], [2, 2]], "uint8"))
    b = write(tmp_path / "b.tif", np.array([[1, 3], [3, 3]], "uint8"))
    counted = count_map(a, b)
    assert counted.confusion().to_numpy().tolist() == [[1, 0, 1], [0, 0, 2], [0, 0, 0]]
    assert counted.sizes == {"1": 2, "2": 2, "3": 0}
    assert counted.to_frame()["reference_pixels"].tolist() == [1, 0, 3]


def test_codes_outside_the_legend_are_refused_with_their_place(tmp_path: Path) -> None:
    values = np.ones((600, 300), "uint8")
    values[411, 7] = 9
    values[500, 3] = 8
    a, b = write(tmp_path / "a.tif", np.ones_like(values)), write(tmp_path / "b.tif", values)
    message = (
        r"b\.tif holds the code 9 at row 411, column 7 \(x 4,321,075, y 3,205,885;.*"
        r"no such class: 1 forest, 2 water, 3 town\. Add it.*--nodata 9"
    )
    with pytest.raises(RasterError, match=message):
        count_map(a, b, classes=NAMES)
    with pytest.raises(RasterError, match=message):
        count_map(b, classes=NAMES)
    with pytest.raises(RasterError, match=message):
        draw_reference_sample(b, {"forest": 1}, seed=1, classes=NAMES)


def test_bad_rasters_are_refused(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tif", np.ones((30, 40), "uint8"))
    empty = write(tmp_path / "empty.tif", np.zeros((30, 40), "uint8"))
    bands = write(tmp_path / "bands.tif", np.ones((2, 30, 40), "uint8"))
    real = write(tmp_path / "real.tif", np.ones((30, 40), "float32"))
    moved = write(tmp_path / "moved.tif", np.ones((30, 40), "uint8"), crs="EPSG:32633")
    many = write(tmp_path / "many.tif", np.arange(1200, dtype="uint16").reshape(30, 40))
    cut = tmp_path / "cut.tif"
    noise = write(tmp_path / "noise.tif", classes_like((600, 600), 1))
    cut.write_bytes(noise.read_bytes()[:-40_000])
    for path, message in (
        (tmp_path / "none.tif", "does not exist"),
        (empty, "No pixel has data in empty.tif"),
        (bands, "bands.tif has 2 bands; a map of classes has one"),
        (real, "real.tif holds float32 numbers; codes of classes are whole"),
        (many, "more than 256 different codes"),
        (cut, "cut off"),
    ):
        with pytest.raises(RasterError, match=message):
            count_map(path)
    for path, message in (
        (moved, "different grids"),
        (empty, "No pixel has data in good.tif and empty.tif at once"),
        (bands, "has 2 bands"),
    ):
        with pytest.raises(RasterError, match=message):
            count_map(good, path)
        with pytest.raises(RasterError, match=r"different grids|has 2 bands|No pixel"):
            count_map(good, region_path=path)
    with pytest.raises(RasterError, match="declares 0 as nodata, and the legend has it"):
        count_map(good, classes={0: "nothing", 1: "forest"})
    with pytest.raises(ValueError, match="regions= names the codes of region_path="):
        count_map(good, regions={1: "north"})
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".tif"] * 8


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "classes is empty"),
        ({"forest": 1}, "the code 'forest'; the codes of a raster are whole numbers"),
        ({1.5: "forest"}, "the code 1.5"),
        ({1: "forest", 2: "forest"}, "the name 'forest' twice"),
        ("forest", "is text; give codes with names"),
    ],
)
def test_bad_legends_are_refused(tmp_path: Path, classes: Any, message: str) -> None:
    path = write(tmp_path / "m.tif", np.ones((3, 4), "uint8"))
    with pytest.raises(ValueError, match=message):
        count_map(path, classes=classes)


def test_legends_may_be_series_or_codes(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", np.array([[1, 2, 2]], "uint8"))
    assert count_map(path, classes=pd.Series(NAMES)).sizes == {"forest": 1, "water": 2, "town": 0}
    assert count_map(path, classes=[2, 1]).sizes == {"1": 1, "2": 2}


@pytest.fixture
def counted(tmp_path: Path) -> MapCounts:
    a = write(tmp_path / "a.tif", classes_like((40, 50), 1))
    b = write(tmp_path / "b.tif", classes_like((40, 50), 2))
    return count_map(a, b, classes=NAMES)


def test_counts_show_themselves(counted: MapCounts) -> None:
    assert "a.tif against b.tif" in counted._repr_html_()
    assert "Left out, without data: " in repr(counted)
    ax = counted.plot()
    assert [text.get_text() for text in ax.get_yticklabels()] == list(NAMES.values())
    assert ax.get_xlabel() == "area, hectares"
    widths = [bar.get_width() for bar in ax.patches]  # type: ignore[attr-defined]
    table = counted.to_frame()
    np.testing.assert_allclose(widths, [*table["hectares"], *table["reference_hectares"]])


def test_questions_that_counts_cannot_answer(counted: MapCounts, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="No region 'north'"):
        counted.confusion(region="north")
    with pytest.raises(ValueError, match="allowed are 'pixels' and 'hectares'"):
        counted.confusion(of="acres")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a reference"):
        count_map(tmp_path / "a.tif").confusion()


# Samples ----------------------------------------------------------------------------------------


def test_the_same_sample_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = classes_like((301, 203), 5)
    frames = []
    for number, (block, budget) in enumerate(
        itertools.product([16, 64, 256, None], [1, 20_000, 10**9])
    ):
        tiles = {"tiled": False, "blockysize": 7, "blockxsize": None}
        if block:
            tiles = {"blockxsize": block, "blockysize": block}
        path = write(tmp_path / f"m{number}.tif", values, **tiles)

        def bands(dataset: Any, pixels: int = 0, budget: int = budget) -> Any:
            from mlkit._raster import block_rows

            return block_rows(dataset, pixels=budget)

        monkeypatch.setattr(_area_sample, "block_rows", bands)
        sizes = {"forest": 50, "water": 7, "town": 1}
        frames.append(draw_reference_sample(path, sizes, seed=7, classes=NAMES))
    for other in frames[1:]:
        pd.testing.assert_frame_equal(other, frames[0])
    sample = frames[0]
    assert sample["stratum"].value_counts().to_dict() == {"forest": 50, "water": 7, "town": 1}
    codes = sample["map_class"].map({name: code for code, name in NAMES.items()})
    np.testing.assert_array_equal(values[sample["row"], sample["column"]], codes)
    assert not sample.duplicated(["row", "column"]).any()
    np.testing.assert_allclose(sample["x"], 4_321_005 + 10 * sample["column"])
    np.testing.assert_allclose(sample["y"], 3_209_995 - 10 * sample["row"])
    n_forest = (values == 1).sum()
    assert sample["stratum_pixels"][0] == n_forest
    assert sample["inclusion_probability"][0] == pytest.approx(50 / n_forest)
    assert sample["weight"].sum() == pytest.approx((values > 0).sum())
    assert sample["reference"].isna().all()
    assert (sample["square_metres"] == 100).all()


def test_other_seeds_draw_other_pixels_and_a_smaller_sample_is_the_first_part(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "m.tif", classes_like((100, 100), 5))
    one, again, two = (draw_reference_sample(path, {"1": 40}, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert len(one.merge(two, on=["row", "column"])) < 10
    small = draw_reference_sample(path, {1: 15}, seed=1)
    np.testing.assert_array_equal(small[["row", "column"]], one[["row", "column"]][:15])


def test_each_pixel_and_each_pair_is_drawn_equally_often(tmp_path: Path) -> None:
    """Chi-square over 600 draws: of 2 of 12 pixels, of their pairs, and of 3 of 8 pixels."""
    values = np.array([[1, 1, 2, 0, 1], [2, 1, 2, 1, 1], [1, 2, 1, 2, 1]] * 2, "uint8")
    values[3:] = np.where(values[3:] == 1, 0, values[3:])
    values[5, 0], values[5, 2], values[3, 0] = 1, 1, 1
    path = write(tmp_path / "m.tif", values, blockxsize=16, blockysize=16)
    sizes, draws = {1: 2, 2: 3}, 600
    once, pairs = np.zeros(values.size), np.zeros((values.size, values.size))
    for seed in range(draws):
        sample = draw_reference_sample(path, sizes, seed=seed)
        pixel = (sample["row"] * 5 + sample["column"]).to_numpy()
        once[pixel] += 1
        pairs[pixel[:2].min(), pixel[:2].max()] += 1
    for code, n in sizes.items():
        counts = once[values.ravel() == code]
        assert counts.sum() == draws * n
        # A draw holds a pixel once at most, so counts vary less than a multinomial's do.
        big_n = len(counts)
        statistic = chisquare(counts).statistic * (big_n - 1) / (big_n - n)
        assert 0.001 < chi2.sf(statistic, big_n - 1) < 0.999
    inside = np.flatnonzero(values == 1)
    each = pairs[np.ix_(inside, inside)][np.triu_indices(len(inside), 1)]
    assert each.sum() == draws
    assert 0.001 < chisquare(each).pvalue < 0.999


def test_strata_regions_and_excluded_pixels(tmp_path: Path) -> None:
    values, layer = classes_like((90, 80), 1), classes_like((90, 80), 2, k=2)
    zones = classes_like((90, 80), 3, "uint16", k=2) * 300
    training = np.zeros((90, 80), "uint8")
    training[:, :60] = 5
    path, strata, region, training_path = (
        write(tmp_path / f"{name}.tif", data, nodata=nodata)
        for name, data, nodata in (
            ("m", values, 0),
            ("s", layer, 0),
            ("r", zones, 0),
            ("t", training, None),
        )
    )
    sample = draw_reference_sample(
        path,
        pd.Series({"low": 30, "high": 60}),
        seed=3,
        classes=NAMES,
        strata_path=strata,
        strata={1: "high", 2: "low"},
        region_path=region,
        regions={300: "north", 600: "south"},
        exclude_path=training_path,
    )
    population = (values > 0) & (layer > 0) & (zones > 0) & (training == 0)
    at = sample["row"], sample["column"]
    assert population[at].all()
    sizes = sample.groupby("stratum")["stratum_pixels"].first()
    assert sizes["high"] == (population & (layer == 1)).sum()
    assert sizes["low"] == (population & (layer == 2)).sum()
    assert sample["stratum"].tolist() == ["high"] * 60 + ["low"] * 30
    assert sample["map_class"].tolist() == [NAMES[code] for code in values[at]]
    assert sample["region"].tolist() == [{300: "north", 600: "south"}[z] for z in zones[at]]
    # Nodata in the file of training pixels means: not used for training.
    as_nodata = write(tmp_path / "t0.tif", np.where(training, training, 99), nodata=99)
    again = draw_reference_sample(path, {1: 9}, seed=3, exclude_path=as_nodata)
    other = draw_reference_sample(path, {1: 9}, seed=3, exclude_path=training_path)
    pd.testing.assert_frame_equal(again, other)


def test_take_all(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", np.array([[1, 2, 2], [2, 1, 0]], "uint8"))
    sample = draw_reference_sample(path, {1: 2, 2: 3}, seed=1)
    assert sorted(zip(sample["row"], sample["column"], strict=True)) == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1),
    ]  # fmt: skip
    assert (sample["weight"] == 1).all()


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ({"forest": 99}, {}, RasterError, "forest has 2, wanted 99. Draw fewer"),
        ({"town": 1}, {}, RasterError, "town has 0, wanted 1"),
        ({"desert": 1}, {}, ValueError, "'desert', which m.tif does not have; there are: 1 forest"),
        ({9: 1}, {}, ValueError, "names the stratum 9"),
        ({"forest": 1, 1: 1}, {}, ValueError, "twice, by name and by code"),
        ({"forest": 1.5}, {}, ValueError, "has 1.5 for 'forest'; points are whole numbers"),
        ({"forest": float("nan")}, {}, ValueError, "has nan for 'forest'"),
        ({"forest": -1}, {}, ValueError, "cannot be negative"),
        ({"forest": 0}, {}, ValueError, "asks for no points"),
        ({}, {}, ValueError, "asks for no points"),
        ([1, 2], {}, ValueError, "sizes is list; give the number of points"),
        ({"forest": 1}, {"seed": None}, ValueError, "seed=None; give a whole number"),
        ({"forest": 1}, {"seed": -1}, ValueError, "seed=-1"),
        ({"forest": 1}, {"strata": {1: "a"}}, ValueError, "no raster that holds them"),
        ({"forest": 1}, {"exclude_path": "none.tif"}, RasterError, "does not exist"),
    ],
)
def test_samples_that_cannot_be_drawn(
    tmp_path: Path, sizes: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = write(tmp_path / "m.tif", np.array([[1, 2, 2], [2, 1, 0]], "uint8"))
    with pytest.raises(error, match=message):
        draw_reference_sample(path, sizes, **{"seed": 1, "classes": NAMES, **options})


def test_no_pixels_left_to_draw(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", np.ones((3, 4), "uint8"))
    with pytest.raises(RasterError, match="every one is nodata or excluded"):
        draw_reference_sample(path, {1: 1}, seed=1, exclude_path=path)
    other = write(tmp_path / "o.tif", np.ones((3, 5), "uint8"))
    with pytest.raises(RasterError, match="different grids"):
        draw_reference_sample(path, {1: 1}, seed=1, exclude_path=other)


def test_the_reference_is_read_at_the_points(tmp_path: Path) -> None:
    values, truth = classes_like((300, 200), 1), classes_like((300, 200), 2)
    path = write(tmp_path / "m.tif", values)
    truth[0, 0] = 99  # not at a point of this sample, so nobody minds
    reference = write(tmp_path / "reference.tif", truth, blockxsize=64, blockysize=32)
    sample = draw_reference_sample(path, {1: 30, 2: 30, 3: 30}, seed=1).sample(
        frac=1, random_state=1
    )
    before = sample.copy()
    answer = read_at(reference, sample, classes=NAMES)
    pd.testing.assert_frame_equal(sample, before)
    expected = [{**NAMES, 0: "-"}[code] for code in truth[sample["row"], sample["column"]]]
    assert answer.index.equals(sample.index)
    assert answer.fillna("-").tolist() == expected
    assert "-" in expected
    unnamed = read_at(reference, sample).dropna()
    assert set(unnamed) == {"1", "2", "3"}
    row, column = sample["row"].iloc[4], sample["column"].iloc[4]
    truth[row, column] = 77
    wrong = write(tmp_path / "wrong.tif", truth)
    with pytest.raises(RasterError, match=rf"code 77 at row {row}, column {column} \("):
        read_at(wrong, sample, classes=NAMES)


@pytest.mark.parametrize(
    "profile",
    [
        {"transform": from_origin(4_321_010, 3_210_000, 10, 10)},
        {"transform": from_origin(4_321_000, 3_210_000, 10.1, 10)},
        {"crs": "EPSG:32633"},
        {"crs": None},
    ],
)
def test_a_reference_on_another_grid_is_refused(tmp_path: Path, profile: dict[str, Any]) -> None:
    path = write(tmp_path / "m.tif", np.ones((30, 20), "uint8"))
    sample = draw_reference_sample(path, {1: 10}, seed=1)
    other = write(tmp_path / "other.tif", np.ones((30, 20), "uint8"), **profile)
    with pytest.raises(RasterError, match=r"other\.tif is not on the grid"):
        read_at(other, sample)
    small = write(tmp_path / "small.tif", np.ones((3, 2), "uint8"))
    with pytest.raises(RasterError, match=r"small\.tif is not on the grid"):
        read_at(small, sample)
    with pytest.raises(ValueError, match="no column row, x"):
        read_at(path, sample.drop(columns=["row", "x"]))


def test_points_for_a_gis(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", classes_like((30, 20), 1))
    sample = draw_reference_sample(path, {1: 4, 2: 3}, seed=1)
    sample.loc[2, "reference"] = "forêt"
    place = tmp_path / "points.geojson"
    write_points(sample, place)
    content = json.loads(place.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == 7
    third = content["features"][2]
    assert third["properties"] == {"point": 3, "reference": "forêt"}
    assert content["features"][0]["properties"]["reference"] is None
    # The origin of EPSG:3035's coordinates is 10 E, 52 N at 4,321,000, 3,210,000.
    east, north = third["geometry"]["coordinates"]
    assert 10 < east < 10.004
    assert 51.997 < north < 52
    with pytest.raises(ValueError, match="no column point"):
        write_points(sample.drop(columns="point"), place)


# The real scene ---------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL, reason="MLKIT_REAL_DATA names no folder of real copies")
def test_north_carolina_is_lambert_conformal() -> None:
    """Not equal-area: pixels of 28.5 m have 812.38 m², not 812.25 (pyproj 3.7.2, see GEOD)."""
    folder = Path(REAL or "")
    areas = pixel_areas(folder / "nc_landclass_map.tif")
    assert areas.square_metres[0] == pytest.approx(812.3812071948216, rel=1e-7)
    assert areas.square_metres[-1] == pytest.approx(812.4091164140906, rel=1e-7)
    assert areas.square_metres.min() > 28.5**2
    assert areas.variation < 1e-6
    labels, land = folder / "nc_labelled_pixels.tif", folder / "nc_landclass_map.tif"
    counted = count_map(land, labels)
    assert counted.pixels.sum() == 2_872  # SOURCES.md
    agree = np.diag(counted.confusion()).sum() / 2_872
    assert agree == pytest.approx(0.995, abs=0.001)  # methods.md 26
    sample = draw_reference_sample(land, {"5": 100, "1": 50}, seed=1, exclude_path=labels)
    assert read_at(labels, sample).isna().all()
    assert sample["longitude"].between(-79, -78).all()
    assert sample["latitude"].between(35, 36.5).all()
