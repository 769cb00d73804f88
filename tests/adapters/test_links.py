"""No link leads to another host than those of the list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bot.adapters.links import LinkPolicy
from bot.core.errors import LinkRefused

POLICY = LinkPolicy()
SIGNED = "https://cdn.discordapp.com/attachments/1/2/a%20b%2Fc.ogg?ex=65f&is=%2B&hm=0a+b&"


@pytest.mark.parametrize(
    "link",
    [
        SIGNED,
        "https://media.discordapp.net/attachments/1/2/x.mp4?ex=1",
        "https://cdn.discordapp.com",
        "https://cdn.discordapp.com/?x=https://evil.example/",
        "https://cdn.discordapp.com/a@b:c/..%2f",
    ],
)
def test_links_of_the_list_are_followed_to_the_letter(link: str) -> None:
    assert str(POLICY.checked(link)).rstrip("/") == link.rstrip("/")


def test_case_does_not_matter_and_fragments_are_not_sent() -> None:
    assert str(POLICY.checked("HTTPS://CDN.DiscordApp.com/A.ogg#t=1")) == "https://cdn.discordapp.com/A.ogg"


@pytest.mark.parametrize(
    "link",
    [
        "",
        "cdn.discordapp.com/x",
        "//cdn.discordapp.com/x",
        "/etc/passwd",
        "http://cdn.discordapp.com/x",
        "ftp://cdn.discordapp.com/x",
        "file:///etc/passwd",
        "file://cdn.discordapp.com/etc/passwd",
        "javascript:alert(1)",
        "data:audio/ogg;base64,AAAA",
        "https://evil.example/x",
        "https://cdn.discordapp.com.evil.example/x",
        "https://evil.example/cdn.discordapp.com",
        "https://evilcdn.discordapp.com/x",
        "https://discordapp.com/x",
        "https://cdn.discordapp.com./x",
        "https://cdn.discordapp.com:443/x",
        "https://cdn.discordapp.com:8443/x",
        "https://cdn.discordapp.com:/x",
        "https://user@cdn.discordapp.com/x",
        "https://user:pass@cdn.discordapp.com/x",
        "https://cdn.discordapp.com@evil.example/x",
        "https://cdn.discordapp.com:x@evil.example/x",
        "https://evil.example#@cdn.discordapp.com/x",
        "https://evil.example?@cdn.discordapp.com/x",
        "https://evil.example\\@cdn.discordapp.com/x",
        "https://cdn.discordapp.com\\@evil.example/x",
        "https://cdn.discordapp.com\\evil",
        "https:\\\\cdn.discordapp.com/x",
        "https:/cdn.discordapp.com/x",
        "https:///cdn.discordapp.com/x",
        "https://cdn.discordapp.com%2eevil.example/x",
        "https://cdn%2ediscordapp.com/x",
        "https://cdn.discordapp.com%00.evil.example/x",
        "https://cdn.discordapp。com/x",
        "https://cdn．discordapp.com/x",  # noqa: RUF001 - a stop of full width is the point
        "https://cdn.dіscordapp.com/x",  # noqa: RUF001 - a Cyrillic letter is the point
        "https://ｃｄｎ.discordapp.com/x",  # noqa: RUF001 - letters of full width are the point
        "https://xn--cdn-discordapp-com/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://localhost/x",
        "https://169.254.169.254/latest/meta-data/",
        " https://cdn.discordapp.com/x",
        "https://cdn.discordapp.com/x ",
        "https://cdn.discordapp.com/a b",
        "https://cdn.discordapp.com/x\n",
        "https://cdn.discordapp.com/x\r\nHost: evil.example",
        "https://cdn.discordapp.com\n.evil.example/x",
        "https://cdn.discordapp.com\t/x",
        "https://cdn.discordapp.com/\0",
        "https://cdn.discordapp.com/ä",
        "https://cdn.discordapp.com/" + "x" * 5000,
    ],
)
def test_every_other_link_is_refused(link: str) -> None:
    with pytest.raises(LinkRefused):
        POLICY.checked(link)


@given(
    st.text(alphabet=st.sampled_from("htps:/\\@.#?%2e0[]cdn-iorap\n\t\u3002 "), max_size=60)
    | st.builds("https://{}cdn.discordapp.com{}".format, st.text(max_size=8), st.text(max_size=8))
)
def test_whatever_passes_leads_to_the_list(link: str) -> None:
    try:
        url = POLICY.checked(link)
    except LinkRefused:
        return
    assert (url.scheme, url.host, url.port, url.user) in {
        ("https", "cdn.discordapp.com", 443, None),
        ("https", "media.discordapp.net", 443, None),
    }


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b.ogg?s=%2B", "https://cdn.discordapp.com/b.ogg?s=%2B"),
        ("b.ogg", "https://cdn.discordapp.com/attachments/b.ogg"),
        ("https://media.discordapp.net/b.ogg", "https://media.discordapp.net/b.ogg"),
        ("//evil.example/b.ogg", None),
        ("https://evil.example/b.ogg", None),
        ("http://cdn.discordapp.com/b.ogg", None),
        ("file:///etc/passwd", None),
        ("", "https://cdn.discordapp.com/attachments/a.ogg"),
    ],
)
def test_redirects_are_held_to_the_same_rule(location: str, leads_to: str | None) -> None:
    here = URL("https://cdn.discordapp.com/attachments/a.ogg")
    if leads_to is None:
        with pytest.raises(LinkRefused):
            POLICY.redirected(here, location)
    else:
        assert str(POLICY.redirected(here, location)) == leads_to
