"""Renders the contact sheet: one HTML file with each photo, its thumbnails and its metadata.

Names and EXIF are untrusted input: every text is escaped, and the page may load or run nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

import pyvips

from infra.demo.inventory import Inventory, PhotoResult
from infra.demo.photos import ExpectedResult, SamplePhoto
from infra.demo.placeholder import placeholder_png
from infra.demo.report import DemoReport, explained_counts
from infra.demo.results import StoredObject
from infra.demo.sample_images import Colour
from infra.demo.watch import ParkedPhoto

_EMBEDDED_BYTES = 256 << 10
"""A larger original is shown by a preview."""
_PREVIEW_PIXELS = 640
_SHOWN_BY_BROWSERS = frozenset({"image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"})
_EXCERPT_CHARACTERS = 400
_SEEN = 3
"""Labels of each check that are shown."""
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_STATES = {
    "done": ("done", "All results were published."),
    "parked": ("set aside", "Parked with a reason, since it cannot be handled. It held no other photo up."),
    "missing": ("missing", "It has no result."),
}
_EXPLAINED = {
    "EXIF orientation": "How the camera was held, 1 to 8; 1 is upright.",
    "ThumbHash": "The placeholder in the form in which an app stores it.",
    "ETag": "The store's fingerprint of the content.",
    "safety": "What a model makes of it: ok, review by a person, or refused; and how sure it is of each label.",
    "labels": "What a model sees in it, and how sure it is. It has learned 1,000 things, and a yurt is none of them.",
    "worker": "How long each step took.",
    "versions": "Uploads under this name. Only the last one counts.",
}


def render_sheet(inventory: Inventory, report: DemoReport, problems: Sequence[str]) -> str:
    """The HTML of the page."""
    style = resources.files("infra.demo").joinpath("sheet.css").read_text()
    cards = "\n".join(_card(result, inventory) for result in inventory.results)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Yurt demo: contact sheet</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{len(inventory.results)} photos, from upload to result</h1>
<p class="lead">Uploaded to {_text(inventory.pipeline.input)}. The bucket announced them out of order, some twice and
some late; workers were started for them and ended after. Results are in {_text(inventory.pipeline.output)}.</p>
{_verdict(problems)}
<dl class="numbers">
{_headlines(report)}
</dl>
{_all_numbers(report, inventory)}
{_legend()}
{cards}
</main>
</body>
</html>
"""


def _verdict(problems: Sequence[str]) -> str:
    if not problems:
        return '<p class="verdict">Every result was verified.</p>'
    listed = "".join(f"<li>{_text(problem)}</li>" for problem in problems)
    return f'<p class="verdict wrong">{_wrong(len(problems))}</p><ul class="faults">{listed}</ul>'


def _wrong(number: int) -> str:
    return "One thing is wrong." if number == 1 else f"{number} things are wrong."


def _legend() -> str:
    """Explain the squares in the corners of every photo."""
    places = ((0, 0), (37, 0), (37, 21), (0, 21))  # clockwise from the top left, as the colours are
    squares = "".join(
        f'<rect x="{x}" y="{y}" width="11" height="11" fill="rgb{colour.value}"/>'
        for (x, y), colour in zip(places, Colour, strict=True)
    )
    return f"""<p class="legend"><svg viewBox="0 0 48 32" role="img" aria-label="A coloured square in each corner">
<rect width="48" height="32" class="frame"/>{squares}</svg>
<span>Each photo has a coloured square in each corner. Where a picture is the right way up they are, clockwise from
the top left, <b>{", ".join(colour.name.lower() for colour in Colour)}</b>. Originals are shown as they were stored, so
some lie on their side or are mirrored; results have to be upright. In overwritten.jpg the squares tell its versions
apart.</span></p>"""


def _headlines(report: DemoReport) -> str:
    latency = report.upload_to_result_ms
    pairs = (
        ("uploads", report.uploads),
        ("photos with results", report.done),
        ("set aside, with the reason", report.parked),
        *((("checked by models", sum(report.verdicts.values())),) if report.verdicts else ()),
        ("workers started and ended", report.minted),
        ("upload to result, half within", _duration(latency.p50)),
        ("in all", f"{report.seconds:.0f} s"),
    )
    return "\n".join(f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in pairs)


def _all_numbers(report: DemoReport, inventory: Inventory) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(number)}</td><td>{_text(note)}</td></tr>'
        for name, number, note in explained_counts(report, inventory)
    )
    return f'<details class="all"><summary>All numbers, and what they mean</summary><table>{rows}</table></details>'


def _card(result: PhotoResult, inventory: Inventory) -> str:
    state = "parked" if result.parked else "done" if result.manifest else "missing"
    label, meaning = _STATES[state]
    return f"""<article class="{state}">
<header class="photo"><h2><bdi>{_text(result.photo.name)}</bdi></h2><p>{_text(result.photo.purpose)}</p>
<span class="badge {state}" title="{meaning}">{label}</span></header>
<div class="row">
{_original(result.photo)}
{_why(result.parked) if result.parked else _pictures(result, inventory)}
{_facts(result)}
</div>
</article>"""


def _original(photo: SamplePhoto) -> str:
    caption = f"Original: {photo.content_type}, {_size(len(photo.content))}"
    shown = photo.content_type in _SHOWN_BY_BROWSERS and _is_picture(photo.content)
    if shown and len(photo.content) <= _EMBEDDED_BYTES:
        return _figure(photo.content, photo.content_type, caption, "stored")
    preview = _preview(photo.content)
    if preview is None:
        excerpt = photo.content[:_EXCERPT_CHARACTERS].decode(errors="replace")
        return f"<figure><pre>{_text(excerpt)}</pre><figcaption>{_text(caption)}</figcaption></figure>"
    return _figure(preview, "image/webp", f"{caption}; shown by a preview", "stored")


def _is_picture(content: bytes) -> bool:
    try:
        pyvips.Image.new_from_buffer(content, "")
    except pyvips.Error:
        return False
    return True


def _preview(content: bytes) -> bytes | None:
    """A small WebP of the pixels as they are stored. None: the file is no picture."""
    try:
        image = pyvips.Image.thumbnail_buffer(
            content, _PREVIEW_PIXELS, size="down", no_rotate=True, output_profile="srgb"
        )
        return bytes(image.colourspace("srgb").cast("uchar").webpsave_buffer(Q=80, effort=0, keep="none"))
    except pyvips.Error:
        return None


def _pictures(result: PhotoResult, inventory: Inventory) -> str:
    sizes = sorted(inventory.options.sizes, reverse=True)
    # Thirty pictures of the largest size would make the file too large to open.
    shown = [(f"{size}.webp", result.outputs.get(f"{size}.webp")) for size in sizes[1:3] or sizes]
    figures = "".join(_thumbnail(name, stored) for name, stored in shown if stored)
    return f'<div class="pictures">{figures or "<p>No thumbnails.</p>"}{_placeholder(result)}</div>'


def _placeholder(result: PhotoResult) -> str:
    """The picture that an app shows while the photo loads."""
    picture = placeholder_png(str(result.metadata.get("thumbhash")))
    return _figure(picture, "image/png", "placeholder, shown while it loads", "blurred") if picture else ""


def _thumbnail(name: str, stored: StoredObject) -> str:
    return _figure(stored.content, "image/webp", f"{name}, {_size(len(stored.content))}")


def _figure(content: bytes, content_type: str, caption: str, kind: str = "") -> str:
    data = base64.b64encode(content).decode()
    return (
        f'<figure class="{kind}"><img alt="" src="data:{content_type};base64,{data}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _why(parked: ParkedPhoto) -> str:
    return f'<p class="why"><b>Set aside.</b> {_text(parked.message or parked.reason)}</p>'


def _facts(result: PhotoResult) -> str:
    details = _list([*_handling(result), ("ETag", result.etag or "–")])
    return f"<div>{_list(_known(result))}<details><summary>Details</summary>{details}</details></div>"


def _list(pairs: Iterable[tuple[str, object]]) -> str:
    rows = "".join(f"<dt{_tooltip(name)}>{_text(name)}</dt><dd>{_marked(name, value)}</dd>" for name, value in pairs)
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def _tooltip(name: str) -> str:
    return f' title="{_text(_EXPLAINED[name])}"' if name in _EXPLAINED else ""


def _known(result: PhotoResult) -> Iterable[tuple[str, object]]:
    """What anyone who takes photos knows."""
    if metadata := result.metadata:
        yield "size", f"{metadata.get('width')} × {metadata.get('height')}"
        yield "format", metadata.get("format")
        yield "taken", str(metadata.get("captured_at") or "–").replace("T", " ")
        yield "camera", _camera(metadata.get("camera")) or "–"
        yield "colour", metadata.get("dominant_colour")
        yield from _checks(metadata)
    if result.photo.earlier:
        yield "versions", f"{len(result.photo.earlier) + 1}; this is the last"


def _handling(result: PhotoResult) -> Iterable[tuple[str, object]]:
    """What a developer looks for."""
    if metadata := result.metadata:
        yield "EXIF orientation", metadata.get("orientation")
        yield "ThumbHash", metadata.get("thumbhash")
    if result.parked:
        yield "reason", result.parked.reason
    if isinstance(result.photo.expected, ExpectedResult) and (manifest := result.manifest):
        timings = manifest.seconds
        steps = (("fetched", timings.fetch), ("handled", timings.handle), ("published", timings.publish))
        yield "worker", ", ".join(f"{step} in {_duration(seconds * 1000)}" for step, seconds in steps)


def _checks(metadata: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    """A row for each model: its verdict, where it gives one, and what it sees."""
    for check in metadata.get("checks", ()):
        seen = ", ".join(f"{each['label']} {each['score']:.0%}" for each in check["labels"][:_SEEN])
        yield check["name"], f"{check['verdict']}: {seen}" if check["verdict"] else seen


def _camera(camera: object) -> str:
    parts = camera.values() if isinstance(camera, dict) else ()
    return ", ".join(str(part) for part in parts if part)


def _marked(name: str, value: object) -> str:
    if name == "colour" and _COLOUR.fullmatch(str(value)):
        return f'<span class="swatch" style="background:{value}"></span>{value}'
    return _text(value)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1000:.0f} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def _text(value: object) -> str:
    return escape(str(value))
