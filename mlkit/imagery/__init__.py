"""Satellite images: chips for training, windowed prediction, splits that respect space.

PyTorch is imported here alone, and where it is used: the rest of the kit does without it, and so
does this room until :class:`Chips` is asked for.
"""

from typing import TYPE_CHECKING

from mlkit.imagery._blocks import FoldReport, SpatialBlocks
from mlkit.imagery._predict import PredictedRaster, predict_raster
from mlkit.imagery._scores import SegmentationCounts, SegmentationReport, segmentation_report
from mlkit.imagery._statistics import BandStatistics, band_statistics

if TYPE_CHECKING:
    from mlkit.imagery._chips import Chips

__all__ = [
    "BandStatistics",
    "Chips",
    "FoldReport",
    "PredictedRaster",
    "SegmentationCounts",
    "SegmentationReport",
    "SpatialBlocks",
    "band_statistics",
    "predict_raster",
    "segmentation_report",
]

if not TYPE_CHECKING:  # a type checker would else take any name to be here

    def __getattr__(name: str) -> object:
        """Import what needs PyTorch when it is first asked for."""
        if name != "Chips":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from mlkit.imagery._chips import Chips

        return Chips

    def __dir__() -> list[str]:
        """List it all the same: for the Tab key and the documentation."""
        return sorted({*globals(), *__all__})
