"""Reads JSON that is JSON only by a forgiving reading, and splits a document into its parts, byte for byte as sent.

Half a surrogate pair, a byte that is not UTF-8, NaN, a number of any length, a control character in a text: a strict
parser refuses the whole document for one of them, wherever it is. Here only the part is refused that holds it, and that
only if its value is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_MEMBERS = 100
"""Most members of an envelope's object. No notification has as many."""
_MAX_ELEMENTS = 100_000
"""Most elements that a list is split into: splitting further would delay all other requests."""
_MAX_DIGITS = 30
"""Longest number that is converted: a long one takes long, and none that is used is so long."""

_MAX_FAULTS = 1_000
"""Most values of one document that are passed over although they are no JSON: each costs time."""
_MAX_FAULTY_CHARACTERS = 256 * 1024
"""Longest of them. No store's event is so long."""

_skip = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False).raw_decode
"""Finds the end of a value. Numbers stay text: they are not used."""
_blank = re.compile(r"[ \t\n\r]*").match
_tokens = re.compile(r'"(?:[^"\\]|\\.?)*+(")?|[\[\]{},]', re.DOTALL).finditer
"""Texts, whatever escapes they hold, and the characters that divide values. A text without an end matches too: looking
for another one at each quote in it would take time that grows with the square of its length."""
_dividers = re.compile(r"[\[\]{},]").finditer


@dataclass(frozen=True, slots=True)
class Envelope:
    """An object with a list of events in it, taken apart."""

    values: dict[str, str]
    """The text of each other member's value, by its name; of equal names the last."""
    elements: list[str] | None
    """The text of each element of the list, in order; None where there is no such list."""
    rest: str
    """What could not be taken apart: all from the first fault on, or what follows the object. Empty if all could."""


def take_apart(text: str, listed: str) -> Envelope:
    """Split an object into its members' values and the elements of the list that is named ``listed``.

    A list that comes twice is one list: a parser that takes the last of equal names would lose events.
    """
    document = _Document(text)
    values: dict[str, str] = {}
    elements: list[str] | None = None
    try:
        for name in document.names():
            if name == listed and document.is_at("["):
                elements = [] if elements is None else elements
                for element in document.elements():
                    elements.append(element)
            else:
                values[name] = document.value()
    except ValueError:
        pass
    return Envelope(values, elements, document.rest())


def forgiving_value(raw: bytes) -> object:
    """Decode a document. Bytes that are not UTF-8 become lone surrogates, as in Python's file names.

    Raises ValueError, RecursionError.
    """
    return _forgiving.decode(text_of(raw))


def text_of(raw: bytes) -> str:
    """Decode bytes so that ``bytes_of`` gives the same bytes back, whatever they are."""
    return raw.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """Encode what ``text_of`` decoded."""
    return text.encode("utf-8", "surrogateescape")


def _bounded_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float("inf")


_forgiving = json.JSONDecoder(parse_int=_bounded_integer, strict=False)


class _Document:
    """A position in a JSON text, up to which everything was taken apart."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._faults = 0

    def names(self) -> Iterator[str]:
        """Each member's name, before whose value the position then is. Raises ValueError."""
        self._expect("{")
        more = not self._closed("}")
        count = 0
        while more:
            count += 1
            if count > MAX_MEMBERS:
                raise ValueError(f"more than {MAX_MEMBERS} members")
            if not self.is_at('"'):
                raise ValueError("there is no name")
            name, end = _skip(self._text, self._position)
            self._position = end
            self._expect(":")
            yield str(name)
            more = self._more("}")

    def elements(self) -> Iterator[str]:
        """Each element's text. Raises ValueError."""
        self._expect("[")
        more = not self._closed("]")
        count = 0
        while more:
            count += 1
            if count > _MAX_ELEMENTS:
                raise ValueError(f"more than {_MAX_ELEMENTS} elements")
            yield self.value()
            more = self._more("]")

    def value(self) -> str:
        """The text of the value that is here, JSON or not. Raises ValueError where its end cannot be told."""
        self._pass_blank()
        start = self._position
        try:
            _, self._position = _skip(self._text, start)
        except (ValueError, RecursionError):
            self._position = self._end_of_fault(start)
        return self._text[start : self._position]

    def is_at(self, character: str) -> bool:
        """Whether this character comes next."""
        self._pass_blank()
        return self._text.startswith(character, self._position)

    def rest(self) -> str:
        """What was not taken apart."""
        return self._text[self._position :].strip(" \t\n\r")

    def _end_of_fault(self, start: int) -> int:
        """The end of a value that is no JSON, by its brackets. Raises ValueError."""
        self._faults += 1
        depth = 0
        for token in self._fault_tokens(start) if self._faults <= _MAX_FAULTS else ():
            character = token[0]
            depth += (character in ("[", "{")) - (character in ("]", "}"))
            if depth < 0 or (depth == 0 and character == ","):
                return token.start()
            if depth == 0 and character in ("]", "}"):
                return token.end()
        raise ValueError(f"the value at {start} does not end")

    def _fault_tokens(self, start: int) -> Iterator[re.Match[str]]:
        """Texts and dividers of a faulty value. A quote that opens no text divides nothing, and hides nothing."""
        end = start + _MAX_FAULTY_CHARACTERS
        for token in _tokens(self._text, start, end):
            if token[0].startswith('"') and token[1] is None:
                yield from _dividers(self._text, token.start() + 1, end)
                return
            yield token

    def _more(self, closing: str) -> bool:
        if self._closed(closing):
            return False
        self._expect(",")
        return True

    def _closed(self, closing: str) -> bool:
        closed = self.is_at(closing)
        self._position += closed
        return closed

    def _expect(self, character: str) -> None:
        if not self._closed(character):
            raise ValueError(f"{character} is missing at {self._position}")

    def _pass_blank(self) -> None:
        match = _blank(self._text, self._position)
        self._position = match.end() if match else self._position
