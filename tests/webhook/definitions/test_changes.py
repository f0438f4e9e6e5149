from __future__ import annotations

from webhook.definitions.changes import changes
from webhook.ledger.definitions import Sets


def test_each_setting_that_differs_is_named_with_both_values() -> None:
    before: Sets = {
        ("pipelines", "same"): {"pool": "a"},
        ("pipelines", "photos"): {"pool": "a", "limits": {"memory_bytes": 1, "input_bytes": 2}, "options": {}},
        ("pools", "gone"): {"slots": 2},
    }
    after: Sets = {
        ("pipelines", "same"): {"pool": "a"},
        ("pipelines", "photos"): {"pool": "b", "limits": {"memory_bytes": 1}, "options": {"x": None}},
        ("models", "new"): {"source": "s3://a/b"},
    }
    found = {
        (each.kind, each.name, each.change): {field.field: (field.before, field.after) for field in each.fields}
        for each in changes(before, after)
    }
    assert found == {
        ("models", "new", "added"): {"source": (None, "s3://a/b")},
        ("pipelines", "photos", "changed"): {
            "pool": ("a", "b"), "limits.input_bytes": (2, None), "options": ({}, None), "options.x": (None, None),
        },
        ("pools", "gone", "removed"): {"slots": (2, None)},
    }  # fmt: skip
    assert changes(after, after) == []
