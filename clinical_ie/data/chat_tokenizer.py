"""The tokenizer of a decoder with its chat template, or plain text where it has none; prompts fall into a shared prefix and a suffix."""

from __future__ import annotations

import re
from datetime import datetime

from jinja2 import TemplateError

from clinical_ie.data.tokenization import Subwords, load_tokenizer
from clinical_ie.errors import SettingError

_MARK = "\x1a\x1atext\x1a\x1a"
"""Stands for what is not known yet while a template is rendered."""

DATE = datetime(2024, 7, 26)
"""What templates that ask for the time are given (those of Llama 3.2 and Granite write the day into the system's turn).

A prompt that changed every day would be another one in training than in prediction. It is the day that the templates of Llama 3.1 and
3.2 name where nobody gives them one.
"""
_CLOCK = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


class ChatTokenizer(Subwords):
    """Ids of the parts of a conversation (implements `clinical_ie.tasks.task.ChatEncoder`).

    The parts are tokenised one by one, so that the prefix is the same for all texts and a response the same in training and
    generation. Only the template itself can hold special tokens: ``<|im_end|>`` in a note is text.

    Raises:
        SettingError: No fast tokenizer, or a template that moves or changes what it is given.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.tokenizer = load_tokenizer(name)
        if self.tokenizer.eos_token_id is None:
            raise SettingError(f"{name}: the tokenizer has no end-of-sequence token")
        self._lead, _ = self.encode("\n")
        self.has_turns = bool(self.tokenizer.chat_template)
        self._tail, self._end = self._turns(name) if self.has_turns else ("", "")
        self.end_id = int(self.tokenizer.eos_token_id)
        ends = [token for token in self._special(self._end) if (known := self.tokenizer.added_tokens_decoder.get(token)) and known.special]
        if ends:  # what ends a turn, which need not be what ends a text
            self.end_id = ends[0]

    def prompt_prefix(self, system: str, instruction: str) -> list[int]:
        """The system's turn and the beginning of the user's."""
        if not self.has_turns:
            start = [self.tokenizer.bos_token_id] if self.prefix and self.prefix[0] == self.tokenizer.bos_token_id else []
            return start + self._inner(f"{system}\n\n{instruction}")
        before, between, after = self._rendered(_MARK + "system", _MARK + "user")
        # the wording is ours, but nothing in it should become a special token either
        if "system" not in between:
            return self._special(before) + self._inner(f"{system}\n\n{instruction}")
        return self._special(before) + self._inner(system) + self._special(after) + self._inner(instruction)

    def prompt_suffix(self, text: str, answer: str) -> list[int]:
        """The rest of the user's turn, up to where the model answers."""
        if not self.has_turns:
            return self._inner(f"{text}\n{answer}\n")
        return self._inner(text) + self._special(self._tail)

    def response(self, text: str) -> list[int]:
        """The model's turn with what ends it."""
        return [*self._inner(text), self.end_id]

    def encode_continuation(self, text: str) -> list[int]:
        """The ids of a text in the middle of a response."""
        return self._inner(text)

    def decode(self, ids: list[int]) -> str:
        """The text of a response, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)  # type: ignore[return-value]

    def _rendered(self, system: str, user: str) -> tuple[str, str, str]:
        """The template's words before the system's, what kind of turn was there, and its words between that and the user's."""
        try:
            whole = self._render([("system", system), ("user", user)])
            before, _, rest = whole.partition(system)
            if rest:
                return before, "system", rest.partition(user)[0]
        except TemplateError:  # some templates know no system
            pass
        return self._render([("user", user)]).partition(user)[0], "", ""

    def _turns(self, name: str) -> tuple[str, str]:
        """The template's words between a question and its answer, and those behind the answer."""
        question, answer = _MARK + "question", _MARK + "answer"
        tail = self._render([("user", question)], prompt=True).partition(question)[2]
        whole = self._render([("user", question), ("assistant", answer)])
        if not tail or question not in whole or answer not in whole:
            raise SettingError(f"{name}: its chat template changes what it is given; save the tokenizer without it")
        return tail, whole.partition(answer)[2]

    def _render(self, turns: list[tuple[str, str]], *, prompt: bool = False) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        template = _dated(self.tokenizer.get_chat_template())
        return str(self.tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=prompt))

    def _special(self, text: str) -> list[int]:
        """Ids of the template's words, special tokens among them."""
        ids = self._with_special("\n" + text)
        return ids[len(self._lead) :] if ids[: len(self._lead)] == self._lead else self._with_special(text)

    def _with_special(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _inner(self, text: str) -> list[int]:
        """Ids of a text as it stands inside a longer one: tokenizers that put a blank before everything put none here."""
        if not text:
            return []
        ids, _ = self.encode("\n" + text)
        return ids[len(self._lead) :] if ids[: len(self._lead)] == self._lead else self.encode(text)[0]


def _dated(template: str) -> str:
    """A template in which the time is `DATE`'s.

    transformers gives templates the clock and lets no caller put another in its place, so the calls are replaced; one whose format is no
    literal gets the day in its international form.
    """
    fixed = _CLOCK.sub(lambda call: repr(DATE.strftime(call[2])), template)
    if "strftime_now(" not in fixed:
        return fixed
    return "{%- macro strftime_now(format) -%}" + DATE.strftime("%Y-%m-%d") + "{%- endmacro -%}" + fixed
