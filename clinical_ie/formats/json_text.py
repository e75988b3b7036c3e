"""JSON as all readers here take it: plain UTF-8, no key twice, no numbers but finite ones, no characters that are none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clinical_ie.document import Document
from clinical_ie.errors import DocumentError, InputError, printable, shown
from clinical_ie.fields import MalformedDataError, kind_of, shown_key
from clinical_ie.formats.findings import Findings

BOM = b"\xef\xbb\xbf"
_HALF = re.compile(r"[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str) -> Any:
    """The value that a JSON text holds.

    Raises:
        MalformedDataError: Not JSON; a key twice, ``NaN`` or ``Infinity``, a number of thousands of digits, half a surrogate pair, or
            nested too deep.
    """
    try:
        value = json.loads(text, object_pairs_hook=_mapping, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise MalformedDataError("", f"not JSON ({error.msg} at column {error.colno})", line=error.lineno) from None
    except RecursionError:
        raise MalformedDataError("", "nested too deep") from None
    except ValueError:  # what int() says of thousands of digits
        raise MalformedDataError("", "a number of too many digits") from None
    if _ESCAPED_HALF.search(text) and _HALF.search(json.dumps(value, ensure_ascii=False)):
        remedy = "offsets that count UTF-16 units often cut it in two"
        raise MalformedDataError("", r"half a surrogate pair (\ud800 to \udfff), which is no character", remedy=remedy)
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MalformedDataError("", f"the key {shown_key(twice)!r} stands twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise MalformedDataError("", f"{name} is no JSON number")


def read_lines(
    path: Path | str, findings: Findings, read: Callable[[Any, int], Document | None], *, code: str = "malformed-document", expected: str
) -> Iterator[Document]:
    """Documents of a file with one JSON value a line, one after the other, without holding the others in memory.

    A line that is none is an error of its own: in lenient mode the others are read. Blank lines are passed over.

    Args:
        path: The file.
        findings: Collects what is wrong.
        read: Makes a document of a value and its line; None where the line holds none.
        code: What the findings call a line that is no document.
        expected: What stands in a line, for messages.

    Raises:
        InputError: The file is missing.
        FileFormatError: A line that is no document, or one whose id stood there before: in strict mode.
    """
    findings.begin()
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed by the with below)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise InputError(f"{printable(path)}: cannot be read ({reason})") from error
    seen: dict[str, int] = {}
    with file:
        for number, line in enumerate(_reading(file, path), 1):
            if number == 1:
                line = line.removeprefix(BOM)
            if not line or line.isspace():
                continue
            try:
                value = parse(line.decode("utf-8"))
                if type(value) is not dict:
                    remedy = "write its elements as lines of their own, e.g. with jq -c '.[]'" if type(value) is list else ""
                    raise MalformedDataError("", f"found {kind_of(value)}", remedy=remedy)
                document = read(value, number)
            except UnicodeDecodeError as error:
                problem = f"byte {error.start} of the line is not UTF-8"
                findings.error(path, number, code, problem, expected="a UTF-8 file", remedy="convert it, e.g. with iconv")
                continue
            except MalformedDataError as error:
                findings.error(path, number, code, error.found, expected=error.expected or expected, remedy=error.remedy)
                continue
            except DocumentError as error:
                findings.error(path, number, code, str(error), expected=expected)
                continue
            if document is None:
                continue
            if document.id in seen:
                problem = f"the document id {shown(document.id)} stands in line {seen[document.id]} already"
                findings.error(path, number, "duplicate-document-id", problem, remedy="rename one of them")
                continue
            seen[document.id] = number
            yield document


def _reading(file: Any, path: Path | str) -> Iterator[bytes]:
    try:
        yield from file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
