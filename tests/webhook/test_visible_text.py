"""Text from outside as it is shown: what acts on a screen or hides is written out."""

from __future__ import annotations

from webhook.visible_text import escaped


def test_what_acts_on_a_screen_is_written_out() -> None:
    assert escaped("a\x1b[2J\u202eb\u200b\n\tc") == "a\\x1b[2J\\u202eb\\u200b\n\tc"
    assert escaped("two\nlines", "") == "two\\nlines"


def test_letters_of_every_script_stay() -> None:
    assert escaped("naïve 🏕 日本 عربي") == "naïve 🏕 日本 عربي"
