"""Downloads: everything that can go wrong on the way, with real servers and processes."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from mlkit.datasets import Card, DatasetError, cache_folder, dataset_card
from mlkit.datasets._cards import DataFile
from mlkit.datasets._download import downloaded_file
from tests.serve import Server, give, serve, write_registry

ROOT = Path(__file__).resolve().parents[1]
NAME = "stats-poland-ecoicop.xlsx"
CONTENT = bytes(range(256)) * 4096  # one mebibyte
SHA256 = hashlib.sha256(CONTENT).hexdigest()

SETTINGS = [
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
]

FETCH = f"""
from mlkit.datasets import dataset_card
from mlkit.datasets._download import downloaded_file
print(downloaded_file(dataset_card("ecoicop"), "{NAME}").stat().st_size)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a cache of its own to each test, and no settings of this machine."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("MLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLKIT_REGISTRY", str(tmp_path / "registry.toml"))
    register(tmp_path, "http://localhost:9/nobody-listens-here")
    return tmp_path / "cache" / "ecoicop" / NAME


@pytest.fixture
def card() -> Card:
    return dataset_card("ecoicop")


def register(folder: Path, url: str, sha256: str = SHA256) -> None:
    registry = folder / "registry.toml"
    registry.unlink(missing_ok=True)
    write_registry(registry, "ecoicop", NAME, url=url, sha256=sha256, bytes=len(CONTENT))


def start(code: str = FETCH) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def nothing_left(place: Path) -> bool:
    """Say whether the cache holds nothing but the lock."""
    return [path.name for path in place.parent.iterdir() if path.name != ".lock"] == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- as it should be --------------------------------------------------------------------------


def test_a_file_is_downloaded_once(card: Card, place: Path, tmp_path: Path) -> None:
    with serve(give(CONTENT)) as server:
        register(tmp_path, f"{server.url}/data.xlsx")
        assert downloaded_file(card, NAME) == place
        assert place.read_bytes() == CONTENT
        assert downloaded_file(card, NAME) == place
    assert server.asked == ["/data.xlsx"]
    assert sorted(path.name for path in place.parent.iterdir()) == [".lock", NAME]


def test_a_file_put_there_by_hand_needs_no_network_and_no_lock(card: Card, place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert downloaded_file(card, NAME) == place
    assert [path.name for path in place.parent.iterdir()] == [NAME]


def test_a_damaged_file_in_the_cache_is_downloaded_again(
    card: Card, place: Path, tmp_path: Path
) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1])
    with serve(give(CONTENT)) as server:
        register(tmp_path, server.url)
        assert downloaded_file(card, NAME).read_bytes() == CONTENT


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLKIT_CACHE", "~/data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "data"
    monkeypatch.delenv("MLKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "xdg" / "mlkit-official-statistics"


def test_the_card_is_the_registry_when_there_is_no_other(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLKIT_REGISTRY")
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:9")  # so that nothing leaves the machine
    with pytest.raises(DatasetError) as error:
        downloaded_file(card, NAME)
    assert "https://raw.githubusercontent.com/UNECE/ML_dataset/master/" in str(error.value)
    assert "a168028e72b94de63a9075ed26db2a6f40efe3fe834086f1085ecb68971c01c2" in str(error.value)


def test_a_registry_may_give_the_address_alone(card: Card, tmp_path: Path) -> None:
    registry = tmp_path / "registry.toml"
    registry.unlink()
    with serve(give(CONTENT)) as server:
        write_registry(registry, "ecoicop", NAME, url=server.url)
        with pytest.raises(DatasetError, match="expected 3,208,523 bytes with sha256 a168028e"):
            downloaded_file(card, NAME)


# --- faults -----------------------------------------------------------------------------------


def test_no_network(card: Card, place: Path) -> None:
    with pytest.raises(DatasetError) as error:
        downloaded_file(card, NAME)
    message = str(error.value)
    assert f"{NAME} could not be downloaded from http://localhost:9/nobody" in message
    assert "no connection; is there a network?" in message
    assert message.endswith(
        f"By hand: get {NAME} (from http://localhost:9/nobody-listens-here) on a machine that "
        f"can, check that its sha256 is {SHA256}, and put it at {place}."
    )
    assert nothing_left(place)


def test_a_wrong_file_in_the_cache_is_named_when_there_is_no_network(
    card: Card, place: Path
) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(b"another file")
    with pytest.raises(DatasetError, match="What lies there now is another file and was not used"):
        downloaded_file(card, NAME)
    assert place.read_bytes() == b"another file"


def test_no_address_is_known(card: Card, tmp_path: Path, place: Path) -> None:
    register(tmp_path, "")
    with pytest.raises(DatasetError) as error:
        downloaded_file(card, NAME)
    assert str(error.value).startswith(f"The kit knows no public address of {NAME}. By hand: get ")
    assert str(place) in str(error.value)


def test_wrong_checksum(card: Card, place: Path, tmp_path: Path) -> None:
    with serve(give(b"<html>Please log in</html>")) as server:
        register(tmp_path, server.url)
        with pytest.raises(DatasetError) as error:
            downloaded_file(card, NAME)
    assert f"What came from {server.url} is not {NAME}: 26 bytes with sha256 " in str(error.value)
    assert f"expected 1,048,576 bytes with sha256 {SHA256}" in str(error.value)
    assert str(place) in str(error.value)
    assert nothing_left(place)


def truncated(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT[:1000])


def truncated_without_length(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(CONTENT[:1000])


def refused(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (truncated, "broke off half-way"),
        (truncated_without_length, f"is not {NAME}: 1,000 bytes with sha256"),
        (refused, "the server refused (404 Client Error"),
    ],
)
def test_a_server_that_fails(
    card: Card,
    place: Path,
    tmp_path: Path,
    answer: Callable[[BaseHTTPRequestHandler], None],
    said: str,
) -> None:
    with serve(answer) as server:
        register(tmp_path, server.url)
        with pytest.raises(DatasetError) as error:
            downloaded_file(card, NAME)
    assert said in str(error.value)
    assert nothing_left(place)


def test_a_server_that_falls_silent(
    card: Card, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: BaseHTTPRequestHandler) -> None:
        time.sleep(2)

    monkeypatch.setattr("mlkit.datasets._download._PATIENCE", 0.2)
    with serve(silent) as server:
        register(tmp_path, server.url)
        with pytest.raises(DatasetError, match=r"no answer for 0\.2 seconds"):
            downloaded_file(card, NAME)
    assert nothing_left(place)


@pytest.fixture
def stalling() -> Iterator[Server]:
    """Run a server that stops half-way through its first answer, and gives the rest in full."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if len(server.asked) > 1:
            give(CONTENT)(request)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[: len(CONTENT) // 2])
        time.sleep(20)

    with serve(answer) as server:
        yield server


def test_killed_half_way(card: Card, place: Path, tmp_path: Path, stalling: Server) -> None:
    register(tmp_path, stalling.url)
    process = start()
    parts = place.parent / ".part"
    wait_until(lambda: (parts / NAME).is_file() and (parts / NAME).stat().st_size > 0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (parts / NAME).exists(), "the test killed too late"
    assert not place.exists()
    # The lock died with the process, and what it left is cleared away.
    assert downloaded_file(card, NAME).read_bytes() == CONTENT
    assert not parts.exists()


def test_two_processes_at_once(place: Path, tmp_path: Path) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(1)
        give(CONTENT)(request)

    with serve(slow) as server:
        register(tmp_path, server.url)
        processes = [start() for _ in range(3)]
        said = [process.communicate(timeout=60) for process in processes]
    assert said == [(f"{len(CONTENT)}\n", "")] * 3
    assert len(server.asked) == 1
    assert place.read_bytes() == CONTENT


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a cache that nobody but its owner may write, outside the closed folder of pytest."""
    folder = Path(tempfile.mkdtemp())
    cache = folder / "cache"
    (cache / "ecoicop").mkdir(parents=True)
    registry = Path(os.environ["MLKIT_REGISTRY"])
    shutil.copy(registry, folder / "registry.toml")
    monkeypatch.setenv("MLKIT_CACHE", str(cache))
    monkeypatch.setenv("MLKIT_REGISTRY", str(folder / "registry.toml"))
    (folder / "registry.toml").chmod(0o644)
    folder.chmod(0o755)
    yield cache
    (cache / "ecoicop").chmod(0o755)
    shutil.rmtree(folder)


FETCH_WITHOUT_RIGHTS = f"""
import os, filelock, pooch, requests
from mlkit.datasets import dataset_card
from mlkit.datasets._download import downloaded_file
card = dataset_card("ecoicop")
if os.geteuid() == 0:  # root may write everywhere
    os.setgid(65534)
    os.setuid(65534)
print(downloaded_file(card, "{NAME}").stat().st_size)
"""


def start_without_rights(cache: Path) -> subprocess.Popen[str]:
    (cache / "ecoicop").chmod(0o555)
    return start(FETCH_WITHOUT_RIGHTS)


@pytest.mark.skipif(os.name != "posix", reason="file rights of POSIX")
def test_a_read_only_cache_is_enough_when_the_file_is_there(read_only: Path) -> None:
    (read_only / "ecoicop" / NAME).write_bytes(CONTENT)
    said = start_without_rights(read_only).communicate()
    assert said == (f"{len(CONTENT)}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="file rights of POSIX")
def test_a_read_only_cache_without_the_file(read_only: Path) -> None:
    _, said = start_without_rights(read_only).communicate()
    message = said.strip().splitlines()[-1]
    assert f"The cache {read_only / 'ecoicop'} cannot be used (Permission denied)" in message
    assert f"{NAME} is not there to be read. Set the environment variable MLKIT_CACHE" in message


def test_a_cache_that_cannot_be(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot be used \(Not a directory\)"):
        downloaded_file(card, NAME)


# --- the way out ------------------------------------------------------------------------------


def test_a_proxy_is_used(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(give(CONTENT)) as proxy:
        register(tmp_path, "http://data.example.invalid/file.xlsx")
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert downloaded_file(card, NAME).read_bytes() == CONTENT
    assert proxy.asked == ["http://data.example.invalid/file.xlsx"]


def test_a_proxy_is_passed_by(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://localhost:9")
    monkeypatch.setenv("no_proxy", "localhost")
    with serve(give(CONTENT)) as server:
        register(tmp_path, server.url)
        assert downloaded_file(card, NAME).read_bytes() == CONTENT


def test_a_dead_proxy(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://localhost:9")
    register(tmp_path, "http://data.example.invalid/file.xlsx")
    with pytest.raises(DatasetError, match=r"the proxy does not answer. It is taken from the env"):
        downloaded_file(card, NAME)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for localhost, which is its own authority, with its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("authority")
    key, signed = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
        f"subjectAltName=DNS:localhost -keyout {key} -out {signed}".split(),
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + signed.read_bytes())
    return both


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_own_authority(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Path, name: str
) -> None:
    with serve(give(CONTENT), certificate) as server:
        register(tmp_path, server.url)
        with pytest.raises(DatasetError, match=r"is not trusted. .* REQUESTS_CA_BUNDLE"):
            downloaded_file(card, NAME)
        monkeypatch.setenv(name, str(certificate.with_name("certificate.pem")))
        assert downloaded_file(card, NAME).read_bytes() == CONTENT


def test_an_authority_that_is_not_there(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with serve(give(CONTENT), certificate) as server:
        register(tmp_path, server.url)
        with pytest.raises(DatasetError, match=r"could not be downloaded.*none\.pem"):
            downloaded_file(card, NAME)


# --- the registry -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[ecoicop", "Expected"),
        (f'[ecoicop."{NAME}"]\naddress = "http://localhost"', "must be a table with url"),
        (f'[ecoicop]\n"{NAME}" = 1', "must be a table with url"),
        ("ecoicop = 1", "must be a table with url"),
        (None, "No such file or directory"),
    ],
)
def test_a_faulty_registry(card: Card, tmp_path: Path, content: str | None, said: str) -> None:
    registry = tmp_path / "registry.toml"
    registry.unlink()
    if content is not None:
        registry.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match="named by the environment variable MLKIT_REGISTRY") as e:
        downloaded_file(card, NAME)
    assert str(registry) in str(e.value)
    assert said in str(e.value)
    assert str(e.value).endswith("Correct it, or unset MLKIT_REGISTRY.")


def test_a_card_says_where_its_files_are_from(card: Card) -> None:
    workbook, labels = card.files
    assert workbook.url
    assert labels.url is None
    assert f"not bundled, downloaded from <{workbook.url}>" in str(card)
    assert "no public address known" in str(dataset_card("uksic2007"))
    assert DataFile("a", 1, "b").url is None
