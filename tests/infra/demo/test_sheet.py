from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from infra.demo.encoding import tiff
from infra.demo.inventory import Inventory
from infra.demo.placeholder import placeholder_png
from infra.demo.report import make_report
from infra.demo.sample_images import Colour, SampleImage
from infra.demo.sheet import render_sheet
from infra.demo.upload import CompletedUploads
from infra.demo.watch import ParkedPhoto
from tests.infra.demo.fixtures import stored_object

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


def page(inventory: Inventory, problems: tuple[str, ...] = ()) -> SheetPage:
    return SheetPage(render_sheet(inventory, make_report(inventory, CompletedUploads(), 1.0, problems), problems))


def test_shows_originals_and_thumbnails_of_every_photo(inventory: Inventory) -> None:
    shown = page(inventory)
    assert len([tag for tag, _ in shown.elements if tag == "article"]) == len(inventory.results)
    done = [result for result in inventory.results if not result.parked]
    assert (
        len(shown.sources()) == 4 * len(done) + 1
    )  # with the placeholder; what was cut off is shown as far as it goes
    assert "The file is cut off" in " ".join(shown.words)


def test_the_corners_are_explained_before_the_first_photo(inventory: Inventory) -> None:
    html = render_sheet(inventory, make_report(inventory, CompletedUploads(), 1.0, ()), ())
    assert 0 < html.index('class="legend"') < html.index("<article")
    assert all(f'fill="rgb{colour.value}"' in html for colour in Colour)


def test_the_placeholder_is_the_picture_of_the_hash(inventory: Inventory) -> None:
    [tiny] = [result for result in inventory.results if result.photo.name == "tiny.jpg"]
    picture = placeholder_png(json.loads(tiny.outputs["metadata.json"].content)["thumbhash"])
    assert picture
    assert f"data:image/png;base64,{base64.b64encode(picture).decode()}" in page(inventory).sources()


@pytest.mark.parametrize("thumbhash", ["", "é", "AAAA", "/////w==", 7, None, "A" * 10_000])
def test_a_hash_that_is_none_has_no_placeholder(inventory: Inventory, thumbhash: object) -> None:
    content = json.dumps({"thumbhash": thumbhash}).encode()
    outputs = {"metadata.json": stored_object(content, "application/json", "e")}
    shown = page(replace(inventory, results=[replace(inventory.results[0], outputs=outputs)]))
    assert not any(source.startswith("data:image/png") for source in shown.sources())


def test_what_only_a_developer_looks_for_is_folded(inventory: Inventory) -> None:
    html = render_sheet(inventory, make_report(inventory, CompletedUploads(), 1.0, ()), ())
    unfolded = re.sub(r"(?s)<details.*?</details>", "", html)
    for word in ("ETag", "ThumbHash", "EXIF orientation</dt>", "coalesced", "quarantined", "stale", "minted", "p95"):
        assert word in html
        assert word not in unfolded


def test_what_browsers_cannot_show_has_a_preview(inventory: Inventory) -> None:
    [result] = [result for result in inventory.results if result.photo.name == "photo.tif"]
    small = replace(result.photo, content=tiff(SampleImage(60, 40, "TIFF").draw()))
    shown = page(replace(inventory, results=[replace(result, photo=small)]))
    assert any("shown by a preview" in word for word in shown.words)
    assert not any(source.startswith("data:image/tiff") for source in shown.sources())


def test_a_file_that_is_no_picture_is_shown_as_text(inventory: Inventory) -> None:
    result = inventory.results[-2]
    text = replace(result, photo=replace(result.photo, content=b"<b>Milk</b>", content_type="image/jpeg"))
    html = render_sheet(replace(inventory, results=[text]), make_report(inventory, CompletedUploads(), 1.0, ()), ())
    assert "<pre>&lt;b&gt;Milk&lt;/b&gt;</pre>" in html


def test_needs_nothing_from_elsewhere(inventory: Inventory) -> None:
    html = render_sheet(inventory, make_report(inventory, CompletedUploads(), 1.0, ()), ())
    shown = SheetPage(html)
    assert all(source.startswith("data:image/") for source in shown.sources())
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in shown.elements}
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import", html)


@pytest.mark.parametrize("where", ["name", "parked", "metadata", "problem"])
def test_names_messages_and_metadata_are_text(inventory: Inventory, where: str) -> None:
    result = inventory.results[0]
    problems: tuple[str, ...] = ()
    if where == "name":
        result = replace(result, photo=replace(result.photo, name=EVIL))
    elif where == "parked":
        result = replace(result, parked=ParkedPhoto(result.key, EVIL, EVIL))
    elif where == "metadata":
        metadata = {"camera": {"make": EVIL}, "dominant_colour": f"red;{EVIL}", "format": EVIL, "captured_at": EVIL}
        content = json.dumps(metadata).encode()
        result = replace(
            result, outputs={**result.outputs, "metadata.json": stored_object(content, "application/json", "e")}
        )
    else:
        problems = (EVIL,)
    shown = page(replace(inventory, results=[result]), problems)
    assert "script" not in {tag for tag, _ in shown.elements}
    assert all(source.startswith("data:") for source in shown.sources())
    assert any(EVIL in word for word in shown.words)


def test_says_what_is_wrong(inventory: Inventory) -> None:
    words = " ".join(page(inventory, ("a.jpg: shows the corners red",)).words)
    assert "a.jpg: shows the corners red" in words
    assert "Every result was verified" not in words
