"""The units of numbers in texts: currencies, per cents, magnitudes and whatever else measures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.draft.sample.sample import TOLERATED

MOST_UNITS = 8
"""More units than this make an address, a name or a sentence of what begins with a number."""
LISTED = 3
"""How many texts a sentence quotes."""
BLANKS = " \t\u00a0\u2009\u202f"
_PARTS = (
    r"(?s)\A(?P<before>[^0-9]*?)"
    r"(?P<digits>[.,]?[0-9](?:[0-9.,' \x{a0}\x{2009}\x{202f}\x{2019}]*[0-9])?(?:[eE][-+]?[0-9]+)?)"
    r"(?P<after>(?:[^0-9].*)?)\z"
)
SYMBOLS = "$€£¥₹₩₽₺₪₫₱฿₦₴₿¢"
_CODES = (
    "USD EUR GBP CHF JPY CNY INR CAD AUD NZD SEK NOK DKK ISK PLN CZK HUF RON BGN RUB UAH TRY BRL "
    "MXN ARS CLP COP PEN ZAR NGN KES EGP ILS AED SAR HKD SGD TWD KRW THB IDR MYR PHP VND PKR BDT "
    "LKR RMB BTC"
)
_MONEY = re.compile(
    rf"(?:[A-Z]{{0,3}}[{SYMBOLS}]|{'|'.join(_CODES.split())}|R\$|Rs\.?|kr\.?|Kč|zł|Fr\.?|Lei|Ft|kn"
    r"|[.,][-\u2013\u2014])"
)
_SHARES = {"%", "‰", "pct", "pct.", "percent", "per cent", "prozent", "pour cent", "por ciento"}
_WORD = re.compile(
    r"(?:[^\W\d_]|[°µ\"\u2033'\u2032])(?:[^\W\d_]|[²³/.%^*·]){0,11}[23]?(?: [^\W\d_]{1,8}\.?)?"
)
_FRACTION = re.compile(r"\A[²³¹]|[¼-¾⅐-⅟↉]")
"""What belongs to the number before it: 5½ is no 5 with a unit."""
_KNOWN = (
    "kg g mg µg t lb lbs oz km m cm mm mi ft in yd l ml cl dl gal kwh mwh wh kw mw w v a hz ghz",
    "mhz b kb mb gb tb °c °f °k h hr hrs hour hours min mins minute minutes s sec secs ms",
    "d day days week weeks month months year years yr yrs mo y m² m2 ha ac sqft kcal cal",
    "ppm bpm mmhg db px pcs km/h mph kmh kmpl km/l km/kg mpg l/100km bhp hp ps cc rpm nm",
)
"""Units that may differ from row to row in a column of amounts, in lower case."""
_MAGNITUDES = (
    "k m b t bn mn mio mio. mrd mrd. million millions billion tsd thousand lakh cr crore",
)
_SCALES = {"K", "M", "B"}
"""Magnitudes in upper case, which may touch the digits."""
_NO_SCALE = {"m", "b", "t"}
"""Magnitudes that are units as well, as m is for metres, if all numbers have the same one."""


@dataclass(frozen=True)
class Units:
    """The units of distinct numbers.

    Attributes:
        pairs: The units before and after each number, `[N]`.
    """

    pairs: list[tuple[str, str]]

    @property
    def distinct(self) -> tuple[str, ...]:
        """The units, each once."""
        return tuple(sorted({u for pair in set(self.pairs) for u in pair if u}))

    @property
    def are_one(self) -> bool:
        """Whether all numbers have the same unit, or the same two."""
        return len({u.casefold() for u in self.distinct}) <= 1 or len(set(self.pairs)) == 1

    @property
    def are_money(self) -> bool:
        """Whether all units are currencies."""
        return all(_MONEY.fullmatch(u) for u in self.distinct)

    @property
    def are_shares(self) -> bool:
        """Whether all units are per cents or the like."""
        return all(u.casefold() in _SHARES for u in self.distinct)

    @property
    def are_known(self) -> bool:
        """Whether all units are units, and not any words."""
        return len(self.distinct) <= MOST_UNITS and all(map(_is_known, self.distinct))

    @property
    def scales(self) -> tuple[str, ...]:
        """The units that say by how much a number is to be multiplied."""
        exempt = _NO_SCALE if self.are_one else set()
        scales = _words(_MAGNITUDES) - exempt
        return tuple(u for u in self.distinct if scales & set(u.casefold().split()))

    def bare_share(self, counts: np.ndarray, digits: pa.Array) -> float:
        """Returns the share of the cells whose number has no unit, besides 0."""
        is_zero = pc.match_substring_regex(digits, pattern=r"\A[0.,]+\z").to_numpy(
            zero_copy_only=False
        )
        bare = np.array([pair == ("", "") for pair in self.pairs], bool) & ~is_zero
        return float(counts[bare].sum() / counts.sum())


def number_parts(values: pa.Array) -> tuple[Units, pa.Array, np.ndarray] | None:
    """Returns the units of the numbers, the digits of all values, and which are no numbers.

    Returns None if there are too many units to be any.
    """
    parts = pc.extract_regex(values, pattern=_PARTS)
    before, digits, after = (parts.field(name) for name in ("before", "digits", "after"))
    dotted = pc.and_(  # the dot of Rs.500 belongs to the unit
        pc.match_substring_regex(before, pattern=r"\pL\z"),
        pc.match_substring_regex(digits, pattern=r"\A\."),
    )
    before = pc.if_else(dotted, pc.binary_join_element_wise(before, ".", ""), before)
    digits = pc.if_else(dotted, pc.utf8_slice_codeunits(digits, 1), digits)
    before = pc.utf8_trim(before, characters=BLANKS + "+-\u2212(")
    dashed = pc.match_substring_regex(after, pattern=r"\A[.,][-\x{2013}\x{2014}]")
    after = pc.if_else(dashed, after, pc.utf8_trim(after, characters=BLANKS + "-\u2212()"))
    after = pc.utf8_trim(after, characters=BLANKS)
    joined = pc.binary_join_element_wise(before, after, "\x1f").dictionary_encode()
    texts = joined.dictionary.to_pylist()
    if len(texts) > len(values) / 2 and len(texts) > 2 * MOST_UNITS:
        return None
    pairs = [tuple(text.split("\x1f")) for text in texts]
    # Where a letter in upper case touches the digits, as in 12B, they are a name.
    touching = pc.match_substring_regex(values, pattern=r"[0-9]\p{Lu}").to_numpy(
        zero_copy_only=False
    )
    valid = np.array([*(_are_units(*pair) for pair in pairs), False], bool)
    no_name = [bool(_MONEY.fullmatch(pair[1]) or pair[1] in _SCALES) for pair in pairs]
    codes = np.asarray(pc.fill_null(joined.indices, len(pairs)).to_numpy())
    odd = ~valid[codes] | (touching & ~np.array([*no_name, False], bool)[codes])
    return Units([pairs[code] for code in codes[~odd]]), digits, odd


def _are_units(before: str, after: str) -> bool:
    """Whether texts before and after a number may be its units; a word before it is its name."""
    if before and not (_MONEY.fullmatch(before) or before.casefold() in _SHARES):
        return False
    if _FRACTION.search(after):
        return False
    return not after or bool(_is_known(after) or _WORD.fullmatch(after))


def _is_known(unit: str) -> bool:
    """Whether a text is a unit by itself, or several: per cents, money, kg, Mio. €."""
    known = _words(_KNOWN) | _words(_MAGNITUDES)
    return unit.casefold() in _SHARES or all(
        _MONEY.fullmatch(word) or word.casefold() in known for word in unit.split()
    )


@cache
def _words(lines: tuple[str, ...]) -> set[str]:
    return {word for line in lines for word in line.split()}


def why_not_one(units: Units, bare: float) -> tuple[str, str]:
    """Returns why numbers with units are not one amount, and when they are; empty: they are."""
    if units.scales:
        why = f"its numbers are to be multiplied by {listed(units.scales)}"
        return why, "If it is the same for all" if units.are_one and not bare else ""
    if not units.are_one:
        return f"the units {listed(units.distinct)} differ", "If they mean the same"
    if bare > TOLERATED and not units.are_money:
        why = f"some values have the unit {listed(units.distinct)}, and others have none"
        return why, "If all have that unit"
    return "", ""


def listed(texts: tuple[str, ...]) -> str:
    """Returns the first of some texts, quoted, and how many more there are."""
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return (", " if more else " and ").join(map(repr, texts[:LISTED])) + more
