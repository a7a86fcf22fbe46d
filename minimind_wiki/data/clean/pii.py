"""Private data is masked, not dropped: e-mail, account, card, IP address and telephone number.

A pattern proposes, a check decides: account numbers (IBAN) by ISO 13616's remainder of 97, cards by
their check digit (Luhn 1954, US patent 2,950,048), IP addresses by the standard library's parser,
telephone numbers by E.164's length of 7 to 15 digits.
Rules miss names and addresses, and a mask is no proof of anonymity.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b")
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_PHONE = re.compile(
    r"""(?<![\w.+/-])(?:
        \+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,5}  # +49 30 1234567
      | \(\d{2,5}\)[ .-]?\d{2,4}(?:[ .-]?\d{2,4}){1,3}                      # (030) 123 4567
      | \d{3}([ .-])\d{3}\1\d{4}                                            # 212-555-0142
      | 0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}                                    # 0171 234 5678
      | 1[3-9]\d{9}                                                         # Chinese mobile
      | (?<=\bcall[ ])\d{3}[ -]\d{4} | (?<=\bphone[ ])\d{3}[ -]\d{4} | (?<=\btel[ ])\d{3}[ -]\d{4}
    )(?![\w-])""",
    re.X | re.I,
)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others.

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed([int(d) for d in digits])):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _is_iban(found: str) -> bool:
    """ISO 13616: the first four characters put last and letters as 10 to 35 leave 1 modulo 97."""
    compact = found.replace(" ", "")
    return (
        15 <= len(compact) <= 34
        and int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1
    )


def _is_card(found: str) -> bool:
    digits = re.sub(r"\D", "", found)
    return len(set(digits)) > 1 and luhn(digits)


def _is_ip(found: str) -> bool:
    try:
        return not ipaddress.ip_address(found).is_unspecified
    except ValueError:
        return False


def _is_phone(found: str) -> bool:
    digits = re.sub(r"\D", "", found)
    return 7 <= len(digits) <= 15 and len(set(digits)) > 1


_KINDS = (
    ("e-mail", "[EMAIL]", _EMAIL, lambda found: True),
    ("IBAN", "[IBAN]", _IBAN, _is_iban),
    ("card", "[CARD]", _CARD, _is_card),
    ("IP address", "[IP]", _IPV4, _is_ip),
    ("IP address", "[IP]", _IPV6, _is_ip),
    ("phone", "[PHONE]", _PHONE, _is_phone),
)

MASKS = {kind: mask for kind, mask, _, _ in _KINDS}


def find_pii(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) of each find, in order, in character places; no two overlap.

    >>> find_pii("Mail ann@example.org now.")
    [(5, 20, 'e-mail')]
    """
    taken, spans = bytearray(len(text)), []
    for kind, _, pattern, accept in _KINDS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if not any(taken[start:end]) and accept(match.group()):
                taken[start:end] = b"\1" * (end - start)
                spans.append((start, end, kind))
    return sorted(spans)


def mask_pii(text: str) -> tuple[str, Counter[str]]:
    """The text with each find replaced by its kind, and how many of each there were.

    >>> mask_pii("Mail ann@example.org or call +1 212-555-0142.")[0]
    'Mail [EMAIL] or call [PHONE].'
    """
    parts, at = [], 0
    spans = find_pii(text)
    for start, end, kind in spans:
        parts += [text[at:start], MASKS[kind]]
        at = end
    return "".join([*parts, text[at:]]), Counter(kind for _, _, kind in spans)
