"""The published schemas, and the agreement of our checker with jsonschema."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.config.accounts import accounts
from pairing.config.document import Document, Node, from_plain, rebuild, walk
from pairing.config.dump import dump
from pairing.config.exposed import exposed
from pairing.config.kairos import our_placeholders, unheeded
from pairing.config.load import load, load_file
from pairing.config.machine import against, choose_disk, require_fit
from pairing.config.merge import merge, set_value
from pairing.config.problem import Mark, errors_among
from pairing.config.problem import Path as Path_
from pairing.config.redact import redact
from pairing.config.rules import encryption
from pairing.config.schema import SchemaName, check, schema
from pairing.config.template import node_values, placeholders, render
from pairing.config.validate import require_valid, validate
from pairing.facts import Disk, Facts, Nic

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/configs").glob("*.yaml"))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHLbhX8AbKZwGpuvnMzf1wW7pLKWOTpRi8MqDMkEyo1R me"
MACHINE = Facts(disks=(Disk(path="/dev/sda", size=2**34),), nics=(Nic(name="a", mac="b"),))
USER = f"""#cloud-config
users:
  - name: ann
    groups: [admin]
    ssh_authorized_keys:
      - {KEY}
"""
NEXT = USER.count("\n") + 1
"""The line after `USER`."""


@pytest.mark.parametrize("name", ["native", "kairos"])
def test_the_schema_is_valid_and_has_an_id(name: SchemaName) -> None:
    rules = schema(name)
    jsonschema.Draft202012Validator.check_schema(rules)
    assert rules["$schema"].endswith("/2020-12/schema")
    assert rules["$id"].endswith(f":{name}:{rules['version']}")


def test_every_native_key_has_its_line_of_documentation() -> None:
    def undocumented(rules: Any, path: str) -> Iterator[str]:
        for key, below in rules.get("properties", {}).items():
            if not below.get("description") and "$ref" not in below:
                yield f"{path}.{key}"
            yield from undocumented(below, f"{path}.{key}")
        if isinstance(rules.get("items"), dict):
            yield from undocumented(rules["items"], f"{path}[]")

    rules = schema("native")
    tops = [("", rules), *rules["$defs"].items()]
    assert [line for name, top in tops for line in undocumented(top, name)] == []


def agree(value: Any, name: SchemaName) -> None:
    """One difference is meant: 8.0 is no whole number here, because `08` is 8.0 in YAML."""
    document = Document(from_plain(value, Mark("c.yaml", 1, 1)))
    ours = not errors_among(check(document, name, rendered=True))
    assert ours == REFERENCE[name].is_valid(value), value


REFERENCE = {name: jsonschema.Draft202012Validator(schema(name)) for name in get_args(SchemaName)}


VALUES = [load_file(path).value for path in EXAMPLES]
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70_000),
    st.floats(0, 9, width=16).filter(lambda number: not number.is_integer()),
    st.sampled_from(["", "x", "auto", "none", "tpm2", "/dev/sda", "0644", "b64", "a_b", "é", "\n"]),
    st.just([]),
    st.just({}),
    st.just(["x", 1]),
    st.just({"name": "a", "path": "/a"}),
).map(copy.deepcopy)
KEYS = st.sampled_from(
    ["hostname", "users", "install", "k3s", "stages", "boot", "x-a", "name", "path", "mode", "zzz"]
    + ["encrypt", "permissions", "uid", "env", "args", "p2p", "relays", "expect", "mac", "commands"]
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """An example with some values replaced, keys added and keys removed."""
    value = copy.deepcopy(draw(st.sampled_from(VALUES)))
    for _ in range(draw(st.integers(1, 4))):
        places = list(_containers(value))
        place = draw(st.sampled_from(places))
        if isinstance(place, list):
            place.append(draw(ODD))
        elif place and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(place)))
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(ODD)
        else:
            place[draw(KEYS)] = draw(ODD)
    return value


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from _containers(child)


@given(mutated(), st.sampled_from(["native", "kairos"]))
def test_our_checker_agrees_with_jsonschema(value: Any, name: SchemaName) -> None:
    agree(value, name)


def everything(document: Document) -> None:
    """Every function that takes a document, in the order in which a command calls them."""
    validate(document)
    validate(document, "kairos")
    validate(document, rendered=True)
    against(document, MACHINE)
    encryption(document)
    accounts(document)
    placeholders(document)
    redact(document)
    exposed(document)
    assert all(problem.message for problem in (*our_placeholders(document), *unheeded(document)))
    for call in (
        lambda: require_valid(document),
        lambda: require_fit(document, MACHINE),
        lambda: choose_disk(document, MACHINE),
        lambda: render(document, node_values(MACHINE)),
        lambda: dump(document),
        lambda: dump(redact(document)),
        lambda: set_value(document, "users.0.name=a"),
    ):
        with contextlib.suppress(errors.KnownError):
            call()


@given(mutated())
def test_no_shape_of_a_config_breaks_anything(value: Any) -> None:
    everything(Document(from_plain(value, Mark("c.yaml", 1, 1))))


@pytest.mark.parametrize("odd", [None, True, 0, 1.5, "", "x", [], {}, [[]], [{}], {"a": None}])
def test_no_odd_value_at_any_key_breaks_anything(odd: Any) -> None:
    document = merge([load_file(path) for path in EXAMPLES])
    for place, _ in walk(document.root):
        if place:
            everything(Document(rebuild(document.root, _swap(place, odd))))


def _swap(place: Path_, odd: Any) -> Callable[[Path_, Node], Node | None]:
    return lambda path, node: from_plain(odd, node.mark) if path == place else None


def test_warnings_never_push_out_an_error() -> None:
    steps = "".join(f"    k{i}: 1\n" for i in range(200))
    found = validate(load(f"{USER}stages:\n  boot:\n  - name: x\n{steps}write_files: 1\n"))
    assert len(errors_among(found)) == 1


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path) -> None:
    document = load_file(path)
    assert errors_among(validate(document)) == []
    assert errors_among(validate(document, "kairos")) == []
    agree(document.value, "native")
    json.dumps(document.value, allow_nan=False)


def test_the_examples_are_many() -> None:
    assert {"kairos-usual", "tang", "k3s-agent", "two-disks", "minimal", "files-and-stages"} < {
        path.stem for path in EXAMPLES
    }
