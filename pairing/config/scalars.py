"""What an unquoted word in YAML means, exactly as Go's yaml.v3 (and so Kairos) reads it.

`yes`, `no`, `on`, `off` are text; `0644` and `0o644` are octal; `1e3` is a number; `12:30:45` is
text. One difference on purpose: a date stays text (Go makes it a time, which no config key wants).
Source: gopkg.in/yaml.v3 v3.0.1, resolve.go; `tests/config/yamldiff` compares the two.
"""

from __future__ import annotations

import math
import re

from pairing.config.document import Scalar

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_POINT_FIRST = re.compile(r"\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)"
    r"|0[oO]?(?P<octal>[0-7]+)|(?P<decimal>0|[1-9][0-9]*))"
)
# Go strips "0b" or "0o" and reads the rest with its own sign, so `0b-1` is -1.
_SIGN_INSIDE = re.compile(r"0(?:b(?P<binary>[-+][01]+)|o(?P<octal>[-+][0-7]+))")
_BASES = {"hex": 16, "binary": 2, "octal": 8, "decimal": 10}
_LONGEST_DECIMAL = 20


def resolve(text: str) -> Scalar:
    """The value of the plain scalar `text`."""
    if text in _WORDS:
        return _WORDS[text]
    if not text.isascii() or text[0] not in "+-.0123456789":
        return text
    if text[0] == ".":
        return _float(text) if _POINT_FIRST.fullmatch(text) else text
    digits = text.replace("_", "")
    whole = _integer(digits)
    if whole is not None:
        return whole
    return _float(text) if _FLOAT.fullmatch(digits) else text


def _integer(digits: str) -> int | None:
    """`digits` if they are an integer of 64 bits (signed, or unsigned without a sign)."""
    if found := _INTEGER.fullmatch(digits):
        kind = str(found.lastgroup)
        body = found[kind]
        if kind == "decimal" and len(body) > _LONGEST_DECIMAL:
            return None
        number = int(found["sign"] + body, _BASES[kind])
        top = 2**63 if found["sign"] else 2**64
        return number if -(2**63) <= number < top else None
    if found := _SIGN_INSIDE.fullmatch(digits):
        kind = str(found.lastgroup)
        number = int(found[kind], _BASES[kind])
        return number if -(2**63) <= number < 2**63 else None
    return None


def _float(text: str) -> float | str:
    """`text` as a float; still text if it is too large for one, as in Go."""
    number = float(text.replace("_", ""))
    return text if math.isinf(number) else number
