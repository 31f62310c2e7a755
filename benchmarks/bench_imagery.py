"""Measure chips beside raw rasterio, a U-Net in two layouts, and a large map's memory.

Run it from the checkout: python benchmarks/bench_imagery.py

Reading takes turns between the ways, and the best of several rounds counts, so that a busy
machine harms all alike. The raster is made in a temporary folder and removed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from rasterio.windows import Window

from mlkit._raster import write_raster
from mlkit.imagery import BandStatistics, Chips, predict_raster

MOST_TIMES_RAW = 1.5
LEAST_GAIN = 1.3
SIZE = 256


def make_scene(path: Path, side: int, **profile: Any) -> Path:
    """Write four bands of noise over fields, like those of a satellite: deflate gains a third."""
    rng = np.random.default_rng(0)
    with write_raster(
        path,
        width=side,
        height=side,
        count=4,
        dtype="uint16",
        crs="EPSG:32633",
        transform=from_origin(500_000, 5_000_000, 10, 10),
        nodata=0,
        **profile,
    ) as out:
        for top in range(0, side, SIZE):
            height = min(SIZE, side - top)
            fields = rng.integers(300, 4000, (4, height // 32 + 1, side // 32 + 1))
            rows = fields.repeat(32, axis=1).repeat(32, axis=2)[:, :height, :side]
            noise = rng.integers(0, 200, rows.shape)
            out.write((rows + noise).astype("uint16"), window=((top, top + height), (0, side)))
    return path


def best(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Give the best time of each way, taken in turns."""
    found = dict.fromkeys(ways, np.inf)
    for _ in range(rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            found[name] = min(found[name], time.perf_counter() - start)
    return found


def measure_chips(folder: Path, side: int, rounds: int) -> float:
    """Read all chips three ways; give the ratio of ours to raw, of the kit's own files."""
    ratios = {}
    for name, profile in (("deflated", {"zlevel": 6}), ("not compressed", {"compress": "none"})):
        path = make_scene(folder / "scene.tif", side, **profile)
        chips = Chips(path, size=SIZE, statistics=BandStatistics((2000.0,) * 4, (900.0,) * 4))
        assert chips.aligned
        corners = np.random.default_rng(1).permutation(chips.corners)[:400].tolist()
        order = [chips.corners.tolist().index(corner) for corner in corners]
        with rasterio.Env(GDAL_CACHEMAX=16_000_000), rasterio.open(path) as dataset:

            def raw(dataset: Any = dataset, corners: Any = corners) -> None:
                for top, left in corners:
                    dataset.read(window=Window(left, top, SIZE, SIZE))

            def ours(chips: Chips = chips, order: Any = order) -> None:
                for index in order:
                    chips[index]

            def reopened(path: Path = path, corners: Any = corners) -> None:
                for top, left in corners:
                    with rasterio.open(path) as again:
                        again.read(window=Window(left, top, SIZE, SIZE))

            found = best({"raw": raw, "ours": ours, "reopened": reopened}, rounds)
        count = len(order)
        ratios[name] = found["ours"] / found["raw"]
        print(f"{count} chips of 4 x {SIZE} x {SIZE}, uint16, {name}, in random order, per second:")
        print(f"  rasterio, raw values        {count / found['raw']:8,.0f}")
        print(f"  Chips, masked and scaled    {count / found['ours']:8,.0f}")
        print(f"  rasterio, reopened for each {count / found['reopened']:8,.0f}")
        print(
            f"  time of Chips / raw {ratios[name]:.2f}; of reopened / raw "
            f"{found['reopened'] / found['raw']:.2f}"
        )
    return ratios["deflated"]


class UNet(torch.nn.Module):
    """A U-Net of three levels (Ronneberger et al. 2015), of the given width at the first."""

    def __init__(self, bands: int, classes: int, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.down = torch.nn.ModuleList(
            two(before, after) for before, after in zip([bands, *widths], widths, strict=False)
        )
        self.widen = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(2 * one, one, 2, stride=2) for one in widths[:2]
        )
        self.up = torch.nn.ModuleList(two(2 * one, one) for one in widths[:2])
        self.out = torch.nn.Conv2d(width, classes, 1)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """Give scores of each class, in the size of the chips."""
        fine = self.down[0](chips)
        middle = self.down[1](torch.nn.functional.max_pool2d(fine, 2))
        coarse = self.down[2](torch.nn.functional.max_pool2d(middle, 2))
        middle = self.up[1](torch.cat([self.widen[1](coarse), middle], dim=1))
        fine = self.up[0](torch.cat([self.widen[0](middle), fine], dim=1))
        return self.out(fine)


def two(before: int, after: int) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for start in (before, after):
        layers += [
            torch.nn.Conv2d(start, after, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(after),
            torch.nn.ReLU(inplace=True),
        ]
    return torch.nn.Sequential(*layers)


def measure_layouts(rounds: int, side: int = 128, batch: int = 8) -> float:
    """Run a U-Net on plain and on channels_last chips; give the gain."""
    torch.manual_seed(0)
    plain = UNet(4, 8, 8).eval()
    last = UNet(4, 8, 8).eval().to(memory_format=torch.channels_last)
    last.load_state_dict(plain.state_dict())
    chips = torch.randn(batch, 4, side, side)
    turned = chips.contiguous(memory_format=torch.channels_last)

    def run(model: UNet, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            for _ in range(10):
                scores: torch.Tensor = model(images)
        return scores

    torch.testing.assert_close(run(plain, chips), run(last, turned), atol=1e-3, rtol=1e-3)
    ways = {
        "plain": lambda: run(plain, chips),
        # What predict_raster does: the chips are turned, the weights of the caller left alone.
        "chips channels_last": lambda: run(plain, turned),
        "chips and weights channels_last": lambda: run(last, turned),
    }
    found = best(ways, rounds)
    parameters = sum(one.numel() for one in plain.parameters())
    print(
        f"U-Net of width 8 ({parameters:,} parameters), batches of {batch} x 4 x {side} x {side}:"
    )
    for name, seconds in found.items():
        gain = found["plain"] / seconds
        print(f"  {name:32} {10 * batch / seconds:6,.0f} chips per second, {gain:.2f} times plain")
    return found["plain"] / found["chips channels_last"]


def measure_map(folder: Path, side: int) -> None:
    """Map a large image in a process of its own; print its time and its peak of memory."""
    path = make_scene(folder / "large.tif", side, zlevel=1)
    out = folder / "map.tif"
    start = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, __file__, "--map", str(path), str(out)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    seconds = time.perf_counter() - start
    print(f"Map of {side:,} x {side:,} pixels from {path.stat().st_size / 1e6:,.0f} MB, deflated:")
    print(
        f"  {shown.strip()}; {seconds:.0f} s, {side**2 / 1e6 / seconds:.1f} million pixels a second"
    )


def map_in_this_process(image: str, out: str) -> None:
    def brightest(chips: Any) -> Any:
        return chips[:, :3]

    def peak() -> int:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(text.split("VmHWM:")[1].split()[0]) // 1024

    before = peak()
    legend = {1: "one", 2: "two", 3: "three"}
    predict_raster(brightest, image, out, legend=legend, statistics="raw", progress=False)
    print(f"peak of memory {peak():,} MB, {before:,} MB of it before the first chip")


def main() -> int:
    """Run all, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=6144, help="of the scene of chips, in pixels")
    parser.add_argument("--large", type=int, default=10_980, help="of the image that is mapped")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--map", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.map:
        map_in_this_process(*options.map)
        return 0
    with tempfile.TemporaryDirectory() as name:
        ratio = measure_chips(Path(name), options.side, options.rounds)
        gain = measure_layouts(options.rounds)
        measure_map(Path(name), options.large)
    held = {
        f"deflated chips within {MOST_TIMES_RAW} times raw: {ratio:.2f}": ratio <= MOST_TIMES_RAW,
        f"channels_last at least {LEAST_GAIN} times plain: {gain:.2f}": gain >= LEAST_GAIN,
    }
    for words, good in held.items():
        print(f"{'held' if good else 'MISSED'}: {words}")
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
