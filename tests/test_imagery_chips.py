"""Chips: what is read, left out, scaled and refused; workers; statistics by blocks."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rasterio")
torch = pytest.importorskip("torch")

from rasterio.transform import from_origin  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from mlkit._raster import RasterError, write_raster  # noqa: E402
from mlkit.imagery import BandStatistics, Chips, band_statistics  # noqa: E402
from mlkit.imagery._bands import Bands  # noqa: E402

HERE = from_origin(500_000, 200_000, 10, 10)


def write(path: Path, values: Any, **profile: Any) -> Path:
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
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


def image_values(seed: int = 0, shape: tuple[int, int] = (150, 200)) -> Any:
    return np.random.default_rng(seed).integers(1, 4000, (3, *shape)).astype("uint16")


def label_values(shape: tuple[int, int] = (150, 200)) -> Any:
    return np.random.default_rng(9).choice([2, 5, 7], shape).astype("uint8")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "image.tif", image_values(), nodata=0)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.tif", label_values(), nodata=0)


def test_chips_are_the_parts_of_the_image_scaled_and_padded(image: Path, labels: Path) -> None:
    values, codes = image_values().astype(float), label_values()
    chips = Chips(image, labels, size=64)
    assert isinstance(chips, Dataset)
    assert len(chips) == 3 * 4
    assert chips.aligned
    assert chips.classes == (2, 5, 7)
    np.testing.assert_array_equal(chips.corners[:5], [[0, 0], [0, 64], [0, 128], [0, 192], [64, 0]])
    means, spreads = values.mean(axis=(1, 2)), values.std(axis=(1, 2))
    np.testing.assert_allclose(chips.statistics.mean, means)
    np.testing.assert_allclose(chips.statistics.standard_deviation, spreads)
    scaled = (values - means[:, None, None]) / spreads[:, None, None]
    picture, target = chips[1]
    assert picture.dtype == torch.float32
    assert target.dtype == torch.int64
    np.testing.assert_allclose(picture.numpy(), scaled[:, :64, 64:128], atol=1e-5)
    np.testing.assert_array_equal(target, np.searchsorted([2, 5, 7], codes[:64, 64:128]))
    corner, at_corner = chips[11]  # rows 128 to 149, columns 192 to 199 are in the raster
    np.testing.assert_allclose(corner.numpy()[:, :22, :8], scaled[:, 128:, 192:], atol=1e-5)
    assert (corner[:, 22:] == 0).all()
    assert (corner[:, :, 8:] == 0).all()
    assert (at_corner[22:] == -100).all()
    assert (at_corner[:, 8:] == -100).all()
    assert (at_corner[:22, :8] >= 0).all()
    assert chips.usable[11] == 22 * 8 / 64**2


def test_overlapping_chips_reach_the_far_edge_and_no_further(image: Path) -> None:
    chips = Chips(image, size=64, stride=40, statistics="raw")
    assert sorted(set(chips.corners[:, 0])) == [0, 40, 80, 120]
    assert sorted(set(chips.corners[:, 1])) == [0, 40, 80, 120, 160]
    assert not chips.aligned
    np.testing.assert_array_equal(chips[6].numpy(), image_values()[:, 40:104, 40:104])


def test_a_chip_larger_than_the_raster(image: Path) -> None:
    chips = Chips(image, size=256, statistics="raw")
    assert len(chips) == 1
    np.testing.assert_array_equal(chips[0].numpy()[:, :150, :200], image_values())
    assert chips.usable.tolist() == [150 * 200 / 256**2]


def test_chips_without_usable_pixels_are_left_out_by_the_rule(tmp_path: Path) -> None:
    values, codes = image_values(shape=(128, 192)), label_values((128, 192))
    values[:, :64, :64] = 0  # no data in the first chip
    values[1, :64, 64:96] = 0  # in half of the second, one band is missing
    codes[64:, :64] = 0  # no label in the fourth
    codes[64:, 64:128] = 0
    codes[64, 64] = 2  # one label in the fifth
    image = write(tmp_path / "a.tif", values, nodata=0)
    labels = write(tmp_path / "b.tif", codes, nodata=0)
    chips = Chips(image, labels, size=64, statistics="raw")
    assert chips.corners.tolist() == [[0, 64], [0, 128], [64, 64], [64, 128]]
    np.testing.assert_allclose(chips.usable, [0.5, 1, 1 / 4096, 1])
    assert len(Chips(image, labels, size=64, min_usable=0.5)) == 3
    assert len(Chips(image, labels, size=64, min_usable=0.51)) == 2
    assert len(Chips(image, size=64)) == 5
    picture, target = chips[0]
    assert (picture[:, :, :32] == 0).all()  # also in the bands that hold a value
    assert (target[:, :32] == -100).all()
    assert (target[:, 32:] >= 0).all()
    assert (chips[2][1] >= 0).sum() == 1


def test_a_padded_chip_keeps_its_own_gaps(tmp_path: Path) -> None:
    values = image_values()
    values[:, 130:140, 195:] = 0
    chips = Chips(write(tmp_path / "a.tif", values, nodata=0), size=64)
    labels = write(tmp_path / "b.tif", label_values())
    picture, target = Chips(tmp_path / "a.tif", labels, size=64)[11]
    assert (picture[:, 2:12, 3:] == 0).all()
    assert (target[2:12, 3:] == -100).all()
    assert (target[:2, :8] >= 0).all()
    assert chips.usable[11] == (22 * 8 - 10 * 5) / 64**2


def test_statistics_leave_nodata_and_nan_out_and_keep_their_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    values = (1e6 + rng.normal(0, 0.5, (2, 300, 200))).astype("float32")
    values[0, :100] = -9999
    values[1, 200:] = np.nan
    image = write(tmp_path / "a.tif", values, nodata=-9999)
    found = band_statistics(image)
    part = values[:, 100:200].reshape(2, -1).astype(float)
    np.testing.assert_allclose(found.mean, part.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.standard_deviation, part.std(axis=1), rtol=1e-7)
    assert found.pixels == 100 * 200
    assert "band" in repr(found)
    assert found.to_frame().shape == (2, 3)
    assert torch.isfinite(Chips(image, size=64)[0]).all()


def test_statistics_of_strips_joined_are_those_of_the_whole(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlkit.imagery._statistics as module

    whole = band_statistics(image)
    original = module.strips
    monkeypatch.setattr(module, "strips", lambda bands: original(bands, pixels=1))
    assert len(list(module.strips(Bands(image)))) == 3
    np.testing.assert_allclose(band_statistics(image).mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(
        band_statistics(image).standard_deviation, whole.standard_deviation, rtol=1e-13
    )


def test_given_statistics_and_a_constant_band(tmp_path: Path) -> None:
    values = image_values()
    values[2] = 7
    image = write(tmp_path / "a.tif", values)
    chips = Chips(image, size=64)
    assert (chips[0][2] == 0).all()
    given = Chips(image, size=64, statistics=BandStatistics((1, 2, 3), (2, 4, 0)))
    np.testing.assert_allclose(given[0][1], (values[1, :64, :64] - 2.0) / 4, rtol=1e-6)
    assert (given[0][2] == 4).all()


def test_in_memory_gives_the_same(image: Path, labels: Path, tmp_path: Path) -> None:
    files = Chips(image, labels, size=64, stride=50)
    held = Chips(image, labels, size=64, stride=50, in_memory=True)
    image.unlink()
    labels.unlink()
    write(image, image_values(), nodata=0)
    write(labels, label_values(), nodata=0)
    for one, other in zip(files, held, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_bands_of_several_rasters_are_put_together(tmp_path: Path, image: Path) -> None:
    other = write(tmp_path / "other.tif", image_values(5)[:2])
    chips = Chips([image, other], size=64, statistics="raw")
    expected = np.concatenate([image_values(), image_values(5)[:2]])[:, :64, :64]
    np.testing.assert_array_equal(chips[0].numpy(), expected)


def test_a_mask_inside_the_file_counts(tmp_path: Path) -> None:
    values = image_values()
    mask = np.zeros((150, 200), "uint8")
    mask[:64, :64] = 255
    path = tmp_path / "masked.tif"
    with write_raster(path, width=200, height=150, count=3, dtype="uint16", transform=HERE) as out:
        out.write(values)
        out.write_mask(mask)
    assert len(Chips(path, size=64)) == 1


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_of_either_kind_give_the_same(image: Path, labels: Path, start: str) -> None:
    chips = Chips(image, labels, size=64)
    here = [chips[index] for index in range(len(chips))]  # opens the files before the fork
    loader = DataLoader(chips, batch_size=3, num_workers=2, multiprocessing_context=start)
    for turn in range(2 if start == "fork" else 1):  # spawning imports torch anew
        batches = list(loader)
        assert torch.equal(
            torch.cat([one for one, _ in batches]), torch.stack([a for a, _ in here])
        )
        assert torch.equal(
            torch.cat([two for _, two in batches]), torch.stack([b for _, b in here])
        )
        assert turn == 0 or torch.equal(chips[5][0], here[5][0])  # still open in the parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_dataset_is_opened_once_in_each_process_and_not_before_fork(image: Path) -> None:
    chips = Chips(image, size=64)
    bands = chips._image
    assert bands._open is None, "opened before any chip is read"
    first = chips[0]
    mine = bands._datasets()[0]
    chips[1]
    assert bands._datasets()[0] is mine
    read, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        same = torch.equal(chips[0], first)
        own = bands._datasets()[0] is not mine
        again = bands._datasets()[0] is bands._datasets()[0]
        os.write(write_end, bytes([same, own, again]))
        os._exit(0)
    assert os.read(read, 3) == bytes([1, 1, 1])
    os.waitpid(child, 0)
    os.close(read)
    os.close(write_end)
    assert torch.equal(chips[0], first)


def test_pickles_without_open_files(image: Path) -> None:
    chips = Chips(image, size=64)
    before = chips[3]
    again = pickle.loads(pickle.dumps(chips))  # noqa: S301
    assert again._image._open is None
    assert torch.equal(again[3], before)


def test_no_file_stays_open(image: Path) -> None:
    chips = Chips(image, size=64)
    chips[0]
    del chips
    gc.collect()
    links = Path("/proc/self/fd")
    if links.is_dir():
        assert str(image) not in [str(one.readlink()) for one in links.iterdir() if one.exists()]


def test_centres_are_on_the_map(image: Path) -> None:
    chips = Chips(image, size=64)
    np.testing.assert_allclose(chips.centres[0], [500_000 + 320, 200_000 - 320])
    np.testing.assert_allclose(chips.centres[1], [500_000 + 960, 200_000 - 320])
    assert repr(chips).startswith("Chips: 12 of 3 x 64 x 64; ")


def test_the_room_does_without_torch_until_chips_are_asked_for() -> None:
    code = (
        "import sys, mlkit.imagery as room; assert 'torch' not in sys.modules; "
        "assert 'rasterio' not in sys.modules; room.Chips; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_other_grids_are_refused_with_the_command_that_helps(tmp_path: Path, image: Path) -> None:
    moved = write(
        tmp_path / "m.tif", label_values(), transform=from_origin(500_003, 200_000, 10, 10)
    )
    with pytest.raises(RasterError, match=r"(?s)different grids.*rio warp"):
        Chips(image, moved)
    small = write(tmp_path / "s.tif", image_values()[:, :100])
    with pytest.raises(RasterError, match=r"150 x 200 and 100 x 200 pixels"):
        Chips([image, small])
    with pytest.raises(RasterError, match=r"150 x 200 and 100 x 200 pixels"):
        band_statistics([image, small])


def test_labels_that_are_none_are_refused(tmp_path: Path, image: Path, labels: Path) -> None:
    with pytest.raises(RasterError, match=r"codes \[7\], which are not among the classes \(2, 5\)"):
        Chips(image, labels, classes=[5, 2])
    real = write(tmp_path / "real.tif", label_values().astype("float32"))
    with pytest.raises(RasterError, match="1 bands of float32: labels are one band of whole"):
        Chips(image, real)
    with pytest.raises(RasterError, match="3 bands of uint16"):
        Chips(image, image)
    codes = label_values().astype("int16")
    codes[3, 3] = -4
    below = write(tmp_path / "below.tif", codes)
    with pytest.raises(RasterError, match="codes from -4 to 7; labels must be from 0"):
        Chips(image, below)
    codes[codes == -4] = -9999
    assert Chips(image, write(below, codes, nodata=-9999), size=64)[0][1][3, 3] == -100


def test_files_that_cannot_be_read(tmp_path: Path, image: Path) -> None:
    with pytest.raises(RasterError, match=r"none\.tif does not exist"):
        Chips(tmp_path / "none.tif")
    with pytest.raises(RasterError, match="No raster is given"):
        Chips([])
    cut = tmp_path / "cut.tif"
    cut.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises(RasterError, match="cut off"):
        Chips(cut, size=64)


def test_nodata_everywhere(tmp_path: Path) -> None:
    empty = write(tmp_path / "e.tif", np.zeros((2, 70, 70), "uint8"), nodata=0)
    with pytest.raises(RasterError, match=r"No pixel of .* holds data"):
        Chips(empty, size=64)
    with pytest.raises(RasterError, match=r"None of 4 chips of .* holds data in all bands\. Lower"):
        Chips(empty, size=64, statistics="raw")
    with pytest.raises(RasterError, match=r"No pixel of .* holds data"):
        band_statistics(empty)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0: give a whole number, 1 or more"),
        ({"size": 6.5}, "size is 6.5"),
        ({"size": True}, "size is True"),
        ({"stride": 0}, "stride is 0"),
        ({"stride": 300}, "stride is 300, more than the size of 256"),
        ({"min_usable": 1.5}, "min_usable is 1.5"),
        ({"min_usable": float("nan")}, "min_usable is nan"),
        ({"statistics": "robust"}, "statistics is 'robust'"),
        ({"statistics": BandStatistics((1.0,), (1.0,))}, "of 1 bands, the image has 3"),
        ({"classes": [1, 2]}, "classes are given, but no labels"),
    ],
)
def test_options_that_cannot_be(image: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chips(image, **options)


@pytest.mark.parametrize("classes", [[], [1, 1], [-1], [70_000], [1.5], [[1]]])
def test_classes_that_cannot_be(image: Path, labels: Path, classes: Any) -> None:
    with pytest.raises(ValueError, match="classes are"):
        Chips(image, labels, classes=classes)


@pytest.mark.parametrize(
    ("mean", "spread"), [((1.0,), (1.0, 2.0)), ((), ()), ((np.nan,), (1.0,)), ((1.0,), (-1.0,))]
)
def test_statistics_that_cannot_be(mean: Any, spread: Any) -> None:
    with pytest.raises(ValueError, match=r"[mM]eans"):
        BandStatistics(mean, spread)
