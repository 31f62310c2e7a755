"""Maps: right pixel by pixel, without seams, cloud-optimised, whole or absent, resumed as begun."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

rasterio = pytest.importorskip("rasterio")

from rasterio.transform import from_origin  # noqa: E402
from sklearn.dummy import DummyClassifier  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

import mlkit.imagery._geotiff as geotiff  # noqa: E402
import mlkit.imagery._predict as module  # noqa: E402
from mlkit._raster import RasterError, open_raster, write_raster  # noqa: E402
from mlkit.imagery import BandStatistics, predict_raster  # noqa: E402

HERE = from_origin(500_000, 200_000, 10, 10)
LEGEND = {1: "developed", 4: "forest", 9: "water"}
MAP = ["map.tif", "map.tif.aux.xml", "map.tif.json"]  # what a run leaves
ROOT = Path(__file__).parents[1]


def write(path: Path, values: Any, **profile: Any) -> Path:
    bands, height, width = values.shape
    options = {"crs": "EPSG:32633", "transform": HERE, "blockxsize": 64, "blockysize": 64}
    with write_raster(
        path,
        width=width,
        height=height,
        count=bands,
        dtype=values.dtype,
        **{**options, **profile},
    ) as out:
        out.write(values)
    return path


def image_values(shape: tuple[int, int] = (600, 530)) -> Any:
    """Draw a smooth picture of four bands, so that compression and trees have something to do."""
    rng = np.random.default_rng(2)
    rough = rng.integers(1, 4000, (4, shape[0] // 10 + 1, shape[1] // 10 + 1))
    fine = rough.repeat(10, axis=1).repeat(10, axis=2)[:, : shape[0], : shape[1]]
    values = (fine + rng.integers(0, 50, fine.shape)).astype("uint16")
    values[:, 100:200, 50:90] = 0  # no data
    values[2, 300:301, 300:301] = 0  # none in one band
    return values


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scene") / "image.tif", image_values(), nodata=0)


@pytest.fixture(scope="module")
def tree() -> Any:
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 4000, (500, 4)).astype(float)
    classes = np.array([1, 4, 9])[(pixels @ [1, -1, 1, 0] // 1500).astype(int).clip(0, 2)]
    return DecisionTreeClassifier(max_depth=6, random_state=0).fit(pixels, classes)


def expected(tree: Any, values: Any) -> Any:
    full = (values != 0).all(axis=0)
    classes = np.zeros(full.shape, "uint8")
    classes[full] = tree.predict(values[:, full].T.astype(float))
    return classes


def read(path: Path) -> Any:
    with open_raster(path) as dataset:
        return dataset.read(1)


def offsets(path: Path) -> tuple[list[int], list[list[int]]]:
    """Read where a TIFF keeps its directories and the tiles of each: (directories, tiles)."""
    data = path.read_bytes()
    assert data[:4] == b"II*\x00", "little-endian classic TIFF"

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], "little")

    directories, tiles = [], []
    place = number(4, 4)
    while place:
        directories.append(place)
        count = number(place, 2)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, size = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
            if tag == 324:  # TileOffsets
                assert kind == 4
                start = entry + 8 if size == 1 else number(entry + 8, 4)
                tiles.append([number(start + 4 * one, 4) for one in range(size)])
        place = number(place + 2 + 12 * count, 4)
    return directories, tiles


def check_cog(path: Path) -> None:
    """Check what makes a GeoTIFF cloud-optimised, as GDAL's own check does."""
    with open_raster(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.profile["tiled"]
        assert dataset.profile["compress"] == "deflate"
        assert dataset.block_shapes == [(256, 256)]
        factors = dataset.overviews(1)
        shrunk = max(dataset.shape) / (factors[-1] if factors else 1)
        assert shrunk <= 512
    directories, tiles = offsets(path)
    assert directories == sorted(directories), "the image first, then smaller and smaller ones"
    assert len(tiles) == len(directories) == 1 + len(factors)
    assert max(directories) < min(map(min, tiles)), "directories before pixels"
    firsts = [min(one) for one in tiles]
    assert firsts == sorted(firsts, reverse=True), "pixels of the smallest overview first"


def test_the_map_holds_what_the_model_says_of_each_pixel(
    image: Path, tree: Any, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    found = predict_raster(tree, image, out, legend=LEGEND)
    right = expected(tree, image_values())
    np.testing.assert_array_equal(read(out), right)
    assert found.pixels == tuple((right == code).sum() for code in LEGEND)
    assert found.nodata_pixels == (right == 0).sum() == 100 * 40 + 1
    assert found.resumed == 0
    assert found.to_frame()["share"].sum() == pytest.approx(1)
    with open_raster(out) as dataset, open_raster(image) as source:
        assert dataset.crs == source.crs
        assert dataset.transform == source.transform
        assert dataset.nodata == 0
        assert dataset.colormap(1)[4] == (*found.colours[4], 255)
        legend = json.loads(dataset.tags()["legend"])
    assert [(one["code"], one["name"]) for one in legend["classes"]] == list(LEGEND.items())
    assert legend == json.loads((tmp_path / "map.tif.json").read_text("utf-8"))
    assert sorted(path.name for path in tmp_path.iterdir()) == MAP
    check_cog(out)


def test_overviews_of_classes_hold_classes_only(image: Path, tree: Any, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    predict_raster(tree, image, out, legend=LEGEND)
    with open_raster(out, overview_level=0) as dataset:
        small = dataset.read(1)
    assert small.shape == (300, 265)
    assert set(np.unique(small)) <= {0, 1, 4, 9}
    exact = read(out)
    corners = [exact[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    assert max((small == one).mean() for one in corners) == 1


def test_rio_cogeo_agrees(image: Path, tree: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("rio_cogeo") is None:
        pytest.skip("rio-cogeo is not installed; check_cog looks at the same")
    from rio_cogeo import cog_validate

    out = tmp_path / "map.tif"
    predict_raster(tree, image, out, legend=LEGEND)
    valid, errors, warnings = cog_validate(out)
    assert (valid, errors, warnings) == (True, [], [])


def test_pieces_and_steps_do_not_matter(
    image: Path, tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlkit.imagery._models as models

    monkeypatch.setattr(models, "PIECE_PIXELS", 1)
    monkeypatch.setattr(models, "LEAST_ROWS", 64)
    out = tmp_path / "map.tif"
    predict_raster(tree, image, out, legend=LEGEND)
    np.testing.assert_array_equal(read(out), expected(tree, image_values()))


def test_a_model_that_knows_classes_by_name(image: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = np.array(["water", "developed"])
    model = DummyClassifier(strategy="constant", constant="water")
    model.fit(rng.normal(size=(20, 4)), names[rng.integers(0, 2, 20)])
    found = predict_raster(model, image, tmp_path / "a.tif", legend=LEGEND)
    assert found.pixels == (0, 0, 600 * 530 - 4001)


def test_a_model_fitted_on_a_table_finds_its_bands_by_name(
    tree: Any, tmp_path: Path, image: Path
) -> None:
    values = image_values()
    pixels = values[:, ::7, ::7].reshape(4, -1).T
    frame = pd.DataFrame(pixels, columns=["B1", "B2", "B3", "B4"])
    model = DecisionTreeClassifier(random_state=0).fit(frame, tree.predict(pixels))
    plain = predict_raster(model, image, tmp_path / "plain.tif", legend=LEGEND)
    named = tmp_path / "named.tif"
    with write_raster(
        named, width=530, height=600, count=5, dtype="uint16", nodata=0, transform=HERE
    ) as out:
        out.write(np.concatenate([values[::-1], values[:1]]))
        out.descriptions = ("B4", "B3", "B2", "B1", "more")
    found = predict_raster(model, named, tmp_path / "found.tif", legend=LEGEND)
    assert found.pixels == plain.pixels
    np.testing.assert_array_equal(read(tmp_path / "found.tif"), read(tmp_path / "plain.tif"))
    with write_raster(named, width=9, height=9, count=4, dtype="uint16") as out:
        out.descriptions = ("a", "b", "c", "d")
    with pytest.raises(RasterError, match=r"columns \['B1'.*bands are called \['a'"):
        predict_raster(model, named, tmp_path / "x.tif", legend=LEGEND)


@pytest.mark.parametrize(
    ("dtype", "nodata", "far"), [("uint8", 255, 0.0021), ("float32", None, 1e-6)]
)
def test_probabilities_of_one_class(
    image: Path, tree: Any, tmp_path: Path, dtype: Any, nodata: int | None, far: float
) -> None:
    out = tmp_path / "p.tif"
    found = predict_raster(tree, image, out, legend=LEGEND, probability_of=4, dtype=dtype)
    values = image_values()
    full = (values != 0).all(axis=0)
    right = tree.predict_proba(values[:, full].T.astype(float))[:, 1]
    with open_raster(out) as dataset:
        written = dataset.read(1) * dataset.scales[0]
        assert dataset.dtypes == (dtype,)
        assert (dataset.read_masks(1)[~full] == 0).all()
        assert (dataset.read_masks(1)[full] == 255).all()
        if nodata is not None:
            assert dataset.nodata == nodata
    assert np.abs(written[full] - right).max() <= far
    assert found.mean_probability == pytest.approx(right.mean(), abs=far)
    assert found.legend == {4: "forest"}
    assert found.pixels == (full.sum(),)
    check_cog(out)


def test_nodata_takes_a_code_that_is_free(image: Path, tmp_path: Path) -> None:
    model = DummyClassifier(strategy="constant", constant=0).fit(np.zeros((2, 4)), [0, 255])
    predict_raster(model, image, tmp_path / "a.tif", legend={0: "a", 255: "b"})
    with open_raster(tmp_path / "a.tif") as dataset:
        assert dataset.nodata == 254
        assert set(np.unique(dataset.read(1))) == {0, 254}
    with pytest.raises(ValueError, match="one must be free for nodata"):
        predict_raster(model, image, tmp_path / "b.tif", legend={i: str(i) for i in range(256)})


def test_an_image_in_two_files_and_without_reference_system(tree: Any, tmp_path: Path) -> None:
    values = image_values((70, 70))
    first = write(tmp_path / "1.tif", values[:1], crs=None)
    second = write(tmp_path / "2.tif", values[1:], crs=None, nodata=0)
    predict_raster(tree, [first, second], tmp_path / "map.tif", legend=LEGEND)
    full = (values[1:] != 0).all(axis=0)
    right = tree.predict(values.reshape(4, -1).T.astype(float)).reshape(70, 70) * full
    np.testing.assert_array_equal(read(tmp_path / "map.tif"), right)
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.crs is None


# Models of chips.


def blur(chips: Any) -> Any:
    """Sum each pixel with those up to 3 away: what looks 3 pixels far."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(chips.astype(float), (0, 0, 7, 7), mode="constant")


def by_neighbourhood(chips: Any) -> Any:
    mean = blur(chips).round(6)
    return np.stack([mean[:, 0], mean[:, 1], mean[:, 2] + mean[:, 3] / 2], axis=1)


@pytest.mark.parametrize(("size", "batch"), [(64, 8), (100, 3), (32, 1), (1024, 2)])
def test_chips_join_without_seams(image: Path, tmp_path: Path, size: int, batch: int) -> None:
    """The map in chips is the map of the whole, if half the overlap is as far as a model looks."""
    values = image_values()
    full = (values != 0).all(axis=0)
    whole = by_neighbourhood(np.where(full, values, 0)[None].astype("float32"))[0]
    right = np.where(full, np.array([1, 4, 9])[whole.argmax(axis=0)], 0)
    options: Any = {"legend": LEGEND, "statistics": "raw", "size": size, "batch": batch}
    predict_raster(by_neighbourhood, image, tmp_path / "a.tif", overlap=6, **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), right)
    if size < 600:  # negative control: with too little overlap there are seams
        predict_raster(by_neighbourhood, image, tmp_path / "b.tif", overlap=2, **options)
        assert (read(tmp_path / "b.tif") != right).any()


def test_chips_are_scaled_as_in_training_and_codes_are_taken(image: Path, tmp_path: Path) -> None:
    seen = []

    def model(chips: Any) -> Any:
        seen.append(chips.copy())
        return np.where(chips[:, 0] > 0, 4, 9)

    statistics = BandStatistics((2000.0, 0, 0, 0), (500.0, 1, 1, 1))
    predict_raster(
        model, image, tmp_path / "a.tif", legend=LEGEND, statistics=statistics, size=64, overlap=0
    )
    values = image_values()
    full = (values != 0).all(axis=0)
    right = np.where(full, np.where(values[0] > 2000, 4, 9), 0)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), right)
    assert seen[0].dtype == np.float32
    assert seen[0].shape == (8, 4, 64, 64)
    np.testing.assert_allclose(seen[0][0, 0], (values[0, :64, :64] - 2000.0) / 500, rtol=1e-5)


def test_what_a_function_gives_without_data_does_not_matter(image: Path, tmp_path: Path) -> None:
    def share(chips: Any) -> Any:
        with np.errstate(invalid="ignore"):  # 0 / 0 beyond the edge and where there are no data
            return chips[:, :3] / chips[:, :3].sum(axis=1, keepdims=True)

    options: Any = {"legend": LEGEND, "statistics": "raw", "probability_of": 4}
    predict_raster(share, image, tmp_path / "a.tif", dtype="float32", **options)
    values = image_values().astype("float32")
    full = (values != 0).all(axis=0)
    right = values[1, full] / values[:3, full].sum(axis=0)
    np.testing.assert_allclose(read(tmp_path / "a.tif")[full], right, rtol=1e-6)
    assert np.isnan(read(tmp_path / "a.tif")[~full]).all()


def test_a_torch_module_is_asked_in_evaluation_and_left_as_it_was(
    image: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(4, 6, 3, padding=1), torch.nn.Dropout(0.5), torch.nn.Conv2d(6, 3, 1)
    )
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    statistics = BandStatistics((2000.0,) * 4, (1000.0,) * 4)
    options: Any = {"legend": LEGEND, "statistics": statistics, "size": 128, "overlap": 32}
    predict_raster(model, image, tmp_path / "a.tif", **options)
    assert [part.training for part in model.modules()] == [True, True, True, False]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model.eval()
    values = image_values()
    full = (values != 0).all(axis=0)
    scaled = np.where(full, (values.astype("float32") - 2000) / 1000, 0)
    with torch.inference_mode():
        scores = model(torch.from_numpy(scaled)[None])[0]
    right = np.where(full, np.array([1, 4, 9])[scores.argmax(dim=0)], 0)
    assert (read(tmp_path / "a.tif") == right).mean() > 0.9999  # but for ties in the last digit
    options["probability_of"] = 9
    predict_raster(model, image, tmp_path / "p.tif", dtype="float32", **options)
    chances = scores.softmax(dim=0)[2].numpy()
    np.testing.assert_allclose(read(tmp_path / "p.tif")[full], chances[full], atol=1e-5)
    with pytest.raises(RasterError, match=r"network cannot take chips of shape \(6, 4, 128, 128\)"):
        predict_raster(torch.nn.Conv2d(3, 3, 1), image, tmp_path / "c.tif", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.tif",
        "a.tif.aux.xml",
        "a.tif.json",
        "p.tif",
        "p.tif.json",
    ]


# Refusals leave nothing.


class Odd:
    """A classifier that is not what it says."""

    classes_ = np.array([1, 4, 9])

    def __init__(self, answer: Any, chances: Any = None) -> None:
        self.predict = answer
        if chances is not None:
            self.predict_proba = chances


def refused(tmp_path: Path, message: str, *arguments: Any, **options: Any) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises((RasterError, ValueError), match=message):
        predict_raster(*arguments, **{"legend": LEGEND, **options})
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Odd(lambda x: np.ones(len(x) - 1)), {}, r"shape \(\d+,\) for [\d,]+ pixels: it must give"),
        (Odd(lambda x: np.ones((len(x), 2))), {}, "one class per pixel"),
        (Odd(lambda x: np.full(len(x), 5)), {}, r"predicted \[5\], which it was not fitted on"),
        (Odd(lambda x: np.full(len(x), np.nan)), {}, r"predicted \[nan\]"),
        (Odd(lambda x: x, lambda x: np.ones((len(x), 2))), {"probability_of": 4}, "one column per"),
        (Odd(lambda x: x, lambda x: np.full((len(x), 3), 2)), {"probability_of": 4}, "from 2 to 2"),
        (Odd(lambda x: x, lambda x: x[:, :3] * np.nan), {"probability_of": 4}, "from nan to nan"),
        (Odd(lambda x: x), {"probability_of": 4}, "no predict_proba"),
        (Ridge().fit(np.zeros((3, 4)), [1, 2, 3]), {}, "Ridge has no classes_"),
        (DecisionTreeClassifier(), {}, "has no classes_: it is not fitted"),
        (Odd(lambda x: x), {"statistics": "raw"}, "statistics are for models of chips"),
        (lambda x: x, {}, "needs the statistics that its chips were scaled with"),
        (7, {}, "model is a int"),
        (lambda x: x[:, :2], {"statistics": "raw"}, r"scores of shape \(3, 3, 256, 256\)"),
        (lambda x: x[:2, :3], {"statistics": "raw"}, r"shape .* for 3 chips"),
        (lambda x: x[:, :3] * np.nan, {"statistics": "raw"}, "NaN or infinite"),
        (
            lambda x: x[:, 0].astype(int) * 0 + 3,
            {"statistics": "raw"},
            r"codes \[3\], which are not",
        ),
        (lambda x: x[:, 0], {"statistics": "raw"}, "codes of float32: codes are whole"),
        (lambda x: x[:, :3], {"statistics": "raw", "probability_of": 4}, "must be from 0 to 1"),
        (lambda x: x, {"statistics": BandStatistics((1.0,), (1.0,))}, "statistics are of 1 bands"),
        (lambda x: x, {"statistics": "mean"}, "statistics is 'mean'"),
        (lambda x: x, {"statistics": "raw", "overlap": 3}, "overlap is 3: give an even number"),
        (lambda x: x, {"statistics": "raw", "overlap": 256}, "less than the size of a chip, 256"),
        (lambda x: x, {"statistics": "raw", "size": 0}, "size is 0"),
        (lambda x: x, {"statistics": "raw", "batch": 0}, "batch is 0"),
        (Odd(lambda x: x), {"legend": {1: "a", 4: "b"}}, r"fitted on \[9\], which are neither"),
        (Odd(lambda x: x), {"legend": {}}, "legend is empty"),
        (Odd(lambda x: x), {"legend": {256: "a"}}, "from 0 to 255"),
        (Odd(lambda x: x), {"probability_of": 3}, "probability_of is 3, which is no code"),
        (Odd(lambda x: x), {"dtype": "float32"}, "dtype is for probabilities"),
        (Odd(lambda x: x), {"dtype": "int16"}, "dtype is 'int16'"),
        (Odd(lambda x: x), {"colours": {1: "#000000"}}, r"codes \[4, 9\] have no colour"),
        (Odd(lambda x: x), {"colours": dict.fromkeys(LEGEND, "red")}, "not written like #0072B2"),
    ],
)
def test_models_and_options_that_do_not_fit_leave_nothing(
    image: Path, tmp_path: Path, model: Any, options: dict[str, Any], message: str
) -> None:
    refused(tmp_path, message, model, image, tmp_path / "map.tif", **options)


def test_a_class_the_model_does_not_know_has_no_probability(image: Path, tmp_path: Path) -> None:
    model = DecisionTreeClassifier().fit(np.zeros((2, 4)), [1, 9])
    out = tmp_path / "p.tif"
    refused(tmp_path, "does not know class 4", model, image, out, probability_of=4)


def test_images_that_do_not_fit_leave_nothing(image: Path, tree: Any, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    few = write(tmp_path / "few.tif", image_values((70, 70))[:3])
    refused(tmp_path, "fitted on 4 columns, the image has 3 bands", tree, few, out)
    refused(tmp_path, "lie on different grids", tree, [few, image], out)
    refused(tmp_path, "does not exist", tree, tmp_path / "no.tif", out)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(image.read_bytes()[: image.stat().st_size * 2 // 3])
    refused(tmp_path, "cut off", tree, cut, out)
    empty = write(tmp_path / "empty.tif", np.zeros((4, 70, 70), "uint8"), nodata=0)
    refused(tmp_path, "No pixel of .* holds data in all bands", tree, empty, out)
    full = write(tmp_path / "four.tif", image_values((70, 70)))
    refused(tmp_path, "is the image itself", tree, full, full)
    refused(tmp_path, "is no folder", tree, full, tmp_path / "no" / "map.tif")
    refused(tmp_path, "is a folder", tree, full, tmp_path)


def test_a_refusal_keeps_the_map_that_was_there(image: Path, tree: Any, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    predict_raster(tree, image, out, legend=LEGEND)
    before = out.read_bytes()
    refused(tmp_path, "one class per pixel", Odd(lambda x: x), image, out)
    assert out.read_bytes() == before


# Broken off, and gone on with.

SLOW = """
import sys, time
sys.path.insert(0, {root!r})
import numpy as np
from sklearn.tree import DecisionTreeClassifier
from mlkit.imagery import predict_raster

class Slow(DecisionTreeClassifier):
    def predict(self, pixels):
        print("piece", flush=True)
        time.sleep({wait})
        return super().predict(pixels)

Slow.__module__ = "slow"
sys.modules["slow"] = sys.modules["__main__"]
rng = np.random.default_rng(3)
pixels = rng.integers(1, 4000, (500, 4)).astype(float)
classes = np.array([1, 4, 9])[(pixels @ [1, -1, 1, 0] // 1500).astype(int).clip(0, 2)]
model = Slow(max_depth=6, random_state={seed}).fit(pixels, classes)
found = predict_raster(model, {image!r}, {out!r}, legend={legend!r})
print("resumed", found.resumed, found.note)
"""


def slow_run(image: Path, out: Path, wait: float, seed: int = 0) -> subprocess.Popen[str]:
    code = SLOW.format(
        root=str(ROOT), image=str(image), out=str(out), legend=LEGEND, wait=wait, seed=seed
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def kill_at_piece(run: subprocess.Popen[str], piece: int) -> None:
    assert run.stdout is not None
    for _ in range(piece):
        assert run.stdout.readline() == "piece\n"
    run.send_signal(signal.SIGKILL)
    run.communicate()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    image: Path, tree: Any, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    kill_at_piece(slow_run(image, out, wait=60), 1)
    assert not out.exists()
    # Steps of 256 rows: kill in the second, then in the third, then end.
    kill_at_piece(slow_run(image, out, wait=2), 2)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".map.tif.part"]
    run = slow_run(image, out, wait=0)
    words = run.communicate()[0].split("\n")
    assert words == ["piece", "piece", "resumed 256 ", ""]
    whole = tmp_path / "whole.tif"
    predict_raster(tree, image, whole, legend=LEGEND)
    assert out.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(read(out), expected(tree, image_values()))
    names = [*MAP, *(name.replace("map", "whole") for name in MAP)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_rows_of_another_model_are_not_taken_over(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    kill_at_piece(slow_run(image, out, wait=1, seed=5), 2)
    words = slow_run(image, out, wait=0, seed=6).communicate()[0]
    assert words.count("piece") == 3
    assert "resumed 0 Rows kept from a run with another image, model or options" in words


class Interrupted:
    """A tree that is interrupted at the given call, by whatever."""

    def __init__(self, tree: Any, at: int, error: BaseException) -> None:
        self.classes_, self.n_features_in_ = tree.classes_, tree.n_features_in_
        self.calls, self._tree, self._at, self._error = 0, tree, at, error

    def predict(self, pixels: Any) -> Any:
        self.calls += 1
        if self.calls == self._at:
            raise self._error
        return self._tree.predict(pixels)


def interrupted(
    tree: Any, image: Path, out: Path, error: BaseException | None = None, **options: Any
) -> None:
    model = Interrupted(tree, 3, error or KeyboardInterrupt())
    with pytest.raises((KeyboardInterrupt, RasterError)):
        predict_raster(model, image, out, legend=LEGEND, model_id="tree", **options)
    assert not out.exists()


def test_an_interrupted_run_goes_on(image: Path, tree: Any, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    interrupted(tree, image, out)
    model = Interrupted(tree, -1, KeyboardInterrupt())
    found = predict_raster(model, image, out, legend=LEGEND, model_id="tree")
    assert (found.resumed, model.calls) == (512, 1)
    np.testing.assert_array_equal(read(out), expected(tree, image_values()))


@pytest.mark.parametrize("what", ["model", "image", "options", "unknown model"])
def test_what_differs_begins_anew(image: Path, tree: Any, tmp_path: Path, what: str) -> None:
    out = tmp_path / "map.tif"
    copy = tmp_path / "copy.tif"
    copy.write_bytes(image.read_bytes())
    interrupted(tree, copy, out)
    options: Any = {"legend": LEGEND, "model_id": "tree"}
    if what == "model":
        options["model_id"] = "another tree"
    elif what == "options":
        options["probability_of"] = 4
    elif what == "unknown model":
        options["model_id"] = None
    else:
        stat = copy.stat()
        changed = image_values()
        changed[0, 0, 0] += 1
        write(copy, changed, nodata=0)
        os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # looks the same
    found = predict_raster(tree, copy, out, **options)
    assert found.resumed == 0
    assert "were discarded" in found.note
    assert "were discarded" in repr(found)


def test_a_function_goes_on_only_if_it_is_named(image: Path, tmp_path: Path) -> None:
    calls = []

    def model(chips: Any) -> Any:
        calls.append(len(chips))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return chips[:, :3]

    options: Any = {"legend": LEGEND, "statistics": "raw", "size": 320}
    for name, resumed in ((None, 0), ("v1", 512)):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            predict_raster(model, image, tmp_path / "m.tif", model_id=name, **options)
        found = predict_raster(model, image, tmp_path / "m.tif", model_id=name, **options)
        assert found.resumed == resumed


@pytest.mark.parametrize("damage", ["torn", "flipped", "no manifest", "half a manifest"])
def test_a_damaged_part_is_not_believed(
    image: Path, tree: Any, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "map.tif"
    interrupted(tree, image, out)
    steps = tmp_path / ".map.tif.part" / "steps"
    manifest = tmp_path / ".map.tif.part" / "manifest.json"
    data = steps.read_bytes()
    if damage == "torn":
        steps.write_bytes(data[:-3])
    elif damage == "flipped":
        steps.write_bytes(data[:-3] + bytes([data[-3] ^ 255]) + data[-2:])
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:20])
    found = predict_raster(tree, image, out, legend=LEGEND, model_id="tree")
    assert found.resumed == (256 if damage in ("torn", "flipped") else 0)
    np.testing.assert_array_equal(read(out), expected(tree, image_values()))


def test_two_runs_at_once_are_refused(image: Path, tree: Any, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"

    class Meeting(Interrupted):
        def predict(self, pixels: Any) -> Any:
            with pytest.raises(RasterError, match="Another run is writing this map"):
                predict_raster(tree, image, out, legend=LEGEND)
            return super().predict(pixels)

    predict_raster(Meeting(tree, -1, KeyboardInterrupt()), image, out, legend=LEGEND)
    np.testing.assert_array_equal(read(out), expected(tree, image_values()))


# A full disk.

FULL = """
import resource, signal, sys
sys.path.insert(0, {root!r})
import numpy as np
from mlkit._raster import RasterError
from mlkit.imagery import predict_raster

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond fails, as on a full disk

def noise(chips):
    return np.random.default_rng(int(chips[0, 0, 0, 0])).normal(size=(len(chips), 3, 256, 256))

resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
options = dict(legend={legend!r}, statistics="raw", overlap=0, model_id="noise")
try:
    predict_raster(noise, {image!r}, {out!r}, **options)
except RasterError as error:
    print(error)
else:
    sys.exit("no error")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(predict_raster(noise, {image!r}, {out!r}, **options).resumed)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits file sizes by RLIMIT_FSIZE")
@pytest.mark.parametrize(("limit", "resumed"), [(50_000, "256"), (95_000, "600")])
def test_a_full_disk_leaves_no_map_and_loses_no_work(
    image: Path, tmp_path: Path, limit: int, resumed: str
) -> None:
    """Limits that end it in the steps, and in the file with overviews."""
    out = tmp_path / "map.tif"
    code = FULL.format(root=str(ROOT), limit=limit, legend=LEGEND, image=str(image), out=str(out))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    first, second = run.stdout.strip().rsplit("\n", 1)
    assert first.startswith("map.tif could not be written: ")
    assert "steps are kept in" in first
    assert second == resumed
    check_cog(out)


def test_a_file_that_does_not_read_back_is_not_given_out(
    image: Path, tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "map.tif"
    original = geotiff._in_blocks
    monkeypatch.setattr(
        geotiff, "_in_blocks", lambda steps, width: (block * 0 for block in original(steps, width))
    )
    with pytest.raises(RasterError, match=r"does not read back.*3 of 3 steps are kept"):
        predict_raster(tree, image, out, legend=LEGEND)
    assert not out.exists()
    monkeypatch.undo()
    assert predict_raster(tree, image, out, legend=LEGEND).resumed == 600


def test_what_belonged_to_the_replaced_file_goes(image: Path, tree: Any, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    (tmp_path / "map.tif.aux.xml").write_text("<PAMDataset>old</PAMDataset>")
    (tmp_path / "map.tif.ovr").write_bytes(b"old")
    predict_raster(tree, image, out, legend=LEGEND)
    assert sorted(path.name for path in tmp_path.iterdir()) == MAP
    assert "old" not in (tmp_path / "map.tif.aux.xml").read_text()


def test_names_of_classes_stand_where_gdal_looks_for_them(
    image: Path, tree: Any, tmp_path: Path
) -> None:
    """The list that gdalinfo prints as Categories: a name for each code from 0."""
    out = tmp_path / "map.tif"
    predict_raster(tree, image, out, legend={1: "wood & scrub", 4: "<built>", 9: "water"})
    band = ElementTree.parse(tmp_path / "map.tif.aux.xml").getroot()[0]  # noqa: S314 - ours
    assert band.attrib == {"band": "1"}
    names = [one.text for one in band.findall("CategoryNames/Category")]
    assert names == [None, "wood & scrub", *[None] * 2, "<built>", *[None] * 4, "water"]


def test_the_bar_is_shown_when_asked_for(
    image: Path, tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_raster(tree, image, tmp_path / "a.tif", legend=LEGEND)
    assert capsys.readouterr().err == ""  # no terminal here
    predict_raster(tree, image, tmp_path / "a.tif", legend=LEGEND, progress=False)
    assert capsys.readouterr().err == ""
    predict_raster(tree, image, tmp_path / "a.tif", legend=LEGEND, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_views(image: Path, tree: Any, tmp_path: Path) -> None:
    found = predict_raster(tree, image, tmp_path / "a.tif", legend=LEGEND)
    assert "313,999 pixels predicted, 4,001 without data" in repr(found)
    assert "<table" in found._repr_html_()
    ax = found.plot()
    assert [one.get_text() for one in ax.get_legend().get_texts()] == list(LEGEND.values())
    assert ax.get_xlabel() == "x (km)"
    plt.close(ax.figure)
    chance = predict_raster(tree, image, tmp_path / "p.tif", legend=LEGEND, probability_of=4)
    plt.close(chance.plot().figure)
    assert "mean probability" in repr(chance)
    many = {code: str(code) for code in range(1, 21)}
    colours = module.read_colours(None, list(many))
    assert len(set(colours.values())) == 20


MEMORY = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from pathlib import Path
from mlkit.imagery import predict_raster

def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) // 1024

def model(chips):
    return chips[:, :3]

predict_raster(model, {small!r}, {out!r}, legend={legend!r}, statistics="raw")
before = peak()
predict_raster(model, {large!r}, {out!r}, legend={legend!r}, statistics="raw")
print(peak() - before)
"""


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads VmHWM")
def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 4000, (4, 256, 8192)).astype("uint16")
    paths = {}
    for name, height in (("small", 512), ("large", 8192)):
        paths[name] = str(tmp_path / f"{name}.tif")
        with write_raster(
            paths[name], width=8192, height=height, count=4, dtype="uint16", transform=HERE
        ) as out:
            for top in range(0, height, 256):
                out.write(rows, window=((top, top + 256), (0, 8192)))
    code = MEMORY.format(root=str(ROOT), out=str(tmp_path / "m.tif"), legend=LEGEND, **paths)
    start = time.monotonic()
    grown = int(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert time.monotonic() > start
    assert grown < 120, "MB more for sixteen times the pixels, of 512 MB in the image"
