"""Models of pixels and of chips, asked for a piece of a map at a time."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlkit._raster import RasterError
from mlkit.imagery._bands import Bands
from mlkit.imagery._statistics import BandStatistics, scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PIECE_PIXELS = 500_000
"""How many pixels a model of pixels gets at once: a forest needs about 100 bytes for each."""

LEAST_ROWS = 256


class Asked(Protocol):
    """A model with all that is needed to ask it for a piece of the map."""

    margin: int  # pixels of context that it needs around a piece
    rows: int  # height of a step, in pixels
    columns: int  # width of a piece, in pixels
    unit: int  # pieces are multiples of it, also at the edges

    def predict(self, values: NDArray[Any], full: NDArray[np.bool_] | None) -> NDArray[np.generic]:
        """Give codes, or probabilities, (height, width), of a piece read with its margin."""


class PixelModel:
    """A fitted scikit-learn estimator, which sees one pixel at a time."""

    margin = 0
    unit = 1

    def __init__(
        self, model: Any, bands: Bands, legend: dict[int, str], probability_of: int | None
    ) -> None:
        self._model, self._probability_of = model, probability_of
        self._columns, self._order = _match_bands(model, bands)
        if not hasattr(model, "classes_"):
            raise RasterError(
                f"{type(model).__name__} has no classes_: it is not fitted, or no classifier. Call "
                "its fit first; other models can be given as a function of chips."
            )
        self._classes = np.asarray(model.classes_)
        self._codes = _codes_of(self._classes, legend)
        if probability_of is not None and not hasattr(model, "predict_proba"):
            raise RasterError(
                f"{type(model).__name__} gives no probabilities (it has no predict_proba). Use "
                "one that does, for example by CalibratedClassifierCV."
            )
        if probability_of is not None and probability_of not in self._codes:
            raise RasterError(
                f"The model does not know class {probability_of} ({legend[probability_of]}); it "
                f"was fitted on {self._classes.tolist()}."
            )
        block, across = bands.block
        self.rows = -(-LEAST_ROWS // block) * block
        self.columns = max(PIECE_PIXELS // self.rows // across, 1) * across

    def predict(self, values: NDArray[Any], full: NDArray[np.bool_] | None) -> NDArray[np.generic]:
        """Ask for the pixels that hold data; the others get what means none."""
        shape = values.shape[1:]
        kind = "uint8" if self._probability_of is None else "float32"
        out = np.zeros(shape, kind)
        pixels = values.reshape(len(values), -1) if full is None else values[:, full]
        if pixels.shape[1]:
            out[... if full is None else full] = self._ask(pixels).reshape(
                shape if full is None else -1
            )
        return out

    def _ask(self, pixels: NDArray[Any]) -> NDArray[np.generic]:
        # As a table would hold them: whole numbers of few bits would overflow in indices.
        table: Any = pixels[self._order].T.astype(float)
        if self._columns is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=self._columns)
        size = len(table)
        if self._probability_of is not None:
            scores = np.asarray(self._model.predict_proba(table))
            if scores.shape != (size, len(self._classes)):
                raise RasterError(
                    f"The model gave probabilities of shape {scores.shape} for {size:,} pixels "
                    f"and {len(self._classes)} classes: one row per pixel and one column per class "
                    "are needed."
                )
            return _checked_probability(scores[:, self._codes.tolist().index(self._probability_of)])
        found = np.asarray(self._model.predict(table))
        if found.shape != (size,):
            raise RasterError(
                f"The model gave predictions of shape {found.shape} for {size:,} pixels: it must "
                "give one class per pixel."
            )
        order = self._classes.argsort()
        place = order[np.searchsorted(self._classes, found, sorter=order).clip(max=len(order) - 1)]
        strange = self._classes[place] != found
        if strange.any():
            raise RasterError(
                f"The model predicted {np.unique(found[strange])[:5].tolist()}, which it was not "
                f"fitted on: its classes_ are {self._classes.tolist()}."
            )
        codes: NDArray[np.uint8] = self._codes[place]
        return codes


class ChipModel:
    """A network or function that sees chips, (n, bands, size, size)."""

    def __init__(
        self,
        ask: Callable[[NDArray[np.float32]], NDArray[Any]],
        legend: dict[int, str],
        *,
        size: int,
        overlap: int,
        batch: int,
        statistics: BandStatistics | None,
        probability_of: int | None,
    ) -> None:
        self._ask, self._size, self._statistics = ask, size, statistics
        self._codes = np.array(list(legend), dtype=np.uint8)
        self._names = legend
        self._probability_of = probability_of
        self.margin = overlap // 2
        self.rows = size - overlap
        self.columns = batch * self.rows
        self.unit = self.rows

    def predict(self, values: NDArray[Any], full: NDArray[np.bool_] | None) -> NDArray[np.generic]:
        """Cut into chips, ask for them together, and join their cores."""
        core, margin = self.rows, self.margin
        there = np.ones(values.shape[1:], dtype=bool) if full is None else full
        chips = self._cut(scaled(values, full, self._statistics))
        found = self._read(self._ask(chips), self._cut(there[None])[:, 0])
        cores = found[:, margin : margin + core, margin : margin + core]
        joined: NDArray[np.generic] = cores.transpose(1, 0, 2).reshape(core, -1)
        return joined

    def _cut(self, image: NDArray[Any]) -> NDArray[Any]:
        chips = np.lib.stride_tricks.sliding_window_view(image, self._size, axis=2)
        return np.ascontiguousarray(chips[:, :, :: self.rows].transpose(2, 0, 1, 3))

    def _read(self, found: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[Any]:
        """Turn what the model gave into codes or probabilities, (n, size, size).

        What it gave where there are no data does not matter, and may be NaN: an index divides
        zero by zero there.
        """
        classes, (count, size, _) = len(self._codes), there.shape
        scores_shape = (count, classes, size, size)
        if found.shape == scores_shape:
            faulty = ~np.isfinite(found).all(axis=1) & there
            if faulty.any():
                raise RasterError(
                    f"The model gave scores that are NaN or infinite for {faulty.sum():,} pixels "
                    "that hold data."
                )
            if self._probability_of is None:
                codes: NDArray[np.uint8] = self._codes[found.argmax(axis=1)]
                return codes
            place = self._codes.tolist().index(self._probability_of)
            return _checked_probability(np.where(there, found[:, place], 0))
        if found.shape != there.shape or self._probability_of is not None:
            other = "" if self._probability_of is not None else f", or codes of shape {there.shape}"
            raise RasterError(
                f"The model gave an array of shape {found.shape} for {count} chips of {size} x "
                f"{size} pixels. It must give scores of shape {scores_shape}, one layer for each "
                f"class of the legend in ascending order of codes{other}."
            )
        if found.dtype.kind not in "iu":
            raise RasterError(f"The model gave codes of {found.dtype}: codes are whole numbers.")
        strange = ~np.isin(found, self._codes) & there
        if strange.any():
            raise RasterError(
                f"The model predicted the codes {np.unique(found[strange])[:5].tolist()}, which "
                f"are not in the legend: {self._names}."
            )
        return found.astype(np.uint8)


def is_network(model: object) -> bool:
    """Tell whether it is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def ask_network(model: Any, bands: int, *, softmax: bool) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Make a function of arrays from a torch module."""
    import torch

    parameter = next(iter(model.parameters()), torch.empty(0))
    kind = parameter.dtype if parameter.is_floating_point() else torch.float32

    def ask(chips: NDArray[Any]) -> NDArray[Any]:
        # channels_last is what convolutions on a processor are fastest with.
        images = torch.from_numpy(chips).to(
            parameter.device, kind, memory_format=torch.channels_last
        )
        try:
            with torch.inference_mode():
                found = model(images)
        except RuntimeError as error:
            raise RasterError(
                f"The network cannot take chips of shape {tuple(images.shape)} (chips, bands, "
                f"rows, columns); the image has {bands} bands. It says: {error}"
            ) from error
        if not isinstance(found, torch.Tensor):
            raise RasterError(f"The network gave a {type(found).__name__}: a tensor is needed.")
        if softmax and found.ndim == 4:
            found = found.float().softmax(dim=1)
        return found.cpu().float().numpy() if found.is_floating_point() else found.cpu().numpy()

    return ask


def ask_function(model: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Make sure that a function gives an array."""

    def ask(chips: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(model(chips))

    return ask


def fingerprint(model: Any) -> str | None:
    """Identify a model by its content, or None where that cannot be told."""
    if is_network(model):
        digest = hashlib.sha256(repr(model).encode())
        for name, tensor in model.state_dict().items():
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.flatten().view(dtype=_bytes_of(values)).numpy().tobytes())
        return digest.hexdigest()
    if not hasattr(model, "predict"):
        return None  # the code of a function, and what it refers to, cannot be compared
    import joblib  # type: ignore[import-untyped]

    try:
        return f"{type(model).__qualname__} {joblib.hash(model, hash_name='sha1')}"
    except Exception:  # whatever an object raises that cannot be pickled
        return None


def _bytes_of(values: Any) -> Any:
    import torch

    return torch.uint8 if values.numel() else values.dtype


def _match_bands(model: Any, bands: Bands) -> tuple[list[str] | None, list[int]]:
    """Give the columns that the model was fitted on, and the band of each."""
    order = list(range(bands.count))
    wanted = getattr(model, "n_features_in_", bands.count)
    names = getattr(model, "feature_names_in_", None)
    columns = None if names is None else [str(name) for name in names]
    if columns is not None and set(columns) <= set(bands.names):
        return columns, [bands.names.index(name) for name in columns]
    if wanted != bands.count:
        raise RasterError(
            f"The model was fitted on {wanted} columns, the image has {bands.count} bands. Give an "
            "image of the same bands in the same order (a list of rasters on one grid is put "
            "together), or fit the model on these."
        )
    if columns is not None and None not in bands.names:
        raise RasterError(
            f"The model was fitted on the columns {columns}, the bands are called "
            f"{list(bands.names)}. Rename the columns or the bands so that they match, or fit the "
            "model on an array without names (frame.to_numpy()) in the order of the bands."
        )
    return columns, order


def _codes_of(classes: NDArray[Any], legend: dict[int, str]) -> NDArray[np.uint8]:
    """Find the code of each class of a model, which it knows by code or by name."""
    if classes.ndim != 1:
        raise RasterError("The model predicts several outputs: give one that predicts classes.")
    by_name = {name: code for code, name in legend.items()}
    if classes.dtype.kind in "iuf":
        known = {value: int(value) for value in classes.tolist() if value in legend}
    else:
        known = {value: by_name[value] for value in classes.tolist() if value in by_name}
    unknown = [value for value in classes.tolist() if value not in known]
    if unknown:
        raise RasterError(
            f"The model was fitted on {unknown[:5]}, which are neither codes nor names of the "
            f"legend {legend}. Add them to the legend."
        )
    return np.array([known[value] for value in classes.tolist()], dtype=np.uint8)


def _checked_probability(values: NDArray[Any]) -> NDArray[np.float32]:
    low, high = values.min(), values.max()
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise RasterError(
            f"The model gave probabilities from {low:.4g} to {high:.4g}: they must be from 0 to 1. "
            "A function of chips must give probabilities itself; of a torch module the softmax is "
            "taken."
        )
    return values.clip(0, 1).astype(np.float32)
