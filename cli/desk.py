"""The operator's desk: decides about one node, keeps what must be kept, tells what happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from cli import configs, prompt
from cli.approval import Approval
from cli.configs import Fetch, Fitted
from cli.endorsement import EkMakers, Endorsed, endorsed, require_expected
from cli.inventory import Entry, Inventory, Origin
from cli.labels import Labels
from cli.records import NodeJournal, Records, now
from pairing import approval, errors, keys
from pairing.config import Document
from pairing.events import Event, EventType, State
from pairing.facts import Facts, facts_text, from_json
from pairing.peertoken import Token
from pairing.protocol.effects import NodeView
from pairing.protocol.messages import EscrowRecord, VolumeProof
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import KnownLease, Release
from pairing.report import Report
from pairing.session import Decision, Refuse

REPORT_FOR = 24 * 3600
TRUST_TEXTS = {
    "O0": "O0 (whoever has the photo may claim it)",
    "O1": "O1 (our fleet's key is in its image)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for, the same for every node."""

    document: Document
    approval: Approval
    recipients: tuple[bytes, ...]
    device: str = ""
    relays: tuple[str, ...] = ()
    reboot: bool = False
    poweroff: bool = False
    confirm_words: bool = False
    dry_run: bool = False
    origin: Origin = field(default_factory=Origin)
    """What is noted of each machine that gets the config."""
    labels: Labels = field(default_factory=dict)
    replaces: str = ""
    """The fingerprint of the machine whose place it takes."""
    ek_makers: EkMakers | None = None
    """Makers of TPMs; with any, only a machine with one of theirs gets the config."""
    fetch: Fetch = configs.fetch_github


class Rehearsed(errors.KnownError):
    """This was a dry run: nothing was released."""

    slug, exit_code = "rehearsed", errors.ExitCode.DONE


@dataclass(slots=True)
class OperatorDesk:
    """`pairing.session.Desk` for one node."""

    order: Order
    token: Token
    records: Records
    report: Report
    released: bool = False
    """A config has left this machine, in this run or in an earlier one."""
    known: KnownLease | None = None
    """The lease, from an earlier run or this one."""
    awaits_approval: bool = False
    """It has restarted and is locked until somebody approves its start."""
    hostname: str = ""
    """The one that the config gives it, once that is known."""
    facts: Facts = field(default_factory=Facts)
    """With a TPM's endorsement key only if that was proved."""
    endorsed: Endorsed = field(default_factory=Endorsed)
    state: State | None = None
    dry_run: bool = False
    """The node says that it changes nothing."""
    clock: Callable[[], float] = time.time
    machine: OperatorMachine | None = None
    """Whose view of the node is shown where nothing is left to decide."""
    _shown: NodeView | None = None
    _journal: NodeJournal | None = None
    _writing: trio.Lock = field(default_factory=trio.Lock)

    @property
    def node(self) -> str:
        """The node's fingerprint."""
        return keys.fingerprint(self.token.key)

    @property
    def _inventory(self) -> Inventory:
        return Inventory(self.records.folder)

    # --- deciding -------------------------------------------------------------------------------

    async def decide(self, view: NodeView) -> Decision:
        """Look, compare, fit the config to this machine, approve, release."""
        self.look(view)
        if self.order.confirm_words:
            await self._compare_words(view.words)
        order = self.order
        require_expected(order.document, self.endorsed, order.ek_makers)
        await trio.to_thread.run_sync(self._require_in_use)
        fitted = await self._fit(order.device)
        if order.dry_run:
            self._show_plan(fitted)
            raise Rehearsed
        if not await self._approved(fitted, view.trust):
            return Refuse(errors.PersonRefused())
        config = await trio.to_thread.run_sync(configs.resolve, fitted.document, order.fetch)
        release = self._release(fitted, config)
        await trio.to_thread.run_sync(self._enrol)
        self.released, self.hostname = True, configs.hostname(fitted.document)
        await self._write_lease()
        self.report.say("released", f"the config for {fitted.disk.path}, {len(config)} bytes")
        return release

    def look(self, view: NodeView) -> None:
        """Take in and show what the node says of itself; once, whether its first event or the
        decision comes first."""
        if view == self._shown:
            return
        self.endorsed = endorsed(_read(view), view.ek, self.order.ek_makers, self.clock())
        self.facts = self.endorsed.facts
        self._shown = view
        trust = TRUST_TEXTS.get(view.trust, view.trust)
        lines = [
            f"key       {self.node}",
            f"words     {' '.join(view.words)}",
            f"trust     {trust}",
            *facts_text(self.facts),
            *self.endorsed.text,
        ]
        body = {
            "node": self.node,
            "words": list(view.words),
            "trust": view.trust,
            "path": view.path,
            "facts": self.facts.to_json(),
            "endorsement": self.endorsed.to_json(),
        }
        self.report.block("node", lines, body)
        if not self.order.dry_run and len(self.order.recipients) == 1:
            self.report.warn(
                "there is one escrow key only; if it is lost, so are all recovery keys"
                " (kairos-fleet keys recipient --help)"
            )

    async def _fit(self, device: str) -> Fitted:
        """The config for this machine. A person may choose the disk if the config does not."""
        fit = partial(configs.fit, self.order.document, self.facts)
        try:
            return await trio.to_thread.run_sync(fit, device)
        except errors.DiskNotChosen as undecided:
            if self.order.approval.mode not in ("auto", "ask") or not prompt.can_ask():
                raise
            self.report.quiet()
            self.report.say("disk", undecided.sentence)
            answer = await prompt.ask("Which one is erased and installed on? Its path: ")
            if not answer:
                raise
        return await trio.to_thread.run_sync(fit, answer)

    async def _compare_words(self, words: Sequence[str]) -> None:
        if not prompt.can_ask():
            raise errors.MustBeAsked("--confirm-words needs a person.")
        self.report.quiet()
        shown = " ".join(words)
        if not await prompt.agrees(f"Does the machine's screen show the words: {shown} ?"):
            raise errors.WordsDiffer

    async def _approved(self, fitted: Fitted, trust: str) -> bool:
        """False if a person said no. Raises errors.NotApprovedError."""
        objection = self.order.approval.objection(self.facts, fitted.disk, trust)
        if not objection:
            return True
        if not prompt.can_ask():
            raise errors.MustBeAsked(objection)
        self.report.quiet()
        self.report.say("approve", objection)
        name = configs.hostname(fitted.document) or "this config"
        answer = await prompt.agrees(f"Install {name} on {fitted.disk.path} and erase it?")
        if answer is None:
            raise errors.MustBeAsked(objection)
        return answer

    def _require_in_use(self) -> None:
        """Hardware that was retired here comes back only when somebody says so. Raises
        errors.HardwareRetired."""
        found = self._inventory.retired_hardware(self.order.origin.on(self.facts))
        if found is None:
            return
        said = f"({found.text})"
        if self.order.approval.mode != "yes":
            raise errors.HardwareRetired(said, element=self.facts.serial)
        self.report.warn(f"this hardware was retired here {said}")

    def _enrol(self) -> None:
        order = self.order

        def note(entry: Entry) -> Entry:
            labels = {**entry.labels, **order.labels}
            origin = order.origin.on(self.facts)
            return replace(entry, labels=labels, origin=origin, replaces=order.replaces)

        self._inventory.change(self.node, note)

    def _show_plan(self, fitted: Fitted) -> None:
        from node.plan.install import InstallOptions, plan_install

        recipients = tuple(keys.fingerprint(key) for key in self.order.recipients)
        options = InstallOptions(device=fitted.disk.path, recipients=recipients)
        plan = plan_install(self.facts, fitted.document, options)
        self.report.block("plan", plan.text, plan.to_json())

    def _release(self, fitted: Fitted, config: bytes) -> Release:
        from pairing.config.rules import encryption

        asked = encryption(fitted.document)
        return Release(
            config=config,
            device=fitted.disk.path,
            escrow=self.order.recipients,
            relays=self.order.relays,
            unlock="approval" if asked.by_approval else "auto",
            reboot=self.order.reboot,
            poweroff=self.order.poweroff,
            report_for=REPORT_FOR,
            time=int(self.clock()),
        )

    # --- keeping --------------------------------------------------------------------------------

    async def keep_escrow(self, record: EscrowRecord, signature: bytes) -> None:
        """See `pairing.session.Desk`."""
        path = await trio.to_thread.run_sync(self.records.keep_escrow, record, signature)
        self.report.say("escrow", f"sealed recovery key kept in {path}")

    async def keep_proof(self, proof: VolumeProof, signature: bytes) -> None:
        """See `pairing.session.Desk`."""
        await trio.to_thread.run_sync(self.records.keep_proof, proof, signature)
        proved = self.facts.tpm.ek_hash if self.facts.tpm and self.endorsed.proved else ""
        if proved and proof.ek_hash != proved:
            self.report.warn("the disk was sealed to another TPM than the one that proved its key")

    async def keep_lease(self, known: KnownLease) -> None:
        """See `pairing.session.Desk`. What was once known of a lease is not forgotten."""
        before = self.known
        if before and before.lease == known.lease and known.report is None:
            known = replace(known, report=before.report)
        self.known = known
        await self._write_lease()

    async def _write_lease(self) -> None:
        """Before a release leaves, its mark must be on disk: later runs then know that silence
        means an unknown outcome. One writer at a time, so that the mark is never undone."""
        async with self._writing:
            if self.known is None:
                return
            keep = partial(
                self.records.keep_lease, self.token.name, self.known, hostname=self.hostname
            )
            await trio.to_thread.run_sync(partial(keep, released=self.released))

    async def settle(self, released: bool) -> None:
        """Put right what was noted before the release: it may never have left this machine."""
        if self.released and not released:
            self.released = False
            with contextlib.suppress(errors.StoreUnwritable):
                await self._write_lease()

    # --- telling --------------------------------------------------------------------------------

    def seen(self, event: Event, signature: bytes) -> None:
        """See `pairing.session.Desk`. Nothing here may stop a node that is being installed."""
        try:
            self._remember(event, signature)
        except errors.KnownError as wrong:
            self.report.warn(f"not in the journal: {wrong.sentence}")
        self.dry_run = event.dry_run
        if event.type is EventType.STATE:
            self.state = event.state
            self.awaits_approval = event.state is State.LOCKED and event.code == approval.AWAITS
        self.report.event(event, now(), self.facts.serial)

    def _remember(self, event: Event, signature: bytes) -> None:
        self._look_if_nobody_else_will()
        if self._journal is None:
            self._journal = self.records.journal(self.node)
        self._journal.append(event, signature, self.facts.serial)

    def _look_if_nobody_else_will(self) -> None:
        """Where nothing is left to decide; else `decide` does, once the TPM has been asked."""
        machine = self.machine
        if self._shown or machine is None or machine.view is None:
            return
        if machine.examining:
            self.facts = _read(machine.view)
        else:
            self.look(machine.view)

    def notice(self, text: str) -> None:
        """See `pairing.session.Desk`."""
        label, _, rest = text.partition(": ")
        self.report.say(label if rest else "network", rest or text)

    def close(self) -> None:
        """Close what is open."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _read(view: NodeView) -> Facts:
    """What the node says of itself. Raises errors.ProtocolBroken."""
    try:
        return from_json(view.facts)
    except ValueError as wrong:
        raise errors.ProtocolBroken(f"(facts: {wrong})") from None
