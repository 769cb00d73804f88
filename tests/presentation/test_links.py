from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.presentation.links import unmasked

# As loose as any parser of Markdown: a closing bracket, and right after it an address in parentheses.
MASKED = re.compile(r"\]\(\s*<?\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@pytest.mark.parametrize(
    "written",
    [
        "[free money](https://evil.example/x)",
        "[a](<https://evil.example>)",
        "[a]( https://evil.example)",
        "[a](javascript:alert)",
        "[a[b]c](https://evil.example/)",
        r"[pri\]ze](https://evil.example)",
        "[![picture](https://a.example)](HTTPS://b.example)",
        '[a](https://evil.example "https://good.example")',
    ],
)
def test_no_name_hides_where_a_link_leads(written: str) -> None:
    shown = unmasked(written)
    assert not MASKED.search(shown)
    assert shown.replace("\u200b", "") == written, "nothing is lost"


@pytest.mark.parametrize("written", ["[0:12] said (so)", "f(x)[1](2)", "https://good.example", "**bold** `a](b`"])
def test_what_is_no_link_stays(written: str) -> None:
    assert unmasked(written) == written


@given(st.text(alphabet="[](): <>\\\nabhtps/", max_size=60))
def test_whatever_is_written(written: str) -> None:
    assert not MASKED.search(unmasked(written))
