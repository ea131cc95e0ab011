"""Draws the pictures of the documentation from the real layout code: `python docs/pictures.py`.

`tests/docs` holds the files to what this draws.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from node import canvas, texts
from node.facts import recorded
from node.plan.install import InstallOptions, plan_install
from node.screen import Abilities, Screen, layout
from node.steps import WriteDisk
from pairing import keys, peertoken
from pairing.config.dump import dump
from pairing.config.load import load_file
from pairing.events import Event, EventType, State
from pairing.facts import facts_text
from pairing.peertoken import Token
from pairing.report import Lines, Verdict
from pairing.testing.screens import picture
from pairing.testing.vectors import FLEET, NODE, OPERATOR, SECRET
from pairing.transport.base import Address

FOLDER = Path(__file__).parent / "images"
SIZE = (80, 25)
"""Columns and rows: the smallest console there is."""
COLUMNS = 100
EXAMPLES = Path(__file__).parents[1] / "examples"
LANGUAGES = ("en", "es", "fr", "de", "pt")
_HINT = Address("192.168.20.131", 4917)
_SERIAL = "FL2240817733"  # of the fanless PC in examples/machines
_COMMON = {
    "machine": keys.fingerprint_words(NODE.public),
    "serial": _SERIAL,
    "addresses": (_HINT.host,),
}
_CLAIMED = {**_COMMON, "operator": keys.fingerprint_words(OPERATOR.public)}
SCREENS = {
    "waiting": Screen(
        state=State.WAITING,
        token=peertoken.to_text(Token(NODE.public, SECRET, _HINT)),
        **_COMMON,  # type: ignore[arg-type]
    ),
    "installing": Screen(
        state=State.INSTALLING,
        step_name=WriteDisk.name,
        number=5,
        steps=8,
        percent=56,
        **_CLAIMED,  # type: ignore[arg-type]
    ),
    "done": Screen(state=State.WRITTEN, **_CLAIMED),  # type: ignore[arg-type]
    "failed": Screen(state=State.FAILED, code="E603", **_CLAIMED),  # type: ignore[arg-type]
}


def pictures() -> Iterator[tuple[str, bytes]]:
    """Name and PNG of every picture of the node's screen."""
    for language in LANGUAGES:
        for name, screen in SCREENS.items():
            lines = layout(screen, *SIZE, Abilities(), texts.load(language))
            image = picture(canvas.frame(lines, ()), *SIZE)
            out = io.BytesIO()
            image.save(out, format="PNG", optimize=True)
            yield f"screen-{name}-{language}.png", out.getvalue()


def terminal() -> str:
    """What an operator reads, from the first line to the verdict, through the real report."""
    out = io.StringIO()
    report = Lines(out, out, COLUMNS)
    machine = recorded(EXAMPLES / "machines" / "fanless-emmc.json")
    document = load_file(EXAMPLES / "configs" / "minimal.yaml")
    token = Token(NODE.public, SECRET, _HINT)
    report.say("photo", f"photo.jpg: code {token.name}, at {_HINT}")
    report.say("connected", str(_HINT))
    report.block("node", [f"key       {keys.fingerprint(NODE.public)}", *facts_text(machine)], {})
    recipients = tuple(keys.fingerprint(key.public) for key in (OPERATOR, FLEET))
    plan = plan_install(machine, document, InstallOptions(recipients=recipients))
    report.say("released", f"the config for {plan.disk.path}, {len(dump(document))} bytes")
    for state, text in ((State.PLANNED, "\n".join(plan.text)), (State.INSTALLING, "")):
        report.event(_event(EventType.STATE, state, text=text), "", machine.serial)
    for number, step in enumerate(plan.steps, 1):
        of = f"{number}/{len(plan.steps)}"
        event = _event(EventType.STEP, State.INSTALLING, step=step.name, of=of, text=step.text)
        report.event(event, "", machine.serial)
    report.event(_event(EventType.STATE, State.WRITTEN), "", machine.serial)
    end = Verdict(source="photo.jpg", exit=0, state="written", serial=machine.serial, dry_run=True)
    report.verdict(end)
    return f"$ kairos-register --config minimal.yaml --wait written photo.jpg\n{out.getvalue()}"


def _event(kind: EventType, state: State, **said: str) -> Event:
    name = keys.fingerprint(NODE.public)
    return Event(node=name, boot="b", seq=1, up_ms=0, type=kind, state=state, dry_run=True, **said)  # type: ignore[arg-type]


def terminal_picture() -> bytes:
    """The same as a PNG."""
    text = terminal()
    rows = text.count("\n") + 1
    out = io.BytesIO()
    picture(text.replace("\n", "\r\n"), COLUMNS, rows).save(out, format="PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, data in (*pictures(), ("operator.png", terminal_picture())):
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
