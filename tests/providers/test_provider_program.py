"""Providers that are programs of their own, started for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from node.providers.base import Provider
from node.providers.found import found, require_programs
from node.providers.join import chosen, join
from node.providers.program import programs
from pairing import errors
from pairing.events import State
from pairing.facts import Facts
from tests.providers.conftest import Heard, document

OURS = "usr/lib/kairos-register/providers.d"
SECRET = "the-secret-of-shop-17"
CONFIG: dict[str, Any] = {
    "hostname": "shop-17",
    "providers": ["mine"],
    "k3s": {"enabled": True, "env": {"K3S_TOKEN": SECRET}},
}
RECORDS = """#!/bin/sh
cat > "$0.$1.json"
echo "$@" > "$0.$1.arguments"
env > "$0.$1.environment"
"""


def install(root: Path, name: str, script: str, folder: str = OURS) -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def recorded(program: Path, kind: str) -> str:
    return Path(f"{program}.agent.bootstrap.{kind}").read_text()


async def joined(root: Path, heard: Heard) -> State | None:
    with trio.fail_after(30):
        return await join(document(CONFIG), Facts(), heard, root=root)


async def test_a_program_is_given_the_config_and_says_when(tmp_path: Path) -> None:
    answer = 'case $1 in *status) echo \'{"state":"ready"}\';; *) echo \'{"state":""}\';; esac\n'
    path = install(tmp_path, "mine", RECORDS + answer)
    heard = Heard()
    assert await joined(tmp_path, heard) is State.READY
    assert [state for state, _ in heard.states] == [State.JOINED, State.READY]
    event = json.loads(recorded(path, "json"))
    assert event["name"] == "agent.bootstrap"
    data = json.loads(event["data"])
    assert set(data) == {"api", "config", "logfile"}
    assert SECRET in data["config"]
    for kind in ("arguments", "environment"):
        assert SECRET not in recorded(path, kind)


async def test_one_that_knows_only_kairos_events_has_joined_and_no_more(tmp_path: Path) -> None:
    """As go-pluggable's factory answers an event that a provider does not handle."""
    install(
        tmp_path, "agent-provider-mine", '#!/bin/sh\necho \'{"state":"","data":"","error":""}\''
    )
    heard = Heard()
    assert await joined(tmp_path, heard) is State.JOINED
    assert [state for state, _ in heard.states] == [State.JOINED]


async def test_what_it_says_against_joining_is_told_without_secrets(tmp_path: Path) -> None:
    said = json.dumps({"error": f"Failed setup: token {SECRET} is bad"})
    install(tmp_path, "mine", f"#!/bin/sh\necho log {SECRET} >&2\necho '{said}'\n")
    with pytest.raises(errors.JoinFailed, match="Failed setup") as caught:
        await joined(tmp_path, Heard())
    assert SECRET not in str(caught.value)
    assert "log (secret)" in str(caught.value)


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3", "#!/bin/sh\necho hello", "#!/bin/sh\n"])
async def test_one_that_does_not_answer_as_a_provider(tmp_path: Path, script: str) -> None:
    install(tmp_path, "mine", script)
    with pytest.raises(errors.ProviderBroken):
        await joined(tmp_path, Heard())


async def test_one_that_the_image_lacks(tmp_path: Path) -> None:
    with pytest.raises(errors.JoinProgramMissing, match="mine"):
        await joined(tmp_path, Heard())


def test_programs_are_found_in_both_folders(tmp_path: Path) -> None:
    install(tmp_path, "b", "")
    install(tmp_path, "agent-provider-a", "", "system/providers")
    install(tmp_path, "other", "", "system/providers")
    install(tmp_path, "not-executable", "").chmod(0o644)
    assert [one.name for one in programs(tmp_path)] == ["a", "b"]
    names = [one.name for one in found(tmp_path)]
    assert {"k3s", "k3s-agent", "a", "b"} <= set(names)


def test_what_is_named_is_chosen_and_nothing_else(tmp_path: Path) -> None:
    install(tmp_path, "mine", "")
    known: list[Provider] = found(tmp_path)
    assert [one.name for one in chosen(document(CONFIG), known)] == ["mine"]
    enabled = {key: value for key, value in CONFIG.items() if key != "providers"}
    assert [one.name for one in chosen(document(enabled), known)] == ["k3s"]


def test_a_package_brings_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by its entry point; a broken one is named."""
    package = tmp_path / "shopnet-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shopnet\nVersion: 1\n")
    line = "[kairos_register.providers]\nshopnet = {}:agent\n"
    points = package / "entry_points.txt"
    points.write_text(line.format("node.providers.k3s.provider"))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [one.name for one in found(tmp_path)].count("k3s-agent") == 2
    points.write_text(line.format("no.such.module"))
    with pytest.raises(errors.ProviderBroken, match="shopnet"):
        found(tmp_path)


def test_what_an_image_lacks_is_known_before_anything_is_written(tmp_path: Path) -> None:
    config = document({"k3s": {"enabled": True}})
    with pytest.raises(errors.JoinProgramMissing, match="k3s"):
        require_programs(config, tmp_path)
    install(tmp_path, "k3s", "", "usr/local/bin")  # its own script's place: our units start none
    with pytest.raises(errors.JoinProgramMissing, match=r"^/usr/bin/k3s:"):
        require_programs(config, tmp_path)
    install(tmp_path, "k3s", "", "usr/bin")
    with pytest.raises(errors.JoinProgramMissing, match=r"k3s\.service"):
        require_programs(config, tmp_path)  # flavour core
    install(tmp_path, "k3s.service", "", "usr/lib/systemd/system")
    require_programs(config, tmp_path)
    require_programs(document({"hostname": "a"}), tmp_path / "nothing")
    with pytest.raises(errors.JoinProgramMissing, match="mine"):
        require_programs(document(CONFIG), tmp_path)
