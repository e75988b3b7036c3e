"""The prompts of an exported generator, for software without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clinical_ie.files import write_text
from clinical_ie.prompts.prompt_template import render_instruction, render_text
from clinical_ie.schema import Schema
from clinical_ie.tasks.nothing_to_find import nothing_to_find

PROMPTS = "prompts.json"
TEXT, MENTION_TYPE, MENTION = "{{TEXT}}", "{{TYPE}}", "{{MENTION}}"


def write_prompts(folder: Path, tasks: Sequence[Any], schemas: Mapping[str, Schema], tokenizer: Any, *, base: str | None) -> None:
    """Write ``prompts.json`` and a ``README.md`` into an exported folder.

    Args:
        folder: Holds an adapter or a whole model.
        tasks: The instructions of the run.
        schemas: Corpus -> schema.
        tokenizer: The `ChatTokenizer` of the run's base.
        base: What the adapter is put on; None for a whole model.
    """
    held = {task.name: _prompts(task, schemas, tokenizer) for task in tasks}
    write_text(folder / PROMPTS, json.dumps({"tasks": held}, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "README.md", _readme(tasks, held, base))


def _prompts(task: Any, schemas: Mapping[str, Schema], tokenizer: Any) -> dict[str, Any]:
    """How a task asks, and its prompt for each corpus that it has something to ask of."""
    given = [(MENTION_TYPE, MENTION)] if task.needs_mentions else []
    asked = {corpus: schema for corpus, schema in schemas.items() if not nothing_to_find(task, schema)}
    prompts = {corpus: _prompt(task, corpus, schema, tokenizer, given) for corpus, schema in asked.items()}
    held: dict[str, Any] = {
        "placeholders": {TEXT: f"a segment of a note, of at most {task.segment} tokens, cut at the end of a sentence"},
        "segment": task.segment,
        "answer": {
            "syntax": task.response.name,
            "instruction": task.prompt_template.formats[task.response.name],
            "parser": f"clinical_ie.prompts.responses.FORMATS[{task.response.name!r}]().{'parse_links' if given else 'parse'}",
        },
        "prompt_template": task.prompt_template.fingerprint,
        "corpora": prompts,
    }
    if given:
        held["placeholders"] |= {
            MENTION_TYPE: "the type of a mention; one numbered row for each mention of the segment, in the order of the text",
            MENTION: "the words of the mention",
        }
    return held


def _prompt(task: Any, corpus: str, schema: Schema, tokenizer: Any, given: list[tuple[str, str]]) -> dict[str, Any]:
    """The prompt as the model has learned it, and the messages whose chat template gives it, where there are some."""
    spec = task.spec(corpus, schema)
    system, before, suffix = (
        task.prompt_template.system,
        render_instruction(task.prompt_template, spec),
        render_text(task.prompt_template, TEXT, given),
    )
    user = before + suffix
    ids = tokenizer.prompt_prefix(system, before) + tokenizer.prompt_suffix(suffix, task.prompt_template.answer)
    prompt = tokenizer.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    forms = (
        [{"role": "system", "content": system}, {"role": "user", "content": user}],
        [{"role": "user", "content": f"{system}\n\n{user}"}],
    )
    return {
        "messages": next((messages for messages in forms if _rendered(tokenizer, messages) == prompt), None),
        "prompt": prompt,
        "types": list(spec.label_names.types),
        "links": list(spec.label_names.labels),
    }


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> str | None:
    from jinja2 import TemplateError

    if not tokenizer.has_turns:
        return None
    try:
        return str(tokenizer.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except TemplateError:  # some templates know no system
        return None


_FINDS = {
    "entities": "mentions",
    "relations": "links between given mentions",
    "joint": "mentions and links",
    "attributes": "attributes of given mentions",
}


def _readme(tasks: Sequence[Any], held: Mapping[str, Any], base: str | None) -> str:
    load = (
        'model = AutoModelForCausalLM.from_pretrained("this folder")\ntokenizer = AutoTokenizer.from_pretrained("this folder")'
        if base is None
        else f'model = AutoPeftModelForCausalLM.from_pretrained("this folder")\ntokenizer = AutoTokenizer.from_pretrained({base!r})'
    )
    imports = "from transformers import AutoModelForCausalLM, AutoTokenizer" if base is None else (
        "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer"
    )  # fmt: skip
    where = "" if base is None or not Path(base).is_dir() else (
        "\nThe base is a local folder; elsewhere set `base_model_name_or_path` in `adapter_config.json` to where it lies.\n"
    )  # fmt: skip
    shown = "\nPrompts hold the demonstrations of the run, text included.\n" if any(task.demonstrations for task in tasks) else ""
    if any(task.demonstrations.shots for task in tasks):
        shown = "\nIn the run, prompts showed segments of its shots too; these prompts show none.\n"
    mentions = (
        f"\nEach given mention of the segment is a row `1<tab>{MENTION_TYPE}<tab>{MENTION}`, numbered from 1.\n"
        if any(task.needs_mentions for task in tasks)
        else ""
    )
    rows = "\n".join(
        f"* `{task.name}`: {_FINDS[task.kind]} as in the corpora {', '.join(held[task.name]['corpora'])}; segments of at most"
        f" {task.segment} tokens; answers in the syntax `{task.response.name}`"
        for task in tasks
    )
    first, corpus = tasks[0].name, next(iter(held[tasks[0].name]["corpora"]))
    return f"""# {"An adapter" if base is not None else "A model"} of clinical_ie

Extracts

{rows}

asked by the prompts in `{PROMPTS}`; other prompts than those it was trained with give worse answers.

```python
import json
{imports}

{load}
prompt = json.load(open("this folder/{PROMPTS}"))["tasks"][{first!r}]["corpora"][{corpus!r}]["prompt"].replace("{TEXT}", text)
ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
answer = tokenizer.decode(model.generate(ids, max_new_tokens=1024, do_sample=False)[0, ids.shape[1]:], skip_special_tokens=True)
```

`messages` are the same prompt for a server that applies the chat template itself (null where the template cannot give it).
A note is asked in segments, cut at ends of sentences.
{mentions}{shown}{where}
In Python `clinical_ie.prompts.responses` parses answers.
"""
