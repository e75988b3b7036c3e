"""FHIR R4: notes in the attachments of DocumentReference resources.

Reference: https://hl7.org/fhir/R4/documentreference.html
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.decoding import check_encoding
from clinical_ie.extraction.inputs.note import BadNote, Note

_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}").fullmatch


def notes_of(resource: dict[str, Any], place: str, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a DocumentReference, or of those in a Bundle; other resources are counted.

    Args:
        resource: Parsed JSON.
        place: Where it stands, for those without an id.
        acceptance: Decides which texts are notes.
    """
    kind = resource.get("resourceType")
    if kind == "Bundle":
        for entry in _listed(resource.get("entry")):
            inner = entry.get("resource")
            if isinstance(inner, dict) and inner.get("resourceType") != "Bundle":
                yield from notes_of(inner, place, acceptance)
    elif kind == "DocumentReference":
        yield _note(resource, place, acceptance)
    else:
        acceptance.counts["not read: FHIR resource that is no DocumentReference"] += 1


def _note(resource: dict[str, Any], place: str, acceptance: Acceptance) -> Note | BadNote:
    name = resource.get("id")
    if not isinstance(name, str) or not name:
        return BadNote(place, "a DocumentReference without an id")
    if resource.get("status") == "entered-in-error":
        return BadNote(name, "its status is entered-in-error")
    attachments = [one["attachment"] for one in _listed(resource.get("content")) if isinstance(one.get("attachment"), dict)]
    plain = [(one, charset) for one in attachments for kind, charset in [_content_type(one)] if kind == "text/plain"]
    inside = [(one["data"], charset) for one, charset in plain if isinstance(one.get("data"), str) and one["data"]]
    if not inside:
        return BadNote(name, _nothing_there(attachments, bool(plain)))
    # the repetitions of content are one document in several formats (R4, DocumentReference.content)
    if len(attachments) > 1:
        acceptance.counts["not read: further formats of a document"] += len(attachments) - 1
    data, charset = inside[0]
    try:
        check_encoding(charset)
        text = base64.b64decode("".join(data.split()), validate=True)
    except SettingError:
        return BadNote(name, "the charset of its attachment is unknown")
    except (binascii.Error, ValueError):
        return BadNote(name, "its attachment is not base64")
    return acceptance.of_bytes(name, text, _meta(resource), encoding=charset)


def _content_type(attachment: dict[str, Any]) -> tuple[str, str | None]:
    """Type and charset of an attachment; one that says no type is taken for plain text."""
    value = attachment.get("contentType")
    kind, *parameters = value.split(";") if isinstance(value, str) else ["text/plain"]
    named = {key.strip().lower(): given.strip().strip('"') for key, _, given in (one.partition("=") for one in parameters)}
    return kind.strip().lower(), named.get("charset") or None


def _nothing_there(attachments: list[dict[str, Any]], plain: bool) -> str:
    if not attachments:
        return "no attachment"
    if plain:
        elsewhere = any("url" in one for one in attachments)
        return "its attachment is only a link, which is not followed; put the data into it" if elsewhere else "its attachment has no data"
    kinds = sorted({kind if _TYPE(kind) else "another type" for kind, _ in map(_content_type, attachments)})
    return f"attachments of type {', '.join(kinds)} only; expected text/plain"


def _meta(resource: dict[str, Any]) -> dict[str, str]:
    """References that resources made of the note should have, too."""
    found = {"source": f"DocumentReference/{resource['id']}"}
    context = resource.get("context")
    encounters = _listed(context.get("encounter")) if isinstance(context, dict) else []
    for key, holder in (("subject", resource.get("subject")), ("encounter", encounters[0] if encounters else None)):
        if isinstance(holder, dict) and isinstance(holder.get("reference"), str):
            found[key] = holder["reference"]
    return found


def _listed(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
