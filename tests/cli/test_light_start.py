"""`--help`, `validate` and `decode` start without the heavy things."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

HEAVY = {"libp2p", "multiaddr", "trio", "numpy", "PIL", "rich", "jsonschema", "zxingcpp"}
PROBE = """
import json, sys
from {module} import main
sys.argv = {argv!r}
try:
    main()
finally:
    print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr)
"""


def loaded(station: Any, module: str, *arguments: str) -> set[str]:
    import sys

    from pairing import process

    probe = PROBE.format(module=module, argv=["program", *arguments])
    done = process.run(
        [sys.executable, "-c", probe], seconds=50, environment=station.environment(), check=False
    )
    lines = done.stderr.decode().splitlines()
    assert done.status == 0, done.stderr.decode()
    return set(json.loads(lines[-1]))


@pytest.mark.parametrize("module", ["cli.register", "cli.fleet"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help(station: Any, module: str, option: str) -> None:
    found = loaded(station, module, option)
    assert not found & (HEAVY | {"yaml"})
    assert not (found & {"cryptography"} and option == "--help")


def test_validate(station: Any) -> None:
    found = loaded(station, "cli.fleet", "validate", str(station.config))
    assert "yaml" in found, "the probe sees what is loaded"
    assert not found & (HEAVY | {"cryptography"})


def test_decode_leaves_pictures_to_its_worker(station: Any) -> None:
    import qrcode

    stream = io.BytesIO()
    qrcode.make("hello").save(stream)
    photo = station.home / "photo.png"
    photo.write_bytes(stream.getvalue())
    found = loaded(station, "cli.fleet", "decode", "--any", str(photo))
    assert not found & (HEAVY | {"cryptography"})


def test_the_positive_control(station: Any) -> None:
    assert "libp2p" in loaded(station, "cli.fleet", "doctor")


def test_what_a_node_loads_before_its_code_is_on_the_screen() -> None:
    """On an emulated or a small processor each of these is a second in front of a dark screen."""
    import sys

    from pairing import process

    later = {"libp2p", "yaml", "PIL", "cryptography.x509", "pairing.config", "node.plan.install"}
    probe = "import json, sys, node.running; print(json.dumps(list(sys.modules)))"
    found = set(json.loads(process.run([sys.executable, "-c", probe], seconds=50).text()))
    assert "trio" in found, "the probe sees what is loaded"
    assert not found & later
