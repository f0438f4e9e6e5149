from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from infra.demo.encoding import tiff
from infra.demo.inventory import Inventory
from infra.demo.report import report
from infra.demo.sample_images import Scene
from infra.demo.sheet import sheet
from infra.demo.upload import Answered
from infra.demo.watch import ParkedPhoto
from tests.infra.demo.fixtures import stored

EVIL = "\"><script>alert(1)</script><img src=https://example.com/x.png>'&.jpg"


class SheetPage(HTMLParser):
    """Which elements there are, and what they refer to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def sources(self) -> list[str]:
        return [str(attributes["src"]) for _, attributes in self.elements if "src" in attributes]


def page(found: Inventory, faults: tuple[str, ...] = ()) -> SheetPage:
    return SheetPage(sheet(found, report(found, Answered(), 1.0, faults), faults))


def test_shows_originals_and_thumbnails_of_every_photo(found: Inventory) -> None:
    shown = page(found)
    assert len([tag for tag, _ in shown.elements if tag == "article"]) == len(found.findings)
    done = [finding for finding in found.findings if not finding.parked]
    assert len(shown.sources()) == 3 * len(done) + 1  # what was cut off is shown as far as it goes
    assert "The file is cut off" in " ".join(shown.words)


def test_what_browsers_cannot_show_has_a_preview(found: Inventory) -> None:
    [one] = [one for one in found.findings if one.photo.name == "photo.tif"]
    small = replace(one.photo, content=tiff(Scene(60, 40, "TIFF").draw()))
    shown = page(replace(found, findings=[replace(one, photo=small)]))
    assert any("shown by a preview" in word for word in shown.words)
    assert not any(source.startswith("data:image/tiff") for source in shown.sources())


def test_a_file_that_is_no_picture_is_shown_as_text(found: Inventory) -> None:
    one = found.findings[-2]
    text = replace(one, photo=replace(one.photo, content=b"<b>Milk</b>", content_type="image/jpeg"))
    html = sheet(replace(found, findings=[text]), report(found, Answered(), 1.0, ()), ())
    assert "<pre>&lt;b&gt;Milk&lt;/b&gt;</pre>" in html


def test_needs_nothing_from_elsewhere(found: Inventory) -> None:
    html = sheet(found, report(found, Answered(), 1.0, ()), ())
    shown = SheetPage(html)
    assert all(source.startswith("data:image/") for source in shown.sources())
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in shown.elements}
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import", html)


@pytest.mark.parametrize("where", ["name", "parked", "metadata", "fault"])
def test_what_strangers_wrote_is_text(found: Inventory, where: str) -> None:
    one = found.findings[0]
    faults: tuple[str, ...] = ()
    if where == "name":
        one = replace(one, photo=replace(one.photo, name=EVIL))
    elif where == "parked":
        one = replace(one, parked=ParkedPhoto(one.key, EVIL, EVIL))
    elif where == "metadata":
        said = {"camera": {"make": EVIL}, "dominant_colour": f"red;{EVIL}", "format": EVIL, "captured_at": EVIL}
        content = json.dumps(said).encode()
        one = replace(one, outputs={**one.outputs, "metadata.json": stored(content, "application/json", "e")})
    else:
        faults = (EVIL,)
    shown = page(replace(found, findings=[one]), faults)
    assert "script" not in {tag for tag, _ in shown.elements}
    assert all(source.startswith("data:") for source in shown.sources())
    assert any(EVIL in word for word in shown.words)


def test_says_what_is_wrong(found: Inventory) -> None:
    words = " ".join(page(found, ("a.jpg: shows the corners red",)).words)
    assert "a.jpg: shows the corners red" in words
    assert "Every result was verified" not in words
