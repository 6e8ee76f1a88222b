"""The command ``calib card``: what a saved model is, and is not, to be used for."""

from __future__ import annotations

from pathlib import Path

import click

from calib.options import DATA, JSON, print_json


@click.command()
@click.argument("model", type=DATA)
@click.option("-o", "--output", type=DATA, help="Markdown file to write; printed without it.")
@click.option(
    "--evaluation", metavar="DIR", type=DATA,
    help="Folder of calib evaluate, of the same table: held-out figures to put on the card.",
)  # fmt: skip
@JSON
def card(model: Path, output: Path | None, evaluation: Path | None, as_json: bool) -> None:
    """Describe MODEL: what it learnt from, how it fared, what it must not be used for."""
    from calib.card import card_lines, model_card
    from calib.files import atomic_file

    found = model_card(model, evaluation)
    text = "\n".join(card_lines(found)) + "\n"
    if output is not None:
        with atomic_file(output) as draft:
            draft.write_text(text, encoding="utf-8")
    if as_json:
        print_json(found)
    elif output is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"the card is in {output}")
