"""Every message that the sources can raise reads as a sentence that says the way out.

The rules, for all texts of four words or more that are no docstring (errors, findings, warnings,
progress):

- No "unexpected". ASCII quotes. Quotes, backticks and brackets are closed. Nothing follows a
  question mark but a blank. No double blanks, but at the start of a line.
- `counted(n, "row")` writes a number with its noun, and `counted(n, "row", "are")` with its verb
  too, so that nothing says "1 rows"; `a_or_an` writes an article before a word that varies.

and for the errors of the project, and for the ValueErrors that pydantic, argparse and click print:

- It starts with a place or a lower-case noun, and ends without a full stop.
- It names a place, a value or a key, and is more than the text of a library's error.
- It has a way out: an imperative, "must", a question that names another word, or a command. A
  message that only passes on another of ours has that one's. What needs none stands in NO_WAY_OUT,
  with the reason.
"""

import re

from tests.messages import Message, errors, sentences

PROPER = re.compile(r"Beam|DuckDB|FLEX_START|LightGBM|SQL|TF_CONFIG|TensorFlow|Dataflow")
"""Names that begin a message with a capital."""
PLACED = ("ArgumentTypeError", "DocumentError", "ExpressionError", "OptionError", "UsageError")
PLACED += ("ValueError",)
"""Errors that are printed after their place: a key of the spec, an option, a file."""
NOT_PROSE = re.compile(r"TRY_CAST\((?:regexp_)?replace|^tr |^import |\\[swd]|  # ")
"""SQL, commands, programs, patterns and lines of YAML to paste."""
SEVERAL = ("len(classes)", "n_classes", "self._limit")
"""Numbers that are above 1 wherever they are shown; the trainer has no `counted`."""
IMPERATIVES = """
add allow apply ask build call change check choose close compare compile convert copy correct
create cut declare delete derive drop evaluate export find flatten free give grant install keep
launch leave let list log look lower make mend merge move name open pass put raise read reject
remove rename repeat replace report run save send set shorten start submit swap take train try
upgrade upload use wait widen write
"""
PASSED_ON = re.compile(
    r"«(?:=\w+|.*(?:problem|sentence|fix|advice|way_out|detail|reason|why|failure|found|Failure"
    r"|report|form\.).*)»$"
)
"""The end of a message that another message of ours is."""
NO_WAY_OUT = {
    "not promoted": "a verdict, not a mistake: its sentences name the numbers and the bounds",
    "components/package/": "package/proof.py adds the way out of the check that failed",
    "google_apis.py": "doctor adds what was not checked for it, and how to look",
    "str(error).replace(copy": "an error of ours, with the model's own place",
    "evaluate/answer_cache.py": "caught there: a model whose record is altered answers again",
    "local/task_cache.py": "caught there: what is gone or altered is made again",
    "calls.py:": "an error of the trainer, which has its own",
    "ArgumentTypeError «error»": "a ValueError of trainer/settings.py, which says what must be",
}
"""Messages without a way out, by a part of their place or text, and why they need none."""
BRACKETS = ("()", "[]", "{}")


def faults_of_text(message: Message) -> list[str]:
    """Returns which rules for all texts a message breaks."""
    text = message.text
    if NOT_PROSE.search(text):
        return []
    prose = re.sub("«[^»]*»", "x", text)
    number = r"(?<!byte )(?<!row )«#(?!\(?[A-Z_.]{3,}»)[^»]*» (?:[a-z]+ )?"
    plural = re.search(rf"{number}(?!(?:as|is|was|has|this|its|s|ms|does)\b)[a-z]{{2,}}s\b", text)
    singular = r"\b1 (?:(?!class\b|is\b|was\b|has\b)\w+s\b|\w+ (?:are|were|have|do|stand)\b)"
    faults = {
        "says unexpected": re.search(r"\bunexpected\b", text),
        "has quotes that are not ASCII": re.search("[\u2018\u2019\u201c\u201d]", prose),
        "has an article before a word that varies; use a_or_an": re.search(
            r"\b[aA]n? '?«(?!its article)", text
        ),
        "has a number with a noun; use counted": plural
        and not any(several in plural[0] for several in SEVERAL),
        "says 1 with a plural": re.search(singular, prose),
        "goes on after a question mark": re.search(r"\?[;,]", prose),
        "has stray blanks": re.search(r"\S  (?!\[default)\S| [;,]|;;", prose),
        "leaves a bracket open": any(prose.count(a) != prose.count(b) for a, b in BRACKETS),
        "leaves a backtick open": prose.count("`") % 2,
    }
    return [fault for fault, found in faults.items() if found]


def faults_of_error(message: Message) -> list[str]:
    """Returns which rules for errors a message breaks."""
    text = message.text
    prose = re.sub("«[^»]*»", "", text)
    passes_on = bool(PASSED_ON.search(text))
    clauses = re.split(r"[;:,.(?]\s+(?:so |then )?|\n\s*|\s(?:and|or|to)\s|`", text)
    verbs = {clause.split()[0].lower() for clause in clauses if clause.split()}
    faults = {
        "starts with a capital": re.match("[A-Z]", text) and not PROPER.match(text),
        "ends with a full stop": re.search(r"(?<!\.\.)[.!]$", text),
        "says invalid or illegal": re.search(r"\b(?:invalid|illegal|error:)", prose, re.I),
        "names no place, value or key": message.kind not in PLACED
        and not re.search(r"[«\d`'\"]|--|\w[._]\w|\w: ", text),
        "is the bare text of a library": not re.search(r"\w", prose)
        and not passes_on
        and not _needs_none(message),
        "has no way out": not verbs & set(IMPERATIVES.split())
        and not passes_on
        and not _needs_none(message)
        and not re.search(r"did you mean|\bmust\b|\bneeds?\b|way out:|`(?:quatrain|gcloud)", text),
    }
    return [fault for fault, found in faults.items() if found]


def _needs_none(message: Message) -> bool:
    return any(part in _whole(message) for part in NO_WAY_OUT)


def _whole(message: Message) -> str:
    return f"{message.place} {message.kind} {message.text}"


def listed(faults: dict[Message, list[str]]) -> str:
    return "\n".join(f"{m.place}: {'; '.join(f)}:\n    {m.text!r}" for m, f in faults.items())


def test_every_text_of_the_sources_is_formed_as_a_sentence_of_ours() -> None:
    broken = {m: faults for m in sentences() if (faults := faults_of_text(m))}
    assert not broken, listed(broken)


def test_every_error_names_a_place_or_a_value_and_the_way_out() -> None:
    broken = {m: faults for m in errors() if (faults := faults_of_error(m))}
    assert not broken, listed(broken)


def test_each_exception_of_the_rules_is_of_a_message() -> None:
    texts = list(map(_whole, errors()))
    assert not [part for part in NO_WAY_OUT if not any(part in text for text in texts)]
