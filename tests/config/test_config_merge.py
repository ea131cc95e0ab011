"""Merging, --set, placeholders, and the bytes that the node receives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.config.document import Document, from_plain, walk
from pairing.config.dump import dump
from pairing.config.load import load
from pairing.config.merge import merge, set_value
from pairing.config.problem import Mark
from pairing.config.template import NODE_FIELDS, node_values, placeholders, render
from pairing.config.validate import validate
from pairing.facts import Facts, Nic

H = "#cloud-config\n"


def test_maps_merge_deep_and_lists_replace() -> None:
    base = load(H + "a: {b: 1, c: [1, 2]}\nd: x\n", "base.yaml")
    over = load(H + "a: {c: [3], e: {f: 1}}\nd: {g: 1}\n", "over.yaml")
    both = merge([base, over])
    assert both.value == {"a": {"b": 1, "c": [3], "e": {"f": 1}}, "d": {"g": 1}}
    assert both.position(("a", "b")) == Mark("base.yaml", 2, 8)
    assert both.position(("a", "c", 0)) == Mark("over.yaml", 2, 9)
    assert both.key_position(("d",)) == Mark("over.yaml", 3, 1)
    assert base.value == {"a": {"b": 1, "c": [1, 2]}, "d": "x"}


def test_a_problem_names_the_file_it_came_from() -> None:
    both = merge([load(H + "k3s: {enabled: true}\n", "a"), load(H + "k3s: {enabled: yes}\n", "b")])
    assert any(str(problem).startswith("b:2:16: k3s.enabled:") for problem in validate(both))


KEYS = st.sampled_from(["a", "b", "c d", "é", "0", "x.y"])
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text("ab \n\t:#-'\"\\|>{}[]&*!%@`~01.", max_size=20),
    st.sampled_from(
        ["yes", "null", "0644", "1e3", "2001-01-01", "- a", "a: b", "---", "...", "é\u2028"]
    ),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), TEXTS
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=20,
)
MAPS = st.dictionaries(KEYS, TREES, max_size=5)


def document(value: dict[str, Any]) -> Document:
    return Document(from_plain(value, Mark("made", 1, 1)))


def over(below: Any, above: Any) -> Any:
    """What merging means, written the short way."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{k: over(below[k], v) if k in below else v for k, v in above.items()}}


@given(MAPS, MAPS, MAPS)
def test_merging_is_what_it_says(a: Any, b: Any, c: Any) -> None:
    docs = [document(a), document(b), document(c)]
    assert merge(docs).value == over(over(a, b), c)
    assert merge([docs[0], docs[0]]).value == a


@given(MAPS)
def test_dump_gives_back_the_same_value(value: Any) -> None:
    try:
        body = dump(document(value))
    except errors.ConfigError:
        # Only what no loader could have produced: surrogates, and keys with control characters.
        texts = [str(key) for path, _ in walk(document(value).root) for key in path[-1:]]
        texts += [n.content for _, n in walk(document(value).root) if isinstance(n.content, str)]
        assert any("\ud800" <= char <= "\udfff" for text in texts for char in text)
        return
    loaded = load(body).value
    assert repr(loaded) == repr(value)
    assert dump(load(body)) == body


def test_dump_is_for_people_too() -> None:
    text = H + (
        "users:\n  - name: a\n    groups:\n      - b\n    uid: 1000\n"
        "files:\n  - content: |\n      one\n        two\n\n      three\n"
        "empty: {}\nnone: []\nnothing: null\nmode: 420\n"
        'quoted: "yes: no"\nplain: yes\ndate: 2001-01-01\nnumber: "0644"\n'
    )
    assert dump(load(text)).decode() == text


def test_dump_refuses_what_nobody_could_load() -> None:
    big = document({"a": "x" * 600_000, "b": "y" * 600_000})
    with pytest.raises(errors.ConfigTooLarge):
        dump(big)
    with pytest.raises(errors.ConfigTooLarge):
        dump(document({"a": list(range(20_000))}))
    with pytest.raises(errors.ConfigError):
        dump(document({"a": "\udc80"}))


SETTINGS = {
    "hostname=b": ("hostname", "b"),
    "install.reboot=true": ("install", {"device": "auto", "reboot": True}),
    "install.device=/dev/sda": ("install", {"device": "/dev/sda"}),
    "users.0.name=z": ("users", [{"name": "z"}, {"name": "y"}]),
    "users.2.name=z": ("users", [{"name": "x"}, {"name": "y"}, {"name": "z"}]),
    "new.deep.key=0644": ("new", {"deep": {"key": 420}}),
    'hostname="007"': ("hostname", "007"),
    "hostname='it''s'": ("hostname", "it's"),
    "hostname=yes": ("hostname", "yes"),
    "hostname=": ("hostname", None),
    "hostname=a=b: [c] #d": ("hostname", "a=b: [c] #d"),
    "sysctl.net\\.ipv4\\.ip_forward=1": ("sysctl", {"net.ipv4.ip_forward": 1}),
}


@pytest.mark.parametrize("assignment", SETTINGS)
def test_set_one_value(assignment: str) -> None:
    base = load(H + "hostname: a\ninstall: {device: auto}\nusers: [{name: x}, {name: y}]\n")
    key, value = SETTINGS[assignment]
    changed = set_value(base, assignment).value
    assert changed[key] == value
    assert type(changed[key]) is type(value)
    assert {k: v for k, v in changed.items() if k != key} == {
        k: v for k, v in base.value.items() if k != key
    }


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("hostname", "Write it as KEY=VALUE"),
        ("=x", "Write it as KEY=VALUE"),
        ("a..b=x", "Write it as KEY=VALUE"),
        ("users.5.name=x", "users is a list of 2: use a number up to 2."),
        ("users.x=1", "users is a list of 2"),
        ("hostname.a=1", "hostname is not a map, so it has no `a`."),
        ('hostname="a" "', "The quotes of this value do not match."),
        (".".join("a" * 40) + "=1", "More than 32 levels."),
    ],
)
def test_a_setting_that_cannot_be(assignment: str, says: str) -> None:
    base = load(H + "hostname: a\nusers: [{name: x}, {name: y}]\n")
    with pytest.raises(errors.ConfigError, match="--set") as caught:
        set_value(base, assignment)
    assert says in caught.value.detail


# --- placeholders -------------------------------------------------------------------------------

FACTS = Facts(
    serial="S1",
    arch="x86_64",
    nics=(
        Nic(name="a", mac="00:00:00:00:00:01"),
        Nic(name="b", mac="00:00:00:00:00:02", link=True),
    ),
)


def test_facts_and_values_are_filled_in() -> None:
    text = (
        H
        + "a: 'x-{{ node.serial }}-{{values.shop}}'\n"
        + "b: ['{{ node.mac }}']\nc: \"{{ '{{' }} .X }}\"\n"
    )
    done = render(load(text, "c.yaml"), node_values(FACTS), {"shop": "17"})
    assert done.value == {"a": "x-S1-17", "b": ["00:00:00:00:00:02"], "c": "{{ .X }}"}
    assert done.position(("a",)) == Mark("c.yaml", 2, 4)


def test_two_braces_that_were_meant_are_text_afterwards() -> None:
    text = (
        H
        + "users: [{name: a, passwd: b}]\n"
        + "write_files: [{path: /a, content: \"{{ '{{' }} .X }}\"}]\n"
    )
    done = load(dump(render(load(text), {})))
    assert not [p for p in validate(done, rendered=True) if p.severity == "error"]
    assert [p for p in validate(done) if p.severity == "error"]


def test_every_missing_value_is_named_with_its_place() -> None:
    text = H + "a: '{{ values.shop }} {{ node.uuid }}'\nb:\n  - '{{ values.city }}'\n"
    with pytest.raises(errors.ConfigError) as caught:
        render(load(text, "c.yaml"), node_values(FACTS), {"shop": "1"})
    assert list(map(str, caught.value.problems)) == [
        "c.yaml:2:4: a: node.uuid has no value. This machine does not report it.",
        "c.yaml:4:5: b.0: values.city has no value. Give it a value.",
    ]


@given(st.text(max_size=30))
def test_a_value_never_changes_the_structure(value: str) -> None:
    base = load(H + "a: {b: '{{ values.v }}', c: 1}\n")
    try:
        done = render(base, {}, {"v": value})
    except errors.ConfigError:
        assert value == ""
        return
    assert done.value == {"a": {"b": value, "c": 1}}
    try:
        assert load(dump(done)).value == done.value
    except errors.ConfigError:
        assert any("\ud800" <= char <= "\udfff" for char in value)


def test_a_value_is_not_rendered_again() -> None:
    done = render(load(H + "a: '{{ values.x }}'\n"), {"serial": "no"}, {"x": "{{ node.serial }}"})
    assert done.value == {"a": "{{ node.serial }}"}


def test_a_serial_number_is_one_printable_line() -> None:
    base = load(H + "runcmd: ['echo {{ node.serial }}']\n")
    with pytest.raises(errors.ConfigError, match="not allowed"):
        render(base, {"serial": "a\nreboot"})


def test_what_rendering_needs() -> None:
    text = H + "a: '{{ values.b }}{{ node.serial }}{{ values.b }}'\nx-y: '{{ values.no }}'\n"
    assert placeholders(load(text)) == ("values.b", "node.serial")
    assert set(node_values(FACTS)) == set(NODE_FIELDS)
