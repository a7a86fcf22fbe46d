"""Web pages around a text: navigation, banners, buttons, advertisements, comments, footers.

Three builds as they are found: tags that say what they are, plain boxes with class names, and a
table with line breaks. What is around the text is made here, so that it is known what must go.
"""

from __future__ import annotations

from html import escape

from minimind_wiki.data.world.chooser import Chooser

_NAV = ("Home", "News", "Village life", "Weather", "Market days", "Contact us", "About", "Archive",
        "Sign in", "Register", "Shop", "Help", "Photos", "Events", "Sports")  # fmt: skip
_COOKIES = (
    "We use cookies to give you the best experience. Accept all Reject Settings",
    "This site stores cookies. By going on you agree to our privacy policy.",
    "Your privacy matters to us. We and our 214 partners store information on your device to show "
    "you personalised advertisements and to measure them. You can change your choice at any time.",
)
_SHARE = ("Share", "Tweet", "Pin it", "E-mail this", "Print", "Copy link", "Like 27")
_ADS = (
    "Advertisement",
    "Sponsored: boots that never leak, now at half the price",
    "Ad. Doctors are baffled by this one trick with a spoon. Find out more",
    "Subscribe to our newsletter and never miss a story again",
)
_COMMENTS = (
    "Lovely, thank you for this.",
    "First!",
    "I don't believe a word of it.",
    "My grandmother used to tell the same thing, only that it was a goat and it happened in June.",
    "Does anybody know whether the road is open again? I was there last week and had to go back "
    "because of the snow, and nobody at the inn could tell me anything about it.",
    "Great post, keep it up!!!",
    "Has this been in the paper before? It sounds familiar.",
)
_FOOTERS = (
    "© 2021 Village Gazette. All rights reserved.",
    "Copyright 2019. Terms of use. Privacy. Imprint. Made with love and much coffee.",
    "All texts on this site are the property of their owners. Reproduction, even in parts, is "
    "only allowed with the written consent of the publisher. Prices include tax where it is due.",
)
_RELATED = ("Ten barns you must see", "Who lost the bell?", "The weather for the weekend",
            "Old recipes, new spoons", "A bridge is painted", "What the miller knew",
            "Seven signs of rain", "Where the geese go")  # fmt: skip
LAYOUTS = ("semantic", "boxes", "table")


def _some(c: Chooser, options: tuple[str, ...], least: int, most: int) -> list[str]:
    left, found = list(options), []
    for _ in range(c.pick(range(least, most + 1))):
        found.append(left.pop(int(c._random() * len(left))))
    return found


def _links(c: Chooser, texts: list[str]) -> str:
    return "\n".join(
        f'<li><a href="/{c.pick(range(999))}.html">{escape(t)}</a></li>' for t in texts
    )


def _body(c: Chooser, paragraphs: list[str], joint: str) -> str:
    told = []
    for paragraph in paragraphs:
        text = escape(paragraph, quote=False).replace("'", c.pick(("'", "&#39;", "'")))
        words = text.split(" ")
        if len(words) > 12 and c.pick(range(3)) == 0:  # a link or emphasis inside the text
            at = c.pick(range(3, len(words) - 3))
            tag = c.pick(('a href="#note"', "em", "b", "span"))
            if words[at].isalpha() and words[at + 1][0].isalpha():  # not into a number or address
                words[at] = f"<{tag}>{words[at]}</{tag.split()[0]}>"
        told.append(" ".join(words))
    return joint.join(told)


def _comments(c: Chooser, tag: str) -> str:
    return "\n".join(
        f"<{tag}>{escape(user)} wrote on day {c.pick(range(1, 31))}:</{tag}>"
        f"<{tag}>{escape(text, quote=False)}</{tag}>"
        for user, text in zip(_some(c, ("otter77", "Mrs K.", "anon", "JoF"), 2, 3),
                              _some(c, _COMMENTS, 3, 4), strict=False)
    )  # fmt: skip


def web_page(c: Chooser, title: str, paragraphs: list[str]) -> str:
    """HTML whose content is the title as a heading and the paragraphs."""
    layout, name = c.pick(LAYOUTS), escape(title, quote=False)
    nav, related = _links(c, _some(c, _NAV, 4, 9)), _links(c, _some(c, _RELATED, 2, 5))
    cookies, footer = escape(c.pick(_COOKIES)), escape(c.pick(_FOOTERS))
    share = " ".join(f'<a href="#">{t}</a>' for t in _some(c, _SHARE, 2, 5))
    ad, comments = escape(c.pick(_ADS)), c.pick((True, False))
    script = "<script>var a = 1; if (a < 2) { track('view'); }</script>"
    head = (f"<!DOCTYPE html>\n<html><head><title>{name} | Village Gazette</title>\n"
            f"<style>p {{ margin: 0 }}</style>{script}</head>\n<body>\n")  # fmt: skip
    if layout == "semantic":
        text = _body(c, paragraphs, "</p>\n<p>")
        extra = f"<section><h3>Comments</h3>{_comments(c, 'p')}</section>" if comments else ""
        return (f"{head}<header><nav><ul>{nav}</ul></nav></header>\n"
                f'<aside class="cookies">{cookies}</aside>\n<main><article><h1>{name}</h1>\n'
                f"<p>{text}</p>\n</article><div>{share}</div><aside>{ad}</aside>\n{extra}"
                f"<h3>Read on</h3><ul>{related}</ul></main>\n<footer>{footer}</footer>\n"
                "</body></html>")  # fmt: skip
    if layout == "boxes":
        paragraphs = list(paragraphs)
        middle = f'</div>\n<div class="ad-box">{ad}</div>\n<div class="text">'
        cut = len(paragraphs) // 2 or 1
        text = _body(c, paragraphs[:cut], '</div>\n<div class="text">')
        if paragraphs[cut:]:
            text += middle + _body(c, paragraphs[cut:], '</div>\n<div class="text">')
        extra = f'<div id="comments"><div>Comments</div>{_comments(c, "div")}</div>'
        return (f'{head}<div class="cookie-banner">{cookies}</div><div id="menu"><ul>{nav}</ul>'
                f'</div>\n<div class="post"><h2>{name}</h2>\n<div class="text">{text}</div>\n'
                f'<div class="share">{share}</div></div>\n{extra if comments else ""}'
                f'<div class="related"><ul>{related}</ul></div>\n<div id="footer">{footer}</div>'
                f"\n</body></html>")  # fmt: skip
    links = " | ".join(f'<a href="/">{t}</a>' for t in _some(c, _NAV, 4, 8))
    text = _body(c, paragraphs, "<br><br>\n")
    return (f"{head}<table><tr><td colspan=2>{links}</td></tr>\n<tr><td><font size=1>{ad}</font>"
            f"<ul>{related}</ul></td><td><h1>{name}</h1>{text}<hr>{share}</td></tr>\n"
            f"<tr><td colspan=2><small>{footer}</small></td></tr></table>\n"
            "</body></html>")  # fmt: skip
