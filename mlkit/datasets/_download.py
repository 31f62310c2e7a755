"""The one door to the network: files come whole, checked and once, or with a clear word why not."""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

from mlkit.datasets._cards import Card, DataFile, DatasetError, checksum

__all__ = ["cache_folder", "downloaded_file"]

CACHE = "MLKIT_CACHE"
REGISTRY = "MLKIT_REGISTRY"

# Seconds without a single byte, after which a server counts as gone.
_PATIENCE = 30


def cache_folder() -> Path:
    """Find the folder that keeps downloaded data.

    It is what the environment variable ``MLKIT_CACHE`` says, else the user's cache folder,
    such as ``~/.cache/mlkit-official-statistics`` on Linux. A file of a data set lies in the
    folder of the data set therein. Files that are there and whole are used as they are, so
    the folder may be filled by hand, shared, and read-only.

    Returns
    -------
    Path
        The folder. It need not exist.
    """
    if chosen := os.environ.get(CACHE):
        return Path(chosen).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("mlkit-official-statistics"))


def downloaded_file(card: Card, name: str) -> Path:
    """Give a file of a data set that the kit does not bring along; download it if need be.

    The environment variable ``MLKIT_REGISTRY`` may name a TOML file with other addresses,
    such as those of an office's mirror. Its tables are called after data set and file, and
    hold `url`, and where the content differs too `bytes` and `sha256`::

        [ecoicop."stats-poland-ecoicop.xlsx"]
        url = "https://mirror.example/stats-poland-ecoicop.xlsx"

    Parameters
    ----------
    card : Card
        The card of the data set.
    name : str
        The name of one of its files that has a `url`.

    Returns
    -------
    Path
        The file in :func:`cache_folder`. It has the checksum of the card or the registry.

    Raises
    ------
    DatasetError
        If the file is not there and cannot be had. The message says where to put it by hand.
    """
    file = _registered(card, name)
    path = cache_folder() / card.name / name
    folder = path.parent
    try:
        if _is_whole(path, file):
            return path
        said = _where_to_put_it(path, file)

        from filelock import FileLock

        folder.mkdir(parents=True, exist_ok=True)
        # The system lets go of the lock when a process dies, however it dies.
        with FileLock(folder / ".lock"):
            # Another process may have been faster.
            if not _is_whole(path, file):
                _download(file, path, said)
    except OSError as error:
        raise DatasetError(
            f"The cache {folder} cannot be used ({error.strerror or error}), and {name} is not "
            f"there to be read. Set the environment variable {CACHE} to a folder of yours, or "
            f"have {name}, with sha256 {file.sha256}, put there"
            + (f". It is published at {file.url}" if file.url else "")
            + "."
        ) from error
    return path


def _download(file: DataFile, path: Path, said: str) -> None:
    """Download beside, check, and move into place. The caller holds the lock of the folder."""
    import pooch
    import requests

    if not file.url:
        raise DatasetError(f"The kit knows no public address of {file.name}. {said}")
    parts = path.parent / ".part"
    shutil.rmtree(parts, ignore_errors=True)  # left by a process that was killed
    parts.mkdir()
    part = parts / file.name
    try:
        download = pooch.HTTPDownloader(
            chunk_size=2**16, timeout=_PATIENCE, verify=_authorities() or True
        )
        try:
            download(file.url, str(part), None)
        except OSError as error:
            # Faults of the disk have a number; requests' own have none.
            if error.errno is not None and not isinstance(error, requests.RequestException):
                raise
            if isinstance(error, requests.HTTPError) and error.response is not None:
                error.response.close()  # pooch leaves the connection open
            raise DatasetError(
                f"{file.name} could not be downloaded from {file.url}: {_reason(error)}. {said}"
            ) from error
        arrived = checksum(part)
        if arrived != file.sha256:
            raise DatasetError(
                f"What came from {file.url} is not {file.name}: {part.stat().st_size:,} bytes with "
                f"sha256 {arrived}; expected {file.bytes:,} bytes with sha256 {file.sha256}. It "
                "was thrown away. Either the source has changed the file, or something on the "
                f"way, such as a proxy's page, has answered in its place. {said}"
            )
        part.replace(path)
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def _registered(card: Card, name: str) -> DataFile:
    """Find what the card says of a file, and put what the user's registry says over it."""
    file = {file.name: file for file in card.files}[name]
    chosen = os.environ.get(REGISTRY)
    if not chosen:
        return file
    try:
        registry = tomllib.loads(Path(chosen).read_text(encoding="utf-8"))
        return replace(file, **registry.get(card.name, {}).get(name, {}))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = str(error)
    except (AttributeError, TypeError):
        fault = (
            f"[{card.name}.{name!r}] must be a table with url and, if they differ, bytes and sha256"
        )
    raise DatasetError(
        f"The registry {chosen}, named by the environment variable {REGISTRY}, cannot be used: "
        f"{fault}. Correct it, or unset {REGISTRY}."
    )


def _is_whole(path: Path, file: DataFile) -> bool:
    return path.is_file() and checksum(path) == file.sha256


def _where_to_put_it(path: Path, file: DataFile) -> str:
    there = " What lies there now is another file and was not used." if path.is_file() else ""
    origin = f" (from {file.url})" if file.url else ""
    return (
        f"By hand: get {file.name}{origin} on a machine that can, check that its sha256 is "
        f"{file.sha256}, and put it at {path}.{there}"
    )


def _authorities() -> str | None:
    """Find the user's own certificate authorities where requests does not look for them."""
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return None  # requests reads these by itself
    return os.environ.get("SSL_CERT_FILE")


def _reason(error: Exception) -> str:
    """Say in a few words why a download failed, and in the library's words what it saw."""
    import requests

    words = {
        requests.exceptions.SSLError: "the certificate of the server is not trusted. If your "
        "office has its own authority, name its file in the environment variable "
        "REQUESTS_CA_BUNDLE",
        requests.exceptions.ProxyError: "the proxy does not answer. It is taken from the "
        "environment variables HTTP_PROXY and HTTPS_PROXY",
        requests.exceptions.Timeout: f"no answer for {_PATIENCE} seconds",
        requests.exceptions.HTTPError: "the server refused",
        requests.exceptions.ChunkedEncodingError: "the connection broke off half-way",
        requests.exceptions.ConnectionError: "no connection; is there a network?",
    }
    reason = next((text for kind, text in words.items() if isinstance(error, kind)), "")
    detail = " ".join(str(error).split())
    return f"{reason} ({detail[:200]})" if reason else detail
