"""Watches a running machine for secrets in process lists and environments, from a root shell on it.

ask = lambda command: shop.on(f"sudo -n sh -c '{command}'")
watch = Watch(ask, {"password": "..."})
...                                          # what must not show them
found = watch.found()                        # {"cmdline of sleep"}
watch.show()                                 # the control: two programs that do show them
watch.end()

What it types holds no secret in a form that is looked for (base64, twice).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pairing.testing.canaries import forms

FOLDER = "/run/watch"
PATTERNS = f"{FOLDER}/patterns"
LOOP = f"""
while [ -e {PATTERNS} ]; do
  for file in $(grep -alFf {PATTERNS} /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do
    read -r name < "${{file%/*}}/comm" && echo "${{file##*/}} of $name" >> {FOLDER}/found
  done
  echo >> {FOLDER}/rounds
done
"""
SHOW = f"""
read -r secret < {PATTERNS}
sh -c "sleep 20; :" "$secret" & SECRET="$secret" sleep 20 & wait
"""
"""Shows the first pattern as argument and in the environment, for some rounds."""


@dataclass(slots=True)
class Watch:
    """`ask` runs a command in a root shell of the machine and gives what it prints."""

    ask: Callable[[str], str]
    secrets: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        found = [form for secret in self.secrets.values() for _, form in forms(secret)]
        patterns = b"\n".join(form for form in found if b"\0" not in form)
        self.ask(f"umask 077; mkdir -p {FOLDER}; : > {FOLDER}/found; : > {FOLDER}/rounds")
        self._put(PATTERNS, patterns + b"\n")
        self._put(f"{FOLDER}/loop", LOOP.encode())
        self._put(f"{FOLDER}/show", SHOW.encode())
        self.ask(f"(setsid sh {FOLDER}/loop >/dev/null 2>&1 </dev/null &)")

    def _put(self, path: str, content: bytes) -> None:
        """In short lines: a terminal takes 4096 characters at most."""
        coded = base64.b64encode(base64.b64encode(content)).decode()
        for start in range(0, len(coded), 1000):
            self.ask(f"echo {coded[start : start + 1000]} >> {path}.coded")
        self.ask(f"base64 -d {path}.coded | base64 -d > {path}.new; mv {path}.new {path}")

    @property
    def rounds(self) -> int:
        """How often it has looked at all programs."""
        return int(self.ask(f"wc -l < {FOLDER}/rounds"))

    def found(self) -> set[str]:
        """Where a secret was seen so far: `cmdline of NAME` or `environ of NAME`."""
        return set(self.ask(f"cat {FOLDER}/found").splitlines())

    def in_journal(self) -> int:
        """Lines of this start's journal with a secret in them."""
        count = "journalctl --boot --output=export --no-pager | grep -acFf"
        return int(self.ask(f"{count} {PATTERNS}; true"))

    def show(self) -> None:
        """Show a secret in each of these places, for long enough."""
        self.ask(f"sh {FOLDER}/show; head -n 1 {PATTERNS} | systemd-cat; journalctl --sync")

    def end(self) -> None:
        """Stop looking, and forget the secrets. Its last round may put a file back meanwhile."""
        self.ask(f"until rm -rf {FOLDER}; do sleep 0.1; done")
