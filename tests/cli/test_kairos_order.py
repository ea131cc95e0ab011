"""What `kairos-register --kairos` refuses before it sends anything, each with what it accepts."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
import trio
import trio.testing

from cli.sources import Source
from cli.testing.kairosdesk import CANARY, CONFIG, SECRET, KairosDesk, beside
from pairing import errors, keys
from pairing.edgevpn import nettoken
from pairing.edgevpn.nettoken import NetworkToken
from pairing.errors import ExitCode
from pairing.peertoken import Token, to_text

Station = Any
Clock = trio.testing.MockClock


# --- what is refused ----------------------------------------------------------------------------


async def test_a_code_of_ours_is_a_usage_error(desk: KairosDesk, quick_clock: Clock) -> None:
    desk.photo("photo.png", to_text(Token(keys.generate().public, b"s" * 16)))
    code, _ = await beside(desk, desk.run())
    assert code == ExitCode.USAGE
    assert errors.NativeCode.slug in desk.said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--wait", "written"],
        ["--wait", "installed"],
        ["--approve", "ask"],
        ["--confirm-words"],
        ["--label", "a=b"],
        ["--relay", "relay.example"],
        ["--relay-ca", "x.pem"],
        ["--relay-token-file", "x"],
        ["--ek-ca", "x.pem"],
        ["--reboot", "--poweroff"],
        ["--bootstrap", "somewhere"],
    ],
)
def test_2_options_that_mean_nothing_here(desk: KairosDesk, arguments: list[str]) -> None:
    with pytest.raises(errors.UsageError) as refused:
        desk.run(*arguments)
    assert refused.value.exit_code == ExitCode.USAGE
    desk.run("--approve", "auto", "--device", "/dev/sda", "--timeout", "5")  # these do


@pytest.mark.parametrize("option", [["--bootstrap", "public"], ["--allow-secrets"]])
def test_2_options_of_kairos_without_it(station: Station, option: list[str]) -> None:
    with pytest.raises(errors.UsageError, match="belongs to --kairos"):
        station.run(*option)
    station.run()


def test_3_no_disk_is_named(desk: KairosDesk) -> None:
    desk.station.config.write_text(CONFIG.partition("install:")[0])
    with pytest.raises(errors.KairosDiskNotNamed, match="largest disk"):
        desk.run()
    assert desk.run("--device", "/dev/vda").order.payload.device == "/dev/vda"
    assert desk.run("--set", "install.device=/dev/vdb").order.payload.device == "/dev/vdb"


@pytest.mark.parametrize("arguments", [["--device", "auto"], ["--set", "install.device=auto"]])
def test_auto_only_written_out_and_with_a_warning(desk: KairosDesk, arguments: list[str]) -> None:
    run = desk.run(*arguments)
    assert run.order.payload.device == "auto"
    assert any("erases the largest one" in str(warning) for warning in run.order.warnings)
    assert not any("largest" in str(warning) for warning in desk.run().order.warnings)


def test_3_a_disk_that_kairos_does_not_take(desk: KairosDesk) -> None:
    with pytest.raises(errors.ConfigError, match="Kairos takes /dev/"):
        desk.run("--device", "sda")


def test_3_secrets_are_refused_by_place_and_never_shown(desk: KairosDesk) -> None:
    desk.station.config.write_text(SECRET)
    with pytest.raises(errors.KairosSecretsRefused) as refused:
        desk.run()
    assert refused.value.exit_code == ExitCode.CONFIG
    assert "shop.yaml:5:13: users.0.passwd: A password." in refused.value.sentence
    assert CANARY not in str(refused.value)
    config = desk.run("--allow-secrets").order.payload.config
    assert f"passwd: {CANARY}" not in config, "it leaves as a hash"
    assert "$6$" in config


def test_3_too_large_before_a_photo_is_read(desk: KairosDesk) -> None:
    big = CONFIG + f"  env: [{json.dumps('x' * (256 * 1024))}]\n"
    desk.station.config.write_text(big)
    with pytest.raises(errors.KairosConfigTooLarge):
        desk.run()
    desk.station.config.write_text(big.replace("x" * 1024 * 200, "x"))
    desk.run()


def test_3_placeholders_that_nobody_fills_in(desk: KairosDesk) -> None:
    with pytest.raises(errors.ConfigError, match="shows no hardware"):
        desk.run("--set", "hostname=till-{{ node.serial }}")
    desk.run("--set", "hostname=till-{{ trunc 4 .MachineID }}")


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ("install.encrypt=tpm2", "install.encrypt=none"),
        ("install.encrypt.unlock=approval", "install.encrypt.mode=none"),
        ("expect.serial=ABC", "x-expect.serial=ABC"),
    ],
)
def test_3_protection_that_kairos_would_silently_leave_out(
    desk: KairosDesk, asked: str, instead: str
) -> None:
    with pytest.raises(errors.ConfigError, match=r"would stay open|shows no hardware"):
        desk.run("--set", asked)
    desk.run("--set", instead)


def test_3_values_of_a_wrong_type(desk: KairosDesk) -> None:
    with pytest.raises(errors.ConfigError, match=r"k3s\.args"):
        desk.run("--set", "k3s.args=x")


async def test_a_token_that_rotates_is_warned_about(
    desk: KairosDesk, token: NetworkToken, quick_clock: Clock
) -> None:
    mesh = nettoken.fresh(secrets.token_bytes, rotate_seconds=3600)
    for one, warned in ((mesh, True), (token, False)):
        run = desk.run("--dry-run")
        run.sources = [Source("a", text=nettoken.to_full_text(one))]
        desk.err.truncate(0)
        await desk.register(run)
        assert ("long-lived token of a mesh" in desk.err.getvalue()) is warned
