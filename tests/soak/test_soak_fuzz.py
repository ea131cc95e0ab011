"""Random and broken input for everything that reads what strangers send, minute after minute.

Nothing but the errors named here may come out, and nothing may take longer than ten seconds.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import json
import random
import secrets
import signal
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from PIL import Image

from pairing import ekcertificate, errors, events, facts, peertoken, tpmkeys
from pairing.config import load, validate
from pairing.edgevpn import blocktext, nettoken, payload, sealing
from pairing.edgevpn.ledger import Ledger
from pairing.edgevpn.limits import Unreadable
from pairing.protocol import frames, messages
from pairing.protocol.wire import read_message
from pairing.qr import render
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.unpack import unpack
from pairing.terminalfilter import TerminalFilter
from pairing.testing.measured import TOP
from pairing.testing.papertpm import PaperTpm
from pairing.testing.photos import photograph
from pairing.testing.tokens import random_token
from pairing.transport import dns, relay_protocol
from pairing.transport.relay import RelayAddress

Part = Any
STUCK = 10.0
"""Seconds for one input."""
HALF_A_SECOND = 0.5
SEAL_KEY = b"0123456789abcdef" * 2
DATA = TOP / "tests" / "data"
FORMATS = ["JPEG", "WEBP", "TIFF", "BMP", "GIF"]
if importlib.util.find_spec("pillow_heif"):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    FORMATS.append("HEIF")


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that reads strangers' bytes. `good`: what it should understand; no `refusals` for
    what takes everything.
    """

    name: str
    read: Callable[[bytes], object]
    good: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = (errors.KnownError,)


def text(data: bytes) -> str:
    """Bytes as the text that may stand in a photo or an option."""
    return data.decode("utf-8", "surrogateescape")


def read_frames(data: bytes) -> None:
    for body in frames.FrameReader(frames.FRAME_LIMIT).feed(data):
        for types in (messages.FROM_NODE, messages.FROM_OPERATOR):
            try:
                read_message(body, types)
            except errors.ProtocolBroken:
                continue


def read_json(read: Callable[[Any], object]) -> Callable[[bytes], object]:
    def reader(data: bytes) -> object:
        body = json.loads(data)
        return read(body) if isinstance(body, dict) else None

    return reader


def read_config(data: bytes) -> None:
    validate(load(data))


def certified(tpm: PaperTpm) -> tuple[bytes, x509.Certificate]:
    """The certificate of a TPM's endorsement key, as its memory may hold it, and its maker's."""
    key = ec.generate_private_key(ec.SECP256R1())
    began = datetime.now(UTC)
    made: dict[str, x509.Certificate] = {}
    for name, public, ca in (
        ("maker", key.public_key(), True),
        ("chip", tpm.key.public_key(), False),
    ):
        subject, issuer = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, of)]) for of in (name, "maker")
        )
        form = x509.CertificateBuilder(
            issuer, subject, public, len(made) + 1, began, began + timedelta(1)
        )
        form = form.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        made[name] = form.sign(key, SHA256())
    return made["chip"].public_bytes(Encoding.DER), made["maker"]


def read_certificate(tpm: PaperTpm, maker: x509.Certificate) -> Callable[[bytes], object]:
    key = tpmkeys.read_endorsement(tpm.endorsement)
    return lambda data: ekcertificate.check_certificate(data, key, [maker], time.time())


def network_tokens() -> list[bytes]:
    """Long and short ones, as text and as the YAML inside."""
    tokens = [nettoken.fresh(random.Random(1).randbytes, full=full) for full in (False, True)]
    texts = [nettoken.to_text(tokens[0]), nettoken.to_full_text(tokens[1])]
    return [*(t.encode() for t in texts), *(base64.b64decode(t) for t in texts)]


def read_network_token(data: bytes) -> None:
    """As it stands, or as the YAML of a token: broken base64 alone never gets far."""
    inside = not data.isascii() or b":" in data
    nettoken.parse(base64.b64encode(data).decode() if inside else text(data))


def blocks() -> list[bytes]:
    """Blocks, packed and not, and a sealed one: what is inside is reached by breaking each."""
    ledger = Ledger(0)
    ledger.write("presence", "12D3KooW", '""', 0)
    ledger.write("pairing", "data", payload.to_json(payload.Payload("#cloud-config\n")), 0)
    packed = blocktext.to_bytes(ledger.block)
    return [packed, gzip.decompress(packed), sealing.seal(packed, SEAL_KEY, b"n" * 12)]


def read_block(data: bytes) -> None:
    """A message, a packed block or its JSON; whatever is read is taken in and said again."""
    if data[:10] == b'{"Message"':
        data = sealing.unseal(data, [SEAL_KEY])
    elif data[:1] == b"{":
        data = gzip.compress(data)
    ledger = Ledger(0)
    ledger.write("presence", "12D3KooX", '""', 0)
    ledger.hear(blocktext.from_bytes(data), 0)
    assert blocktext.from_bytes(blocktext.to_bytes(ledger.block)) == ledger.block


def show(data: bytes) -> None:
    shown = TerminalFilter().feed(data)
    assert "\x1b]" not in shown
    assert "\x1bP" not in shown


def dns_message() -> bytes:
    name = dns.name("abcdef._kairos-pair._tcp.local")
    records = [
        dns.Record(name, 33, 120, dns.Service(4917, dns.name("host.local"))),
        dns.Record(dns.name("_kairos-pair._tcp.local"), 12, 120, name),
        dns.Record(name, 16, 120, b"\x04a=bc"),
    ]
    return dns.encode(dns.Message(True, (dns.Question(name, 255),), records))


def pictures() -> list[bytes]:
    """A photo, and one screen's code in every format that is read."""
    code = render.png(render.modules(random_token(random.Random(1))), scale=3)
    screen = Image.open(io.BytesIO(code)).convert("RGB")
    found = [code]
    for kind in FORMATS:
        out = io.BytesIO()
        screen.save(out, kind)
        found.append(out.getvalue())
    small = screen.resize((screen.width * 2, screen.height * 2)).quantize(4)
    return [*found, photograph(small, severity=2, seed=1)]


def containers() -> list[bytes]:
    """A zip and a PDF with pictures in them, and one in the other."""
    pages = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures()[:2]]
    paper = io.BytesIO()
    pages[0].save(paper, "PDF", save_all=True, append_images=pages[1:])
    zips = []
    for members in ({"a/IMG-1.png": pictures()[0]}, {"scan.pdf": paper.getvalue()}):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        zips.append(out.getvalue())
    return [*zips, paper.getvalue()]


def read_container(photos: PhotoReader) -> Callable[[bytes], object]:
    def reader(data: bytes) -> None:
        for picture in unpack(data, "export.zip"):
            if picture.wrong is None:
                photos.read(picture.data)

    return reader


def readers(photos: PhotoReader) -> list[Reader]:
    tokens = [v["text"].encode() for v in json.loads((DATA / "tokens.json").read_text())["valid"]]
    vectors = json.loads((DATA / "messages.json").read_text())["messages"]
    frame_bytes = [bytes.fromhex(vector) for vector in vectors.values()]
    machines = [path.read_bytes() for path in (TOP / "examples" / "machines").glob("*.json")]
    configs = [path.read_bytes() for path in (TOP / "examples" / "configs").glob("*.yaml")]
    hello = relay_protocol.Wait(b"k" * 32, b"l" * 32, "abcdefghij0123456789").line().encode()
    call = relay_protocol.Call(b"a" * 32).line().encode()
    relays = [b"relay.example:8443#sha256=" + b"ab" * 32, b"[2001:db8::1]:443"]
    tpm = PaperTpm()
    chip, maker = certified(tpm)
    event = b'{"node":"n","boot":"b","seq":1,"up_ms":5,"type":"state","state":"claimed"}'
    return [
        Reader("tokens", lambda data: peertoken.parse(text(data), loopback=True), tokens),
        Reader("frames", read_frames, frame_bytes),
        Reader("facts", read_json(facts.from_json), machines, (ValueError, RecursionError)),
        Reader("events", read_json(events.from_json), [event], (ValueError, RecursionError)),
        Reader("mdns", dns.decode, [dns_message()], (dns.Malformed,)),
        Reader(
            "relay lines",
            lambda data: relay_protocol.parse_hello(data.decode("ascii", "replace")),
            [hello, call],
            (relay_protocol.Refused,),
        ),
        Reader("relay addresses", lambda data: RelayAddress.parse(text(data)), relays),
        Reader("configs", read_config, configs),
        Reader("network tokens", read_network_token, network_tokens()),
        Reader("ledger blocks", read_block, blocks(), (Unreadable,)),
        Reader("payloads", lambda data: payload.from_json(text(data)), [b'{"cc":"#","device":""}']),
        Reader("TPM keys", tpmkeys.read_key, [tpm.endorsement, tpm.attestation], (ValueError,)),
        Reader("EK certificates", read_certificate(tpm, maker), [chip], (ValueError,)),
        Reader(
            "terminals", show, [b"\x1b[1mhi\x1b]0;t\x07\x1b[?25l\x1bPq\x1b\\ \xe2\x94\x8c\r\n"], ()
        ),
        Reader("photos", lambda data: token_from(photos.read(data)), pictures()),
        Reader("zips and PDFs", read_container(photos), containers()),
    ]


def broken(good: bytes, chance: random.Random) -> bytes:
    """Random bytes, or a good example with one to a few things wrong."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(2000))
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 5))):
        chance.choice(WAYS)(data, chance)
    return bytes(data)


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 20))):
        if data:
            data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _extreme(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at : at + chance.choice((1, 2, 4))] = chance.choice(
        (
            b"\x00",
            b"\xff" * 2,
            b"\xff" * 4,
            b"\x7f\xff\xff\xff",
            b"9" * 30,
            b"-1",
            b"{",
            b'"',
            b"\n",
        )
    )


def _cut(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    del data[at : at + chance.choice((1, 10, len(data)))]


def _repeat(data: bytearray, chance: random.Random) -> None:
    at, size = _place(data, chance), chance.choice((1, 8, 100))
    data[at:at] = bytes(data[at : at + size]) * chance.choice((1, 2, 50))


def _insert(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.choice((1, 4, 40)))


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere; half of the time near the beginning, where headers are."""
    size = len(data) if chance.random() < 0.5 else min(len(data), 64)
    return chance.randrange(size) if size else 0


WAYS = (_flip, _extreme, _cut, _repeat, _insert)


@contextmanager
def nothing_hangs() -> Iterator[None]:
    def stuck(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still busy after {STUCK:g} seconds")

    before = signal.signal(signal.SIGALRM, stuck)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.soak(share=0.05)
def test_broken_input_is_refused(tmp_path: Path, part: Part) -> None:
    seed = secrets.randbelow(2**32)
    chance, counts = random.Random(seed), {"read": 0, "refused": 0}
    part.kept.update(seed=seed, inputs={})
    with PhotoReader() as photos, nothing_hangs():
        everything = readers(photos)
        for reader in everything:  # the positive control: unbroken, all of it is understood
            for good in reader.good:
                reader.read(good)
            part.kept["inputs"][reader.name] = dict(counts)
        while not part.over:
            for reader in everything:
                _round(reader, chance, part.kept["inputs"][reader.name], tmp_path)
    for reader in everything:
        refused = part.kept["inputs"][reader.name]["refused"]
        assert bool(refused) == bool(reader.refusals), reader.name


def _round(reader: Reader, chance: random.Random, counts: dict[str, int], folder: Path) -> None:
    ends = time.monotonic() + HALF_A_SECOND
    while time.monotonic() < ends:
        data = broken(chance.choice(reader.good), chance)
        signal.setitimer(signal.ITIMER_REAL, STUCK)
        try:
            reader.read(data)
            counts["read"] += 1
        except reader.refusals:
            counts["refused"] += 1
        except BaseException:
            (folder / "input").write_bytes(data)
            print(f"{reader.name}: {folder / 'input'}: {data[:200]!r}")
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
