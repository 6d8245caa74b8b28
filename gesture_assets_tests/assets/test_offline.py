"""A night without any network, in a home folder that does not hold anything and never will."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from gesture_assets_tests.forks import environment, gesture, in_a_process, write_world

HERE = "gesture_assets_tests.assets.test_offline"


def night_without_network(data_dir: str, home: str) -> dict[str, Any]:
    """Run a night in a process that can reach nobody; says what it asked for and what it left in its home."""
    write_world(Path(data_dir), days=1)
    asked: list[str] = []

    def forbidden(*arguments: object, **named: object) -> None:
        del named
        asked.append(repr(arguments[-1:]))
        raise OSError("there is no network")

    for owner, names in (
        (socket.socket, ("connect", "connect_ex", "sendto")),
        (socket, ("getaddrinfo", "gethostbyname", "create_connection")),
    ):
        for name in names:
            setattr(owner, name, forbidden)
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    asked.clear()
    printed, sys.stdout = sys.stdout, sys.stderr
    with pytest.raises(SystemExit) as ended:
        gesture("run")()
    sys.stdout = printed
    return {
        "exit code": ended.value.code,
        "asked": asked,
        "home": [str(path.relative_to(home)) for path in Path(home).rglob("*")],
    }


@pytest.mark.slow
def test_a_night_needs_no_network_and_writes_nothing_to_the_home_folder(tmp_path: Path) -> None:
    home, data_dir = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    names = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    found = in_a_process(HERE, "night_without_network", data_dir, home, environment=environment(data_dir, **names))
    assert found == {"exit code": 0, "asked": [], "home": []}
    assert (data_dir / "gesture.duckdb").resolve().is_file()
