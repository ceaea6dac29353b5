"""Text of files and of the command line as a terminal may be given it."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

#: Controls, formats, surrogates, private and unassigned characters, separators of lines and paragraphs.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Formats that words of several scripts need, and joined pictures: they join or part letters and do nothing else.
_JOINERS = frozenset("\u200c\u200d")


def printable(text: str) -> str:
    r"""The text in one line without anything that a terminal would act on.

    Control characters, those that change the direction of writing, and bytes that are not valid UTF-8 (surrogates, as
    Python decodes names of files) become escapes such as \x1b, \n, \u202e and \xff.
    """
    if text.isprintable():
        return text
    return "".join(_escape(character) if _acts(character) else character for character in text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
