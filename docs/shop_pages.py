"""Writes the pages for the shop's manager: `python docs/shop_pages.py`.

`docs/manager/README.md`, and `printable.html`, which holds its pictures and prints one page for
each language. `tests/docs` holds both to what this writes.
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "manager"
IMAGES = Path(__file__).parent / "images"
PICTURES = ("waiting", "installing", "done", "failed")


@dataclass(frozen=True, slots=True)
class Page:
    """One language: its name, a title, and what to do at each of the four pictures."""

    name: str
    title: str
    steps: tuple[str, str, str, str]


PAGES = {
    "en": Page(
        "English",
        "A new machine in your shop",
        (
            (
                "Connect network cable, stick and power, and switch the machine on. "
                "Photograph the whole screen and send the photo to your contact."
            ),
            "Wait, and do not switch off: it may take an hour.",
            "Green: done, and your contact tells you what comes next.",
            "Red: it is not your fault. Call your contact and read the large code aloud.",
        ),
    ),
    "es": Page(
        "Español",
        "Un equipo nuevo en su tienda",
        (
            (
                "Conecte el cable de red, la memoria USB y la corriente, y encienda el equipo. "
                "Fotografíe toda la pantalla y envíe la foto a su contacto."
            ),
            "Espere y no apague el equipo: puede tardar una hora.",
            "Verde: está listo, y su contacto le dirá qué hacer después.",
            "Rojo: no es culpa suya. Llame a su contacto y lea el código grande en voz alta.",
        ),
    ),
    "fr": Page(
        "Français",
        "Une nouvelle machine dans votre magasin",
        (
            (
                "Branchez le câble réseau, la clé USB et le courant, puis allumez la machine. "
                "Photographiez tout l'écran et envoyez la photo à votre contact."
            ),
            "Attendez et n'éteignez pas la machine : cela peut durer une heure.",
            "Vert : c'est terminé, et votre contact vous dira la suite.",
            (
                "Rouge : ce n'est pas votre faute. Appelez votre contact et lisez le grand code "
                "à haute voix."
            ),
        ),
    ),
    "de": Page(
        "Deutsch",
        "Ein neues Gerät in Ihrem Laden",
        (
            (
                "Netzwerkkabel, USB-Stick und Strom anschließen und das Gerät einschalten. "
                "Den ganzen Bildschirm fotografieren und das Foto Ihrem Ansprechpartner senden."
            ),
            "Warten und nicht ausschalten: Es kann eine Stunde dauern.",
            "Grün: fertig, und Ihr Ansprechpartner sagt Ihnen, wie es weitergeht.",
            (
                "Rot: Es ist nicht Ihre Schuld. Ihren Ansprechpartner anrufen und den großen Code "
                "laut vorlesen."
            ),
        ),
    ),
    "pt": Page(
        "Português",
        "Uma máquina nova na sua loja",
        (
            (
                "Conecte o cabo de rede, o pendrive e a energia e ligue a máquina. "
                "Fotografe a tela inteira e envie a foto ao seu contato."
            ),
            "Aguarde e não desligue a máquina: pode levar uma hora.",
            "Verde: está pronto, e seu contato dirá o que fazer depois.",
            (
                "Vermelho: a culpa não é sua. Ligue para o seu contato e leia o código grande "
                "em voz alta."
            ),
        ),
    ),
}
STYLE = """
@page { size: A4; margin: 15mm }
body { font: 16px/1.45 sans-serif; color: #111; background: #fff; margin: 0 auto; max-width: 900px }
section { break-after: page; padding: 0 12px }
section:last-child { break-after: auto }
h1 { font-size: 28px }
ol { display: grid; grid-template-columns: 1fr 1fr; gap: 18px 24px; list-style: none; padding: 0 }
@media screen and (max-width: 600px) { ol { grid-template-columns: 1fr } }
img { width: 100%; height: auto; display: block; border: 1px solid #111; margin-bottom: 8px }
b { font-size: 22px }
"""


def markdown() -> str:
    """The page in the repository: four pictures and their sentences for each language."""
    links = " | ".join(f"[{page.name}](#{page.name.lower()})" for page in PAGES.values())
    head = (
        "# For the shop's manager\n\n<!-- Written by `python docs/shop_pages.py`. -->\n\n"
        f"{links}\n\nTo print or send, one page each: [printable.html](printable.html).\n"
    )
    return head + "".join(map(_markdown_section, PAGES, PAGES.values()))


def _markdown_section(language: str, page: Page) -> str:
    cells = [
        f"![{number}](../images/screen-{name}-{language}.png) **{number}.** {text}"
        for number, (name, text) in enumerate(zip(PICTURES, page.steps, strict=True), 1)
    ]
    rows = f"| | |\n|---|---|\n| {cells[0]} | {cells[1]} |\n| {cells[2]} | {cells[3]} |\n"
    return f"\n## {page.name}\n\n**{page.title}**\n\n{rows}"


def printable() -> str:
    """One HTML file without anything outside it."""
    sections = "".join(map(_html_section, PAGES, PAGES.values()))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>For the shop</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{sections}</body>\n</html>\n"
    )


def _html_section(language: str, page: Page) -> str:
    items = []
    for number, (name, text) in enumerate(zip(PICTURES, page.steps, strict=True), 1):
        data = (IMAGES / f"screen-{name}-{language}.png").read_bytes()
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        words = html.escape(text, quote=False)
        items.append(f'<li><img src="{source}" alt="{number}"><b>{number}</b> {words}</li>\n')
    title = html.escape(page.title, quote=False)
    return (
        f'<section lang="{language}">\n<h1>{title}</h1>\n<ol>\n{"".join(items)}</ol>\n</section>\n'
    )


def main() -> None:
    """Write both."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "README.md").write_text(markdown(), encoding="utf-8")
    (FOLDER / "printable.html").write_text(printable(), encoding="utf-8")


if __name__ == "__main__":
    main()
