"""`kairos-fleet completion`: what a shell needs to complete our commands."""

from __future__ import annotations

import click

PROGRAMS = ("kairos-register", "kairos-fleet", "kairos-node")
SHELLS = ("bash", "zsh", "fish")

HELP = """Print the completion script for a shell, for all three programs.

\b
Examples:
  kairos-fleet completion bash >> ~/.bashrc
  kairos-fleet completion zsh >> ~/.zshrc
  kairos-fleet completion fish > ~/.config/fish/completions/kairos-fleet.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """See HELP."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    for program in PROGRAMS:
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        script = kind(click.Command(program), {}, program, variable)
        # Not `script.source()`: that one starts the shell to ask for its version.
        click.echo(script.source_template % script.source_vars())
