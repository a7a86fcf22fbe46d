"""Sentences with private data that belongs to nobody, and sentences that only look like it.

Every value is from a range set aside for examples: example.com (RFC 2606), 192.0.2.0/24,
198.51.100.0/24 and 203.0.113.0/24 (RFC 5737), 2001:db8::/32 (RFC 3849), 555-0100 to 555-0199 (North
American numbering plan), 020 7946 0000 to 0999 (Ofcom's numbers for drama), the card networks'
published test numbers, and example IBANs of the registry of ISO 13616.
"""

from __future__ import annotations

from collections.abc import Callable

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.words import HER_NAMES

MASKS = {
    "e-mail": "[EMAIL]", "card": "[CARD]", "IP address": "[IP]", "phone": "[PHONE]",
    "IBAN": "[IBAN]",
}  # fmt: skip
CARDS = ("4111 1111 1111 1111", "4242424242424242", "5555-5555-5555-4444", "378282246310005",
         "6011 1111 1111 1117")  # fmt: skip
IBANS = ("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606",
         "NL91 ABNA 0417 1643 00", "CH9300762011623852957")  # fmt: skip


def _name(c: Chooser) -> str:
    return c.pick(HER_NAMES).lower()


def _email(c: Chooser) -> str:
    host = c.pick(("example.com", "example.org", "mail.example.net", "sub.example.com"))
    style = c.pick(("{a}@{h}", "{a}.{b}@{h}", "{a}+news@{h}", "{a}_{n}@{h}", "{a} (at) {h}"))
    return style.format(a=_name(c), b=_name(c), n=c.pick(range(10, 99)), h=host)


def _ip(c: Chooser) -> str:
    if c.pick(range(5)) == 0:
        return f"2001:db8::{c.pick(range(1, 4000)):x}"
    return f"{c.pick(('192.0.2', '198.51.100', '203.0.113'))}.{c.pick(range(1, 255))}"


def _phone(c: Chooser) -> str:
    last = c.pick(range(100))
    style = c.pick(("212-555-01{:02d}", "(212) 555-01{:02d}", "+1 212 555 01{:02d}",
                    "+44 20 7946 09{:02d}", "020 7946 09{:02d}", "+1-907-555-01{:02d}",
                    "202.555.01{:02d}"))  # fmt: skip
    return style.format(last)


_MAKERS: dict[str, tuple[Callable[[Chooser], str], tuple[str, ...]]] = {
    "e-mail": (_email, (
        "Whoever knows more may write to {}.", "Letters reach the mill at {} all year round.",
        "Her address, {}, stood on the back of the card.", "Please answer to {}, not to me.")),
    "phone": (_phone, (
        "Call {} if you find it.", "The inn can be reached under {} until nine.",
        "She left her number ({}) with the baker.", "For the ferry ring {} in the morning.")),
    "IP address": (_ip, (
        "The visit came from {} shortly after midnight.", "User at {} changed the page twice.",
        "The library's machine answers at {}.")),
    "card": (lambda c: c.pick(CARDS), (
        "He paid with the card {} and went home.", "The number on the lost card was {}.",)),
    "IBAN": (lambda c: c.pick(IBANS), (
        "The parish collects for the bridge on the account {}.", "Send the rent to {} by Monday.")),
}  # fmt: skip
KINDS = tuple(_MAKERS)

_LOOKALIKES = (
    "The edition with the number ISBN 978-3-16-148410-0 lies in the school.",
    "The ledger for the years 1914-1918 and 1939-1945 was never found.",
    "On 2024-05-17 at 10:45:30 the gauge at the bridge showed 3.14159 feet.",
    "Order 4111 1111 1111 1112 was never paid, as its number is not a real one.",
    "She wrote @ instead of at, as in 3 apples @ 2 pence, and signed as @miller.",
    "The parcel number 1000200030004000500060 stood on the label.",
    "Release 2.10.4 of the program came out after 2.9.17.",
    "In paragraph 7.3.2.1 of the rules the council says who may fish.",
    "About 1 250 300 people live in the whole country, and 150 of them here.",
    "The sum 555 + 0142 was written on the board as 555+0142.",
    "Write to name@ and then the house, the form said, but nobody knew how.",
    "The clock counted 00:12:34:56 and stopped.",
)


def private_sentence(c: Chooser) -> tuple[str, str, str]:
    """A sentence, the kind of private data in it, and the value as it stands there."""
    kind = c.pick(KINDS)
    make, frames = _MAKERS[kind]
    value = make(c)
    return c.pick(frames).format(value), kind, value


def lookalike(c: Chooser) -> str:
    """A sentence with a number or sign that is nobody's."""
    return c.pick(_LOOKALIKES)
