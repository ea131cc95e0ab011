"""Configs: what a machine becomes. Load, merge, check, fill in, and show without secrets.

document = merge([load_file(path) for path in paths])
require_valid(document)                              # schema, rules, placeholders
document = render(document, node_values(facts), row) # this machine's copy
require_valid(document, rendered=True)
require_fit(document, facts)                         # against the hardware
disk = choose_disk(document, facts)
body = dump(hash_passwords(with_account_keys(document, keys)))
"""

from pairing.config.accounts import fetch_account_keys, with_account_keys
from pairing.config.document import Document
from pairing.config.dump import dump
from pairing.config.load import load, load_file
from pairing.config.machine import against, choose_disk, describe, require_fit
from pairing.config.merge import merge, set_value
from pairing.config.passwords import hash_passwords
from pairing.config.problem import Mark, Path, Problem, Severity, errors_among
from pairing.config.redact import redact
from pairing.config.rules import Encryption, encryption
from pairing.config.schema import schema
from pairing.config.template import node_values, placeholders, render
from pairing.config.validate import require_valid, validate

__all__ = [
    "Document",
    "Encryption",
    "Mark",
    "Path",
    "Problem",
    "Severity",
    "against",
    "choose_disk",
    "describe",
    "dump",
    "encryption",
    "errors_among",
    "fetch_account_keys",
    "hash_passwords",
    "load",
    "load_file",
    "merge",
    "node_values",
    "placeholders",
    "redact",
    "render",
    "require_fit",
    "require_valid",
    "schema",
    "set_value",
    "validate",
    "with_account_keys",
]
