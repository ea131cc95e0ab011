"""What Kairos' tools keep in a ledger, read and written as they do."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.edgevpn import mesh

NOW = dt.datetime(2026, 11, 29, 21, 0, tzinfo=dt.UTC)


def kept(value: object) -> str:
    """As edgevpn's client keeps a value: base64url with padding of its JSON, as JSON text."""
    return json.dumps(base64.urlsafe_b64encode(json.dumps(value).encode()).decode())


def storage() -> dict[str, dict[str, str]]:
    return {
        "kairos": {
            "aaaa-uuid": kept({"Time": "2026-11-29T20:59:00.123456789Z"}),
            "aaaa-role": kept("control-plane"),
            "aaaa-ip": kept("10.1.0.2"),
            "bbbb-uuid": kept({"Time": "2026-11-29T20:58:00Z"}),
            "cccc-role": kept("worker"),
            "ip-control-plane": kept("10.1.0.2"),
        },
        "machines": {
            "10.1.0.2": json.dumps(
                {
                    "PeerID": "12D3A",
                    "Hostname": "till-1",
                    "OS": "linux",
                    "Arch": "amd64",
                    "Address": "10.1.0.2",
                    "Version": "v0.35.3",
                }
            )
        },
        "healthcheck": {"12D3A": json.dumps("2026-11-29T20:59:30Z")},
        "services": {"abc": json.dumps({"PeerID": "12D3S", "Name": "abc"})},
    }


def test_members_are_those_that_say_so_and_those_with_a_role() -> None:
    first, second, third = mesh.members(storage())
    assert (first.uuid, first.role, first.address) == ("aaaa", "control-plane", "10.1.0.2")
    assert first.seen == int((NOW - dt.timedelta(minutes=1)).timestamp())
    assert (second.uuid, second.role, second.seen) == ("bbbb", "", 1795985880)
    assert (third.uuid, third.role, third.seen) == ("cccc", "worker", None)
    assert mesh.members(storage(), "another") == ()


def test_machines_are_those_of_the_vpn_with_their_last_sign_of_life() -> None:
    (machine,) = mesh.machines(storage())
    assert (machine.hostname, machine.system, machine.address) == (
        "till-1",
        "linux/amd64",
        "10.1.0.2",
    )
    assert machine.seen == int((NOW - dt.timedelta(seconds=30)).timestamp())


def test_a_role_is_written_as_edgevpns_client_writes_it() -> None:
    entry = mesh.role_entry("aaaa", "worker")
    assert (entry.bucket, entry.key, entry.value) == ("kairos", "aaaa-role", kept("worker"))
    assert not mesh.holds(storage(), entry)
    assert mesh.holds({"kairos": {"aaaa-role": kept("worker")}}, entry)


@pytest.mark.parametrize("role", sorted(mesh.ROLES))
def test_every_role_is_read_as_it_was_written(role: str) -> None:
    entry = mesh.role_entry("x", role, "n")
    (member,) = mesh.members({"n": {entry.key: entry.value}}, "n")
    assert member.role == role


@pytest.mark.parametrize(
    ("uuid", "role"), [("", "worker"), ("a/b", "worker"), ("a", "boss"), ("a", "")]
)
def test_what_is_no_uuid_or_no_role_is_refused(uuid: str, role: str) -> None:
    with pytest.raises(errors.UsageError):
        mesh.role_entry(uuid, role)


@pytest.mark.parametrize("name", mesh.CONTROL_PLANES)
def test_the_kubeconfig_is_found_under_both_names(name: str) -> None:
    inside = base64.urlsafe_b64encode(b"text?>").decode().rstrip("=")
    bucket = {f"{name}-kubeconfig": kept(inside), f"ip-{name}": kept("10.1.0.9")}
    assert mesh.kubeconfig({"kairos": bucket}) == b"text?>"
    assert mesh.control_plane_address({"kairos": bucket}) == "10.1.0.9"
    assert mesh.kubeconfig(storage()) is None


@pytest.mark.parametrize("value", ["", '"x"', "5", kept(""), kept("!!"), kept(["a"])])
def test_a_kubeconfig_that_is_none_is_no_empty_success(value: str) -> None:
    with pytest.raises(errors.MeshValueBroken):
        mesh.kubeconfig({"kairos": {"master-kubeconfig": value}} if value else broken())


def broken() -> dict[str, dict[str, str]]:
    return {"kairos": {"master-kubeconfig": "{"}}


def test_a_guest_is_written_as_edgevpn_names_a_user() -> None:
    entry = mesh.guest("12D3KooWX", NOW)
    assert (entry.bucket, entry.key) == ("users", "12D3KooWX")
    said = json.loads(entry.value)
    assert said == {"PeerID": "12D3KooWX", "Timestamp": "2026-11-29 21:00:00 +0000 UTC"}
    assert mesh.offered_by(storage(), "abc") == "12D3S"
    assert mesh.offered_by(storage(), "abd") is None


texts = st.text(max_size=60) | st.builds(kept, st.recursive(st.none() | st.text(), st.lists))
buckets = st.dictionaries(
    st.sampled_from(["kairos", "machines", "healthcheck", "services"]),
    st.dictionaries(
        st.sampled_from(["a-uuid", "a-role", "a-ip", "master-kubeconfig", "ip-master", "a"]), texts
    ),
)


@given(buckets)
def test_whatever_a_stranger_wrote_reading_it_ends_in_a_value_or_the_named_error(
    found: dict[str, dict[str, str]],
) -> None:
    mesh.members(found)
    mesh.machines(found)
    mesh.control_plane_address(found)
    mesh.offered_by(found, "a")
    with contextlib.suppress(errors.MeshValueBroken):
        mesh.kubeconfig(found)
