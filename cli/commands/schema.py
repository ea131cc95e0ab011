"""`kairos-fleet schema`: the JSON Schema of a config."""

from __future__ import annotations

import json

import click

HELP = """Print the JSON Schema (2020-12) of a config, for editors and other programs.

\b
Examples:
  kairos-fleet schema > node-config.schema.json
  kairos-fleet schema --kairos > kairos.schema.json

In an editor with the YAML language server, put this below the first line of a config:

\b
  # yaml-language-server: $schema=node-config.schema.json
"""


@click.command(help=HELP)
@click.option("--kairos", is_flag=True, help="Kairos' documented keys instead of ours.")
def schema(kairos: bool) -> None:
    """See HELP."""
    from pairing.config.schema import schema as published

    click.echo(json.dumps(published("kairos" if kairos else "native"), indent=2))
