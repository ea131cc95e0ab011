"""The commands of `kairos-fleet`, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.commands import doctor as doctor_module
from cli.fleet import COMMANDS, fleet
from cli.reference import context_of
from pairing import errors, keys
from pairing.peertoken import Token, to_text
from pairing.qr import render
from pairing.transport.base import Address

Station = Any
TOP = Path(__file__).parents[2]
MACHINES, CONFIGS = TOP / "examples" / "machines", TOP / "examples" / "configs"
MACHINE = str(MACHINES / "fanless-emmc.json")


@pytest.fixture
def run(station: Station, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(station.home)

    def invoke(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(
            fleet, [str(a) for a in arguments], input=stdin, standalone_mode=False
        )

    return invoke


def a_token() -> Token:
    return Token(keys.generate().public, b"s" * 16, ipv4=Address("192.0.2.7", 4917))


def a_photo(folder: Path, *texts: str) -> Path:
    from io import BytesIO

    from PIL import Image

    pictures = [Image.open(BytesIO(render.png(render.modules(text)))) for text in texts]
    sheet = Image.new("L", (sum(p.width for p in pictures), max(p.height for p in pictures)), 255)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width
    path = folder / f"photo-{len(list(folder.iterdir()))}.png"
    sheet.save(path)
    return path


def test_every_command_is_there_and_named_as_in_the_list() -> None:

    context = context_of(fleet, "kairos-fleet")
    for name in COMMANDS:
        command = fleet.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help


def test_an_unknown_command_gets_a_suggestion(station: Station) -> None:
    said = station.fleet("valdate")
    assert said.status == 2
    assert "Did you mean validate?" in said.err


# --- validate, schema, render, plan -------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_validate_the_examples(run: Any, path: Path) -> None:
    result = run("validate", path)
    assert result.return_value == 0
    assert result.stdout.endswith("valid\n")


def test_validate_names_every_mistake_of_every_file(run: Any, station: Station) -> None:
    (station.home / "a.yaml").write_text(
        "#cloud-config\nhostnam: x\nusers: [{name: a, passwd: x}]\n"
    )
    (station.home / "b.yaml").write_text("#cloud-config\nhostname: y\nhostname: z\n")
    result = run("validate", "a.yaml", "b.yaml")
    assert result.return_value == errors.ExitCode.CONFIG
    assert "a.yaml:2:1: hostnam:" in result.stdout
    assert "b.yaml:3:1:" in result.stdout
    body = json.loads(run("validate", "--output", "json", "a.yaml", "b.yaml").stdout)
    assert not body["valid"]
    assert [p["line"] for p in body["problems"] if p["severity"] == "error"] == [2, 3]


def test_validate_against_a_machine(run: Any, station: Station) -> None:
    assert run("validate", "--machine", MACHINE, station.config).return_value == 0
    result = run("validate", "--machine", MACHINES / "without-disk.json", station.config)
    assert result.return_value == errors.ExitCode.CONFIG
    assert "No disk can be used" in result.stdout


def test_validate_merged(run: Any, station: Station) -> None:
    (station.home / "shop-17.yaml").write_text("#cloud-config\nhostname: shop-17\n")
    assert run("validate", "shop-17.yaml").return_value == errors.ExitCode.CONFIG
    assert run("validate", "--merge", station.config, "shop-17.yaml").return_value == 0


def test_validate_by_kairos_keys(run: Any, station: Station) -> None:
    (station.home / "theirs.yaml").write_text(
        "#cloud-config\nbundles:\n  - targets: [run://quay.io/x]\nusers: [{name: a, passwd: x}]\n"
    )
    assert run("validate", "theirs.yaml").return_value == errors.ExitCode.CONFIG
    assert run("validate", "--kairos", "theirs.yaml").return_value == 0


def test_validate_by_kairos_keys_says_what_would_not_be_sent(run: Any, station: Station) -> None:
    """Else it is valid here, and refused with exit 3 when the machine waits."""
    secret = (
        "#cloud-config\nusers: [{name: a, groups: [admin], passwd: $6$abcdefgh$0123456789012345}]\n"
    )
    (station.home / "theirs.yaml").write_text(secret)
    told = run("validate", "--kairos", "theirs.yaml")
    assert told.return_value == 0
    assert "users.0.passwd: warning: A password." in told.stdout
    assert "--allow-secrets" in told.stdout
    for refused in ("hostname: '{{ node.serial }}'", "install: {encrypt: {mode: tpm}}"):
        (station.home / "theirs.yaml").write_text(f"#cloud-config\n{refused}\n")
        assert run("validate", "--kairos", "theirs.yaml").return_value == errors.ExitCode.CONFIG


@pytest.mark.parametrize("more", [[], ["--kairos"]])
def test_schema_is_a_json_schema(run: Any, more: list[str]) -> None:
    import jsonschema

    schema = json.loads(run("schema", *more).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["hostname"]


def test_render_fills_in_and_hides_secrets(run: Any, station: Station) -> None:
    station.config.write_text(
        "#cloud-config\nhostname: shop-{{ node.serial }}\nusers: [{name: a, passwd: hunter2}]\n"
    )
    result = run("render", "-c", station.config, "--machine", MACHINE)
    assert "hostname: shop-FL2240817733" in result.stdout
    assert "hunter2" not in result.output
    assert "(secret)" in result.stdout


def test_plan_is_the_nodes_own(run: Any, station: Station) -> None:
    result = run("plan", "-c", station.config, "--machine", MACHINE)
    assert "hostname: shop-0815" in result.stdout
    assert "1/11 check-image" in result.stdout
    body = json.loads(run("plan", "-c", station.config, "--machine", MACHINE,
                          "--output", "json").stdout)  # fmt: skip
    assert body["disk"] == "/dev/mmcblk0"


def test_plan_of_a_machine_with_two_disks(run: Any, station: Station) -> None:
    machine = MACHINES / "nvme-server-two-disks.json"
    result = run("plan", "-c", station.config, "--machine", machine)
    assert isinstance(result.exception, errors.DiskNotChosen)
    result = run("plan", "-c", station.config, "--machine", machine, "--device", "/dev/nvme1n1")
    assert "/dev/nvme1n1" in result.stdout


@pytest.mark.parametrize("command", ["plan", "render"])
def test_what_is_missing_is_said(run: Any, command: str) -> None:
    assert isinstance(run(command).exception, errors.UsageError)


def test_a_machine_file_that_is_none(run: Any, station: Station) -> None:
    result = run("plan", "-c", station.config, "--machine", station.config)
    assert isinstance(result.exception, errors.MachineFileInvalid)


# --- decode, token ------------------------------------------------------------------------------


def test_decode_and_explain_a_token(run: Any, station: Station) -> None:
    token = a_token()
    photo = a_photo(station.home, to_text(token))
    result = run("decode", photo)
    assert result.return_value == 0
    assert result.stdout == f"{to_text(token)}\n"
    explained = run("token", "-", stdin=result.stdout)
    assert token.name in explained.stdout
    assert "192.0.2.7:4917" in explained.stdout
    assert to_text(token)[10:30] not in explained.output, "the secret is not shown"
    body = json.loads(run("token", "--output", "json", to_text(token)).stdout)
    assert body["addresses"] == ["192.0.2.7:4917"]


def test_a_terminal_does_not_show_a_token(station: Station) -> None:
    import os
    import pty
    import subprocess
    import sys

    token = a_token()
    photo = a_photo(station.home, to_text(token))
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "cli.fleet", "decode", str(photo)]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    subprocess.run(argv, stdout=theirs, timeout=50, env=environment, check=True)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert token.name in said
    assert to_text(token)[:20] not in said


def test_decode_lines_for_scripts(run: Any, station: Station) -> None:
    good, foreign = to_text(a_token()), "https://shop.example/menu"
    folder = station.home / "photos"
    folder.mkdir()
    a_photo(folder, good)
    a_photo(folder, foreign)
    a_photo(folder, good, to_text(a_token()))
    result = run("decode", "--any", "--explain", "--output", "jsonl", folder)
    assert result.return_value == 0, "with --any every text counts"
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first["tokens"] == first["texts"] == [good]
    assert isinstance(first["ms"], int)
    assert second["tokens"] == []
    assert second["texts"] == [foreign]
    assert len(third["tokens"]) == 2
    assert [(step["step"], step["read"]) for step in first["steps"]] == [("raw", 1)]
    result = run("decode", "--output", "jsonl", folder)
    assert result.return_value == errors.ExitCode.BATCH
    reasons = [json.loads(line).get("reason") for line in result.stdout.splitlines()]
    assert reasons == [None, "photo-foreign", "photo-several"]


def test_decode_standard_input_and_what_is_no_photo(run: Any, station: Station) -> None:
    token = to_text(a_token())
    photo = a_photo(station.home, token)
    assert run("decode", "-", stdin=photo.read_bytes()).stdout == f"{token}\n"
    result = run("decode", "-", stdin=token)
    assert result.return_value == errors.ExitCode.PHOTO
    assert isinstance(run("decode", "nowhere.png").exception, errors.NoSuchSource)
    assert isinstance(run("token", "EP1:NONSENSE").exception, errors.TokenInvalid)


def test_a_code_that_paints_the_terminal(run: Any, station: Station) -> None:
    photo = a_photo(station.home, "\x1b[2Jhello\u202e")
    result = run("decode", "--any", photo)
    assert result.stdout == "\\x1b[2Jhello\\u202e\n"


# --- keys, doctor, completion -------------------------------------------------------------------


def test_keys_from_founding_to_a_second_station(run: Any, station: Station) -> None:
    assert run("keys", "init").exception is None
    assert run("keys", "fleet-init").exception is None
    public = run("keys", "export", "--operator", "--keys", station.home / "north").stdout.strip()
    made = run("keys", "certify", "--name", "north", "--", public)
    certificate = station.home / "north.json"
    certificate.write_text(made.stdout)
    accepted = run("keys", "accept", certificate, "--keys", station.home / "north")
    assert "number 2" in accepted.output
    shown = json.loads(
        run("keys", "show", "--output", "json", "--keys", station.home / "north").stdout
    )
    assert shown["station"]["name"] == "north"
    fleet_key = run("keys", "export", "--fleet").stdout.strip()
    assert shown["station"]["public"] == fleet_key
    assert fleet_key in run("keys", "show").stdout


def test_keys_never_show_private_halves(run: Any, station: Station) -> None:
    run("keys", "fleet-init")
    said = run("keys", "show").output + run("keys", "show", "--output", "json").output
    for name in ("operator.pem", "escrow.pem", "fleet.pem"):
        body = (station.keys / name).read_text().splitlines()[1]
        assert body not in said


def test_a_second_recipient(run: Any) -> None:
    from pairing.protocol.wire import to_base64

    other = to_base64(keys.generate_escrow().public)
    assert "2 keys" in run("keys", "recipient", "--name", "safe", "--", other).output
    assert other in run("keys", "show").stdout
    assert isinstance(run("keys", "recipient", "rubbish").exception, errors.KeyFileInvalid)


def test_doctor_finds_nothing_missing_here(run: Any) -> None:
    result = run("doctor", "--output", "json")
    body = json.loads(result.stdout)
    assert result.return_value == (0 if body["healthy"] else errors.ExitCode.MISSING)
    levels = {finding["what"]: finding["level"] for finding in body["findings"]}
    assert levels["libp2p"] == levels["python"] == levels["photos"] == levels["records"] == "ok"


def test_doctor_finds_loose_keys_and_a_dead_relay(run: Any, station: Station) -> None:
    run("keys", "init")
    (station.keys / "escrow.pem").chmod(0o644)
    result = run("doctor", "--relay", "127.0.0.1:1", "--output", "json")
    assert result.return_value == errors.ExitCode.MISSING
    missing = {
        f["what"]: f for f in json.loads(result.stdout)["findings"] if f["level"] == "missing"
    }
    assert set(missing) == {"keys", "relay"}
    assert "chmod 600" in missing["keys"]["hint"]


def test_doctor_and_a_clock_before_this_program(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "PROGRAM_BUILT", 2**40)
    found = list(doctor_module._clock())
    assert [finding.level for finding in found] == ["missing"]


async def test_doctor_knows_a_good_relay(tmp_path: Path) -> None:
    import trio

    from pairing.testing.relays import LocalRelay

    async with LocalRelay.running(tmp_path) as relay:
        place = str(relay.address)
        found = await trio.to_thread.run_sync(lambda: list(doctor_module._relay(place)))
    assert [finding.level for finding in found] == ["ok"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Any, station: Station, shell: str) -> None:
    script = run("completion", shell).stdout
    for program in ("kairos-register", "kairos-fleet", "kairos-node"):
        assert program in script
    said = station.program(
        "cli.fleet", _KAIROS_FLEET_COMPLETE=f"{shell}_complete",
        COMP_WORDS="kairos-fleet va", COMP_CWORD="1" if shell != "fish" else "va",
    )  # fmt: skip
    assert "validate" in said.out


def test_a_group_alone_shows_its_help(station: Station) -> None:
    for group in ((), ("nodes",), ("image",)):
        said = station.fleet(*group)
        assert said.status == 2
        assert said.err.startswith("Usage: kairos-fleet")
        assert "error" not in said.err.splitlines()[0]


def test_an_image_that_cannot_be_written_is_no_bug(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from node.image import build

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "lab.raw"))

    monkeypatch.setattr(build, "build", full)
    recipe = Path(__file__).parents[2] / "examples/images/lab.yaml"
    failed = run("image", "build", str(recipe), "--no-keys", "--out", str(tmp_path)).exception
    assert isinstance(failed, errors.OutputUnwritable)
    assert "No space left" in failed.sentence


@pytest.mark.parametrize(("example", "warned"), [("kairos-code", True), ("lab", False)])
def test_an_image_with_kairos_code_is_warned_about(run: Any, example: str, warned: bool) -> None:
    recipe = Path(__file__).parents[2] / f"examples/images/{example}.yaml"
    planned = run("image", "build", str(recipe), "--no-keys", "--dry-run")
    assert planned.exit_code == 0
    assert ("whoever has a photo" in planned.stderr) is warned
    assert "whoever has a photo" not in planned.stdout


@pytest.mark.parametrize(
    ("base", "kernel"), [("suite: trixie", "cloud kernel"), ("oci: a", "the base's kernel")]
)
def test_the_plan_says_whose_kernel_it_is(run: Any, tmp_path: Path, base: str, kernel: str) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text(f"#kairos-image\nversion: 1.0.0\nopen: true\nbase: {{{base}}}\n")
    assert f", {kernel}\n" in run("image", "build", str(recipe), "--dry-run").stderr


@pytest.mark.parametrize("word", ["E612", "e612", "612", "tpm-unusable"])
def test_explain_by_number_and_name(run: Any, word: str) -> None:
    said = run("explain", word).output
    assert said.startswith("E612 ")
    assert errors.TpmUnusable().sentence in said
    assert errors.TpmUnusable.hint in said


def test_explain_searches_and_lists_all(run: Any) -> None:
    assert len(run("explain", "tpm").output.splitlines()) > 6
    lines = run("explain", "--output", "jsonl").output.splitlines()
    assert len(lines) == len(list(errors.all_errors()))
    assert json.loads(lines[0])["code"] == "E100"
    assert isinstance(run("explain", "E999").exception, errors.UsageError)
