"""HTML written so that nothing unescaped gets in: text is escaped unless it is `Markup`, and `tag` alone makes that."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

VOID = {"br", "img", "meta", "link", "path", "line", "rect", "hr", "col"}
"""Elements without an end tag (SVG's are closed by "/>")."""
SVG = {"path", "line", "rect"}
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What HTML forbids, and the marks that turn the reading direction (a file name may hold either)."""


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


Node = Markup | str | int | float | None | Iterable["Node"]
"""What may stand between two tags: markup, text (escaped), a number, nothing, or several of these."""


def render(node: Node) -> Markup:
    """`node` as HTML, every plain string escaped."""
    if isinstance(node, Markup):
        return node
    if node is None:
        return Markup()
    if isinstance(node, str | int | float):
        return Markup(html.escape(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(node))))
    return Markup("".join(render(child) for child in node))


def tag(name: str, /, *children: Node, **attributes: str | float | bool | None) -> Markup:
    """One element. A trailing underscore of an attribute is dropped (`class_`), others become hyphens (`aria_label`).

    An attribute that is None or False is left out; True stands without a value.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        spelt = key.rstrip("_").replace("_", "-")
        written.append(f" {spelt}" if value is True else f' {spelt}="{render(value)}"')
    start = f"<{name}{''.join(written)}"
    if name in VOID:
        return Markup(start + ("/>" if name in SVG else ">"))
    return Markup(f"{start}>{render(children)}</{name}>")


def table(head: Iterable[Node], rows: Iterable[Iterable[Node]], label: str, class_: str = "") -> Markup:
    """A table that scrolls within itself; the first cell of each row is its header. `label` is what it is called aloud.

    A cell that is a <td> or <th> already stays as it is.
    """
    body = [
        tag(
            "tr",
            [_cell("th", cell, scope="row") if place == 0 else _cell("td", cell) for place, cell in enumerate(row)],
        )
        for row in rows
    ]
    return scrolling(
        tag(
            "table",
            tag("thead", tag("tr", [_cell("th", cell, scope="col") for cell in head])),
            tag("tbody", body),
            class_=class_ or None,
        ),
        label,
    )


def scrolling(content: Node, label: str) -> Markup:
    """A box that scrolls sideways where its content is wider than the page; reachable by keyboard."""
    return tag("div", content, class_="scroll", role="region", tabindex=0, aria_label=label)


def _cell(name: str, content: Node, **attributes: str) -> Markup:
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    return tag(name, content, **attributes)
