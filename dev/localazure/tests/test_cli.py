"""`python -m dev.localazure` as a person or a Makefile starts it."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

ROOT = Path(__file__).parents[3]


class Process:
    """A running localazure."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "dev.localazure", *options]
        self.child = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )  # fmt: skip
        self._ready: Queue[bool] = Queue()
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def _read_errors(self) -> None:
        assert self.child.stderr
        for line in self.child.stderr:
            self.errors.append(line)
            if line.startswith("Ctrl-C ends it"):
                self._ready.put(True)
        self._ready.put(False)

    def wait_until_up(self) -> None:
        assert self._ready.get(timeout=30), "".join(self.errors)

    def finish(self, number: signal.Signals | None = None) -> int:
        if number:
            self.child.send_signal(number)
        code = self.child.wait(timeout=15)
        self._reader.join(timeout=5)
        return code

    def environment(self) -> dict[str, str]:
        """The variables of the export lines, as a shell reads them; call it after the end."""
        assert self.child.stdout
        words = (shlex.split(line) for line in self.child.stdout.read().splitlines())
        return dict(pair.split("=", 1) for export, pair in words if export == "export")


@contextmanager
def localazure(*options: str) -> Iterator[Process]:
    process = Process(*options)
    try:
        yield process
    finally:
        process.child.kill()
        process.child.wait()
        for stream in (process.child.stdout, process.child.stderr):
            if stream:
                stream.close()


def get(url: str) -> object:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_the_environment_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "azure.env"
    with localazure("--env-file", str(file), "--clock-scale", "5", "--rbac-delay", "60") as process:
        process.wait_until_up()
        written = file.read_text()
        control = next(line.split("=", 1)[1] for line in written.splitlines() if "LOCALAZURE_CONTROL" in line)
        settings = get(f"{control}/control/settings")
        assert isinstance(settings, dict)
        assert (settings["clock"]["scale"], settings["rbac"]["delay"]) == (5, 60)
        assert process.finish(number) == 0
        environment = process.environment()
    assert environment.keys() >= {"HTTPS_PROXY", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "SSL_CERT_FILE"}
    assert "".join(f"export {k}={shlex.quote(v)}\n" for k, v in environment.items()) == written
    assert not file.exists()
    assert not Path(environment["SSL_CERT_FILE"]).parent.exists()
    assert f". {file}" in "".join(process.errors)
    assert "Traceback" not in "".join(process.errors)


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option in ("--proxy-port", "--control-port"):
            with localazure(option, str(port)) as process:
                assert process.finish() == 2
            assert process.errors == [
                f"localazure cannot start: port {port} is in use; choose another one with {option}\n"
            ]


def test_a_state_that_cannot_be_read_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with localazure("--data", str(tmp_path)) as process:
        assert process.finish() == 2
    (line,) = process.errors
    assert line.startswith(f"localazure cannot start: {tmp_path / 'state.json'} cannot be read")


def test_an_environment_file_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "azure.env"
    with localazure("--env-file", str(file)) as process:
        assert process.finish() == 2
    assert process.errors == [f"localazure cannot start: {file} cannot be written: No such file or directory\n"]


def test_ports_and_data_stay_the_same_over_a_restart(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    headers = set()
    for _ in range(2):
        with localazure("--control-port", port, "--data", str(tmp_path / "data")) as process:
            process.wait_until_up()
            assert isinstance(get(f"http://127.0.0.1:{port}/control/state"), dict)
            assert process.finish(signal.SIGTERM) == 0
            headers.add(process.environment()["IDENTITY_HEADER"])
    assert len(headers) == 1


@pytest.mark.parametrize(("option", "value"), [
    ("--clock-scale", "0"), ("--rbac-delay", "-1"), ("--proxy-port", "70000"), ("--control-port", "x"),
])  # fmt: skip
def test_a_wrong_option_is_refused(option: str, value: str) -> None:
    with localazure(option, value) as process:
        assert process.finish() == 2
    assert option in "".join(process.errors)
