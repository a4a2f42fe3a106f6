"""Numbers as people write them: rewritten, by the spelling of their column, as pyarrow reads them.

A text that does not fit the spelling is left out, and never read as another number: with commas
between thousands, `1,5` and `0,123` most likely hold a decimal comma.
"""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from quatrain.trainer.features.text_format import Spelling

_BLANK = r"[ \t\x{a0}\x{2009}\x{202f}]"
_BLANKS = rf"{_BLANK}*"
_MINUS = r"[-\x{2212}]"
_GAPS = {" ": r"[ \x{a0}\x{2009}\x{202f}]", "'": r"['\x{2019}]", ",": ",", ".": r"\."}
"""What may stand between thousands, by the character that declares it."""
_ALIKE = {"\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2019": "'"}
"""Characters that mean the same as another one of `_GAPS`."""


def plain_numbers(text: pa.Array, type_: str, spelling: Spelling) -> pa.Array:
    """Returns numbers as pyarrow reads them, `[N] string`; null where a text is none.

    The unit, the separators of thousands, brackets and signs that pyarrow does not know are gone;
    nothing is scaled.
    """
    rewriting, number, gap, decimal = _patterns(type_, spelling)
    fits = pc.match_substring_regex(text, pattern=number)
    if pc.all(fits).as_py() is False:  # which is seldom, and takes as long as all else
        for pattern, replacement in rewriting:
            text = pc.replace_substring_regex(text, pattern=pattern, replacement=replacement)
        fits = pc.match_substring_regex(text, pattern=number)
    plain = pc.if_else(fits, text, None)
    plain = pc.replace_substring_regex(plain, pattern=number, replacement=r"\1\2\3")
    if gap:
        plain = pc.replace_substring_regex(plain, pattern=gap, replacement="")
    if decimal == ",":
        plain = pc.replace_substring(plain, pattern=",", replacement=".")
    plain = pc.replace_substring_regex(plain, pattern=r"\A\+", replacement="")
    return pc.replace_substring_regex(plain, pattern=rf"\A{_MINUS}", replacement="-")


def spelling_in_words(spelling: Spelling) -> str:
    """Returns how a spelling writes its numbers, for the message about a text that is none."""
    units = " or ".join(map(repr, spelling.unit))
    parts = [
        f"{word} {value}"
        for word, value in (
            ("decimal", spelling.decimal and repr(spelling.decimal)),
            ("thousands", spelling.thousands and repr(spelling.thousands)),
            ("unit", units),
        )
        if value
    ]
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


@lru_cache
def _patterns(type_: str, spelling: Spelling) -> tuple[list[tuple[str, str]], str, str | None, str]:
    """Returns the patterns of a spelling.

    Returns:
        How brackets and signs in other places are rewritten as a sign in front; the pattern of a
        number, whose groups are its sign and its digits; the separator of its thousands; and its
        decimal sign.
    """
    gap = _GAPS[_ALIKE.get(spelling.thousands, spelling.thousands)] if spelling.thousands else None
    decimal = spelling.decimal or ("," if spelling.thousands == "." else ".")
    whole = r"\d+"
    if gap:  # of three digits each, or of two before the last three, as in India
        whole += rf"|[1-9]\d{{0,2}}(?:{gap}\d{{3}})+|[1-9]\d?(?:{gap}\d{{2}})+{gap}\d{{3}}"
    fraction, power = rf"[{decimal}]\d+", r"(?:[eE][+-]?\d+)?"
    begins = rf"(?:{whole})(?:{fraction})?{power}"
    if type_ == "float":
        begins += "|[nN][aA][nN]"
    before, apart, after = _units(spelling.unit)
    # Of `Rs.500` the dot belongs to the unit: a letter is not followed by a fraction alone.
    value = rf"(?:{before}(?:{begins})|{apart}{fraction}{power})"
    in_front, behind = rf"(?:{before})?", rf"(?:{after})?"
    rewriting = [
        (
            rf"\A{_BLANKS}({in_front})\({_BLANKS}({value}{behind}){_BLANKS}\)({behind}){_BLANKS}\z",
            r"-\1\2\3",
        ),
        (rf"\A{_BLANKS}({value}){_MINUS}({behind}){_BLANKS}\z", r"-\1\2"),
    ]
    if spelling.unit:
        rewriting.append((rf"\A{_BLANKS}({before})([-+\x{{2212}}])", r"\2\1"))
    number = (
        rf"\A{_BLANKS}([-+\x{{2212}}]?){_BLANKS}"
        rf"(?:{before}({begins})|{apart}({fraction}{power})){behind}{_BLANKS}\z"
    )
    return rewriting, number, gap, decimal


def _units(units: tuple[str, ...]) -> tuple[str, str, str]:
    """Returns the patterns of a unit before digits, before a fraction alone, and after a number."""
    if not units:
        return "", "", ""
    literal = {unit: _literal(unit) for unit in units}
    # A unit that ends with a digit or a sign stands after the number only.
    before = {u: p for u, p in literal.items() if not (u[-1].isdigit() or u[-1] in "+-\u2212")}
    symbols = [p for u, p in before.items() if not u[-1].isalnum()]
    letters = [p for u, p in before.items() if u[-1].isalnum()]
    apart = [f"{p}{_BLANKS}" for p in symbols]
    apart += [rf"{p}{_BLANK}+" for p in letters]
    return (
        rf"(?:(?:{'|'.join(before.values())}){_BLANKS})?" if before else "",
        f"(?:{'|'.join(apart)})?" if apart else "",
        rf"(?:{_BLANKS}(?:{'|'.join(literal.values())}))?",
    )


def _literal(text: str) -> str:
    """Returns the pattern of a unit, in which a blank stands for one or more of any kind."""
    parts = ("".join(f"\\x{{{ord(c):x}}}" for c in word) for word in text.split())
    return rf"{_BLANK}+".join(parts)
