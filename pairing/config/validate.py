"""All that is wrong with a config, at once: schema, rules across keys, placeholders."""

from __future__ import annotations

from pairing import errors
from pairing.config.document import Document
from pairing.config.kairos import kairos_problems
from pairing.config.passwords import password_problems
from pairing.config.problem import Problem, errors_among
from pairing.config.rules import across_keys
from pairing.config.schema import SchemaName, check
from pairing.config.template import placeholder_problems


def validate(
    document: Document, schema: SchemaName = "native", *, rendered: bool = False
) -> list[Problem]:
    """Every problem, errors and warnings, in the order of the file.

    An unrendered config may hold placeholders; what they become is judged after rendering. In a
    `rendered` one (all that a node ever gets) two braces are ordinary text.
    """
    found = check(document, schema, rendered=rendered)
    if schema == "kairos":
        found += kairos_problems(document)
    if schema == "native":
        found += across_keys(document, rendered=rendered)
        found += password_problems(document, rendered=rendered)
    if schema == "native" and not rendered:
        found += placeholder_problems(document)
    return sorted(found, key=lambda problem: (problem.mark.file, problem.line, problem.column))


def require_valid(
    document: Document, schema: SchemaName = "native", *, rendered: bool = False
) -> list[Problem]:
    """Raises errors.ConfigError with every error; returns the warnings."""
    found = validate(document, schema, rendered=rendered)
    if wrong := errors_among(found):
        raise errors.ConfigError(problems=wrong)
    return found
