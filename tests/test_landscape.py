"""The simulated landscape: the same by tiles, whole and on disk; and made to show a method fail."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score

from mlkit._raster import RasterError, check_same_grid, open_raster, read_window
from mlkit.datasets import Landscape, dataset_card, make_landscape

CODES = {"cereals": 1, "maize": 2, "rapeseed": 3, "grassland": 4, "forest": 5, "water": 6}


@pytest.fixture(scope="module")
def land() -> Landscape:
    return make_landscape((300, 420), seed=3)


def test_arrays(land: Landscape) -> None:
    assert land.image.shape == (3, 4, 300, 420)
    assert land.image.dtype == np.uint16
    assert land.image.min() > 0  # 0 is no data in the files
    assert land.clouds.shape == (3, 300, 420)
    assert set(np.unique(land.clouds)) == {0, 1, 2}
    assert land.truth.shape == land.parcels.shape == land.regions.shape == (300, 420)
    assert set(np.unique(land.truth)) == set(land.classes) == set(range(1, 8))
    assert set(np.unique(land.regions)) <= set(land.region_names)
    assert land.class_pixels.to_numpy().sum() == 300 * 420
    counts = np.bincount(land.truth.ravel(), minlength=8)[1:]
    assert land.class_pixels.sum(axis=1).tolist() == counts.tolist()
    table = land.to_frame()
    assert table["share"].sum() == pytest.approx(1)
    assert table["ha"].tolist() == pytest.approx(counts / 100)


def test_a_frozen_result(land: Landscape) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        land.seed = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        land.truth[0, 0] = 1
    assert "Simulated landscape of 300 x 420 pixels: truth" in str(land)
    assert "<table" in land._repr_html_()


def test_the_seed_decides() -> None:
    first, again, other = (make_landscape((100, 90), seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.truth, again.truth)
    pd.testing.assert_frame_equal(first.plots, again.plots)
    assert not np.array_equal(first.truth, other.truth)


def test_no_seams_between_tiles() -> None:
    """Neighbours across the border of two tiles are as alike as any other neighbours."""
    land = make_landscape((200, 600), seed=1, cloud_cover=0.0, noise=0.0)
    light = land.image.astype(float)
    step = np.abs(np.diff(light, axis=-1)).mean(axis=(0, 1, 2))
    assert step[255] < np.quantile(step, 0.98)
    assert step[511] < np.quantile(step, 0.98)


def test_the_same_in_memory_and_on_disk(land: Landscape, tmp_path: Path) -> None:
    paths = land.to_geotiff(tmp_path / "scene")
    assert {path.name for path in (tmp_path / "scene").iterdir()} == {
        path.name for path in paths.values()
    }
    for at, day in enumerate(land.days):
        with open_raster(paths[f"image_{day}"]) as file:
            assert np.array_equal(read_window(file), land.image[at])
            assert file.descriptions == land.bands
            assert file.nodata == 0
            assert file.block_shapes[0] == (256, 256)
            assert file.crs.to_epsg() == 3035
            assert file.transform[:6] == land.transform
        with open_raster(paths[f"clouds_{day}"]) as file:
            assert np.array_equal(read_window(file)[0], land.clouds[at])
    for name in ("truth", "parcels", "regions"):
        with open_raster(paths[name]) as file, open_raster(paths["image_115"]) as image:
            check_same_grid(image, file)
            assert np.array_equal(read_window(file)[0], getattr(land, name))
    with open_raster(paths["truth"]) as file:
        assert file.colormap(1)[6] == (0, 114, 178, 255)
        assert file.tags()["classes"].startswith("1 cereals,2 maize")
    pd.testing.assert_frame_equal(pd.read_csv(paths["plots"]), land.plots)


def test_a_failed_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlkit.datasets._landscape_world as module

    land = make_landscape((64, 64))
    monkeypatch.setattr(module, "image", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        land.to_geotiff(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RasterError, match="cannot be made"):
        make_landscape((64, 64)).to_geotiff(tmp_path / "file")


def test_too_large_for_memory() -> None:
    land = make_landscape((11_000, 11_000))
    with pytest.raises(
        ValueError, match=r"11,000 x 11,000 pixels has 1,452,000,000 values .*to_geo"
    ):
        _ = land.image


MEMORY = """
import resource, sys
from mlkit.datasets import make_landscape
make_landscape((256, 256), plots=4, clusters=1).to_geotiff(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
make_landscape((1024, 4096), plots=4, clusters=1).to_geotiff(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.soak
def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    """The images of 4 million pixels alone have 101 MB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert int(done.stdout) < 110_000  # kB: 64 MB of tiles that GDAL holds, and the coarse grids


# --- what it looks like ------------------------------------------------------------------------


def ndvi(land: Landscape, day: int) -> np.ndarray:
    at = land.days.index(day)
    red, nir = (land.image[at, land.bands.index(name)].astype(float) for name in ("red", "nir"))
    return (nir - red) / (nir + red)


def test_crops_green_up_and_are_harvested() -> None:
    days = (60, 120, 180, 240, 300)
    land = make_landscape(seed=2, days=days, cloud_cover=0.0)
    curve = {
        name: [ndvi(land, day)[land.truth == code].mean() for day in days]
        for name, code in CODES.items()
    }
    assert days[int(np.argmax(curve["cereals"]))] in (120, 180)
    assert days[int(np.argmax(curve["maize"]))] == 240
    assert curve["cereals"][3] < curve["cereals"][1] - 0.2  # stubble
    assert curve["maize"][1] < 0.35  # bare soil in spring
    assert min(curve["forest"][1:4]) > 0.6
    assert max(curve["water"]) < 0
    at = days.index(120)
    red = land.image[at, 2]
    assert red[land.truth == 3].mean() > 1.2 * red[land.truth == 1].mean()  # rapeseed in bloom


def test_parcels_are_fields(land: Landscape) -> None:
    inside = land.parcels > 0
    assert set(np.unique(land.truth[inside])) <= {1, 2, 3, 4}
    assert (land.truth[~inside] >= 4).all()
    crops = pd.Series(land.truth[inside]).groupby(land.parcels[inside])
    assert (crops.min() == crops.max()).all()
    assert 100 < crops.size().mean() < 500
    big = crops.size()
    assert (big < 30).mean() == pytest.approx(0.2, abs=0.05)  # as the card says


def test_neighbours_are_alike(land: Landscape) -> None:
    """Land comes in patches, not as noise: most neighbours have one class."""
    same = (land.truth[:, 1:] == land.truth[:, :-1]).mean()
    assert same > 0.88
    patches = ndimage.label(land.truth == CODES["forest"])[1]
    assert patches < 60


@pytest.mark.parametrize("cover", [0.0, 0.1, 0.4])
def test_clouds(cover: float) -> None:
    land = make_landscape(seed=4, cloud_cover=cover)
    clear_land = make_landscape(seed=4, cloud_cover=0.0)
    cloud, shadow = land.clouds == 1, land.clouds == 2
    # The opacity at the limit is a fifth, which is where the mask begins.
    assert cloud.mean(axis=(1, 2)) == pytest.approx(cover, abs=0.02)
    difference = land.image.astype(int) - clear_land.image
    if cover:
        thick = ndimage.binary_erosion(cloud[0], iterations=6)
        assert (land.image[0, 0][thick] > 5_000).mean() > 0.95
        nir = difference[:, 3]
        assert nir[shadow].mean() < -300
        # Shadows lie up and left of their clouds.
        moved = np.roll(cloud, (-14, -9), axis=(1, 2))
        assert moved[shadow].mean() > 0.8
    else:
        assert not shadow.any()


def test_true_shares_follow_the_settings() -> None:
    settings = dataset_card("landscape").settings
    shares = [make_landscape(seed=seed).to_frame()["share"] for seed in range(4)]
    mean = pd.concat(shares, axis=1).mean(axis=1)
    assert mean["forest"] == pytest.approx(settings["forest"], abs=0.03)
    fields = mean[["cereals", "maize", "rapeseed", "grassland"]]
    expected = np.array(settings["crop_shares"])
    assert (fields / fields.sum()).to_numpy() == pytest.approx(expected, abs=0.06)


def test_plots(land: Landscape) -> None:
    plots = land.plots
    row, col = plots["row"], plots["col"]
    assert not plots.duplicated(["row", "col"]).any()
    assert row.between(0, 299).all()
    assert col.between(0, 419).all()
    assert plots["plot"].nunique() == 80
    assert plots["cluster"].nunique() == 6
    assert (plots["land_class"] == [land.classes[code] for code in land.truth[row, col]]).all()
    assert (plots["parcel"] == land.parcels[row, col]).all()
    assert (plots["region"] == land.regions[row, col]).all()
    assert (plots["clear"] == (land.clouds[:, row, col] == 0).all(axis=0)).all()
    for at, day in enumerate(land.days):
        for band, name in enumerate(land.bands):
            assert (plots[f"{name}_{day}"] == land.image[at, band, row, col]).all()
    with_card = ["plot", "cluster", "row", "col", "x", "y", "region", "parcel", "land_class"]
    assert list(plots.columns[:10]) == [*with_card, "clear"] == list(land.card.columns)
    assert plots["x"].iloc[0] == 4_320_000 + 10 * (col.iloc[0] + 0.5)
    assert plots["y"].iloc[0] == 3_210_000 - 10 * (row.iloc[0] + 0.5)


def test_plots_are_clustered(land: Landscape) -> None:
    """Two plots of a cluster lie nearer to each other than two plots of the country."""
    middles = land.plots.groupby("plot")[["row", "col"]].mean().to_numpy()
    cluster = land.plots.groupby("plot")["cluster"].first().to_numpy()
    apart = np.hypot(*(middles[:, None] - middles[None]).transpose(2, 0, 1))
    same = cluster[:, None] == cluster[None]
    assert apart[same].mean() < 0.4 * apart[~same].mean()


def test_bands_and_days() -> None:
    land = make_landscape((64, 70), days=[200], bands=["swir", "nir"], cloud_cover=0.0, noise=0.0)
    both = make_landscape((64, 70), days=[200], cloud_cover=0.0, noise=0.0)
    assert land.bands == ("swir", "nir")
    assert np.array_equal(land.image[0, 1], both.image[0, 3])


def test_more_plots_than_room_in_their_cluster() -> None:
    plots = make_landscape((64, 64), plots=85, clusters=1).plots
    assert plots["plot"].nunique() == 85
    assert not plots.duplicated(["row", "col"]).any()
    with pytest.raises(ValueError, match="plots is 86; allowed are 1 to 85"):
        make_landscape((64, 64), plots=86)


# --- what it is for ----------------------------------------------------------------------------

HARD_SEED = 5
HARD = {
    "days": (165,),
    "heterogeneity": 3.0,
    "noise": 2.0,
    "clusters": 5,
    "cloud_cover": 0.0,
}


@pytest.fixture(scope="module")
def mapped() -> tuple[Landscape, np.ndarray, float, float]:
    """Classify a hard landscape: the map, and what two cross-validations say of it."""
    land = make_landscape(seed=HARD_SEED, **HARD)  # type: ignore[arg-type]
    plots = land.plots
    columns = [f"{band}_165" for band in land.bands]
    x, y = plots[columns].to_numpy(), plots["land_class"].to_numpy()
    forest = RandomForestClassifier(100, random_state=0)
    by_chance = cross_val_score(forest, x, y, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    squares = plots["row"] // 50 * 100 + plots["col"] // 50
    blocked = cross_val_score(forest, x, y, cv=GroupKFold(5), groups=squares)
    pixels = land.image[0].reshape(len(land.bands), -1).T
    codes = {name: code for code, name in land.classes.items()}
    said = pd.Series(forest.fit(x, y).predict(pixels)).map(codes).to_numpy()
    return land, said.reshape(land.shape), float(by_chance.mean()), float(blocked.mean())


def test_leakage_as_in_a27(mapped: tuple[Landscape, np.ndarray, float, float]) -> None:
    """shared/facts/imagery.md, A27: the leak of random folds, and what pixel counting makes of it.

    Squares of 50 x 50 pixels, as there. The facts hold for this seed. Over seeds 0 to 11 with
    these settings (measured once, on every ninth pixel) the leak is above .2 in 11 of the 12,
    blocking comes within .1 in 5: with five clusters it is a noisy judge. Pixel counting is off
    by more than .15 in this seed alone, and by more than .08 in 8.
    """
    land, said, by_chance, blocked = mapped
    true = (said == land.truth).mean()
    assert by_chance - true > 0.2
    assert abs(blocked - true) < 0.1
    error = np.bincount(said.ravel(), minlength=8) - np.bincount(land.truth.ravel(), minlength=8)
    assert np.abs(error).max() / said.size > 0.15


def test_coverage_of_the_stratified_estimator(
    mapped: tuple[Landscape, np.ndarray, float, float],
) -> None:
    """A27: 95 % intervals of class areas cover in .92 to .97, here over 2,000 draws.

    A sample of 125 pixels for each class of the map; estimator and standard error of Olofsson
    et al. (2014), as in A21 of the facts. Pixel counting, with no interval, is the control: it
    is off by many standard errors.
    """
    land, said, *_ = mapped
    confusion = np.bincount((said * 8 + land.truth).ravel(), minlength=64).reshape(8, 8)[1:, 1:]
    size = confusion.sum(axis=1)
    share = size / size.sum()
    rng = np.random.default_rng(27)
    n = 125
    drawn = np.stack([rng.multivariate_hypergeometric(row, n, 2_000) for row in confusion], axis=1)
    p = drawn / n  # draws, strata, classes
    area = np.einsum("s,dsc->dc", share, p)
    se = np.sqrt(np.einsum("s,dsc->dc", share**2, p * (1 - p) / (n - 1)))
    truth = confusion.sum(axis=0) / size.sum()
    inside = (np.abs(area - truth) <= 1.959964 * se).mean(axis=0)
    cover = dict(zip(land.classes.values(), inside, strict=True))
    assert np.abs(area.mean(axis=0) - truth).max() < 0.002  # no bias
    # Three standard errors of the simulation. One cell fails and is published: developed land,
    # rare and spread thinly over the strata of other classes, is covered in .93 only.
    off = {name for name in cover if abs(cover[name] - 0.95) > 3 * np.sqrt(0.0475 / 2_000)}
    assert off == {"developed"}
    assert all(0.92 <= share <= 0.97 for share in cover.values()), cover
    assert cover["developed"] == pytest.approx(0.93, abs=0.003)
    counted = np.abs(share - truth) / se.mean(axis=0)
    assert counted.max() > 5


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"shape": 400}, TypeError, "two whole numbers, rows and columns"),
        ({"shape": (400, 400, 3)}, TypeError, "two whole numbers"),
        ({"shape": (400.0, 400)}, TypeError, r"number of rows is 400\.0"),
        ({"shape": (400, 63)}, ValueError, "number of columns is 63; allowed are 64 to"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": True}, TypeError, "seed is True"),
        ({"seed": None}, TypeError, "seed is None"),
        ({"days": ()}, ValueError, "give days of the year"),
        ({"days": (100, 100)}, ValueError, "days must increase"),
        ({"days": (0,)}, ValueError, "a day is 0; allowed are 1 to 366"),
        ({"days": (1.5,)}, TypeError, r"a day is 1\.5"),
        ({"bands": "nir"}, ValueError, "give different ones of: blue, green"),
        ({"bands": ()}, ValueError, "give different ones of"),
        ({"bands": ("nir", "nir")}, ValueError, "give different ones of"),
        ({"bands": ("thermal",)}, ValueError, "There is no band 'thermal'; there are: blue"),
        ({"cloud_cover": 0.95}, ValueError, r"cloud_cover is 0\.95; allowed are 0 to 0\.9"),
        ({"cloud_cover": float("nan")}, ValueError, "cloud_cover is nan"),
        ({"heterogeneity": -1}, ValueError, "heterogeneity is -1"),
        ({"noise": "much"}, TypeError, "noise is 'much'"),
        ({"noise": float("inf")}, ValueError, "noise is inf"),
        ({"regions": 0}, ValueError, "regions is 0; allowed are 1 to 99"),
        ({"plots": 0}, ValueError, "plots is 0"),
        ({"clusters": 81}, ValueError, "clusters is 81; allowed are 1 to 80"),
    ],
)
def test_refusals(given: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        make_landscape(**given)  # type: ignore[arg-type]
