"""Sections of a discharge note, in the hands of different writers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clinical_ie.corpora.demo_notes.lexicon import (
    DRUGS,
    DURATIONS,
    FREQUENCIES,
    JOBS,
    PLACES,
    PROBLEMS,
    REACTIONS,
    ROUTES,
    SENSATIONS,
    SYMPTOMS,
    TESTS,
    Words,
)
from clinical_ie.corpora.demo_notes.markup import NoteWriter


@dataclass(frozen=True, slots=True)
class Hand:
    """How somebody writes: headings, the patient, list marks, gaps between sentences, names taken out."""

    heading: Callable[[str], str]
    patient: str
    bullets: tuple[str, ...]
    gap: str
    name: str
    date: str
    terse: bool


HANDS = (
    Hand(
        lambda title: f"{title.upper()}:\n",
        "The patient",
        ("1. ", "2. ", "3. ", "4. ", "5. ", "6. "),
        " ",
        "[**Name**]",
        "[**2190-4-12**]",
        False,
    ),
    Hand(lambda title: f"{title}: ", "Pt", ("- ",), " ", "___", "___", True),
    Hand(lambda title: f"\n== {title} ==\n", "Mr. [**Last Name**]", ("* ",), "  ", "[**First Name8**]", "[**Date**]", False),
    Hand(lambda title: f"{title.lower()} -- ", "pt", ("",), " ", "XXXX", "XX/XX", True),
    Hand(lambda title: f"{title}\n", "She", ("\t", "  \t"), "\n", "Dr. [NAME]", "[DATE]", False),
)


class Sections:
    """Writes sections of one note."""

    def __init__(self, note: NoteWriter, words: Words, hand: Hand) -> None:
        self.note, self.words, self.hand = note, words, hand

    def heading(self, title: str) -> None:
        """A section's title in this hand."""
        self.note.plain(self.hand.heading(title))

    def end(self) -> None:
        """A sentence is over."""
        self.note.plain(self.hand.gap)

    def history(self) -> None:
        """Why the patient came, what they deny, what lies behind."""
        w, hand = self.words, self.hand
        self.heading(w.of(["History of Present Illness", "HPI", "Presenting complaint"]))
        age = w.dice.randint(19, 92)
        opening = f"{hand.patient} is a {age} yo with" if hand.terse else f"{hand.patient} is a {age}-year-old with a history of"
        self.note.write(f"{opening} <a Problem|{w.one(PROBLEMS)}> and <b Problem|{w.one(PROBLEMS)}> who")
        which = w.dice.randrange(4)
        if which == 0:
            self.note.write(f" presented on {hand.date} with <s Problem|{w.one(SYMPTOMS)}> <d Duration|{w.of(DURATIONS)}>.", "d Duration s")
        elif which == 1:
            place, one, two = w.one(PLACES), *self._two(SENSATIONS)
            self.note.write(
                f" reports <p Problem|<l Anatomy|{place}> {one}> and <q Problem|{two} of the <m Anatomy|{w.one(PLACES)}>>.",
                "p LocatedAt l",
                "q LocatedAt m",
            )
        elif which == 2:
            first, second = w.of(["left", "upper abdominal"]), w.of(["right flank", "chest"])
            word = w.one(SENSATIONS)
            self.note.write(f" c/o <p+ Problem|{first}> and <q Problem|{second} <p+ Problem|{word}>>.")
        else:
            self.note.write(f" came in complaining of <s Problem|{w.one(SYMPTOMS)}>, now resolved.")
        self.end()
        one, two = self._two(SYMPTOMS)
        denial = w.of(
            [
                "Denies <x Problem|{a}> or <y Problem|{b}>.",
                "There was no <x Problem|{a}>, no <y Problem|{b}>.",
                "Negative for <x Problem|{a}> and <y Problem|{b}>.",
            ]
        )
        self.note.write(denial.format(a=one, b=two), "x.Assertion=absent", "y.Assertion=absent")
        self.end()
        if w.chance(0.35):
            self.note.write(f"There was concern for <x Problem|{w.one(PROBLEMS)}>.", "x.Assertion=possible")
            self.end()
        if w.chance(0.3):
            self.note.write(f"{w.of(['Mother', 'Father', 'A brother'])} had <x Problem|{w.one(PROBLEMS)}>.", "x.Assertion=family")
            self.end()
        if w.chance(0.3):
            self.note.plain(
                w.of(
                    [
                        "Independent in activities of daily living.",
                        "Lives in a cold apartment on a busy road.",
                        "He was seen before discharge by Dr. " + hand.name + ".",
                    ]
                )
            )
            self.end()
        self.note.plain("\n")

    def course(self) -> None:
        """Treatment and what came of it; links across sentences."""
        w, hand = self.words, self.hand
        self.heading(w.of(["Hospital Course", "Brief Hospital Course", "Course"]))
        for _ in range(w.dice.randint(2, 4)):
            drug, problem = w.one(DRUGS), w.one(PROBLEMS)
            which = w.dice.randrange(5)
            if which == 0:
                self.note.write(
                    f"{hand.patient} was started on <d Drug|{drug}> <s Dosage|{w.dose()}> <r Route|{w.of(ROUTES)}> <f Frequency|{w.of(FREQUENCIES)}> for <p Problem|{problem}>.",
                    "s Dosage d", "r Route d", "f Frequency d", "p Reason d",
                )  # fmt: skip
            elif which == 1:
                keys = self.note.write(f"<d Drug|{drug}> was given <t Duration|{w.of(DURATIONS)}>.", "t Duration d")
                self.end()
                more = self.note.write(f"This had to be stopped because of <e Problem|{w.one(REACTIONS)}>.")
                self.note.say("e ADE d", {**keys, **more})
            elif which == 2:
                other = w.one(DRUGS)
                keys = self.note.write(
                    f"For {w.of(['', 'his ', 'her ', 'the '])}<p Problem|{problem}> we gave <d Drug|{drug}> and then <o Drug|{other}> <s Dosage|{w.dose()}>.",
                    "p Reason d",
                    "p Reason o",
                    "s Dosage o",
                )
                if w.chance(0.5):
                    self.end()
                    more = self.note.write(f"The <a Problem|{problem}> improved and <b Drug|{drug}> was stopped.")
                    self.note.say("a Reason b", more)
            elif which == 3:
                self.note.write(
                    f"Developed <e Problem|{w.one(REACTIONS)}> after the first dose of <d Drug|{drug}>, which was held.", "e ADE d"
                )
            else:
                test = w.one(TESTS)
                self.note.write(
                    f"<t Test|{test}> showed <p Problem|{problem}>, and <d Drug|{drug}> <r Route|{w.of(ROUTES)}> was begun <f Frequency|{w.of(FREQUENCIES)}>.",
                    "t Reveals p",
                    "r Route d",
                    "f Frequency d",
                )
            self.end()
        self.note.plain("\n")

    def results(self) -> None:
        """Tests and values, as prose or as a table of odd spacing."""
        w = self.words
        self.heading(w.of(["Pertinent Results", "Labs", "Data"]))
        tests = self._several(TESTS, w.dice.randint(3, 6))
        if w.chance(0.5):
            for test in tests:
                self.note.write(
                    f"{w.of(['', '   '])}<t Test|{test}>{w.of([' ', '    ', ': ', '-', ' = '])}<v Result|{w.value(test)}>\n", "v ResultOf t"
                )
        else:
            for test in tests:
                self.note.write(
                    w.of(
                        [f"<t Test|{test}> was <v Result|{w.value(test)}>.", f"The <t Test|{test}> came back <v Result|{w.value(test)}>."]
                    ),
                    "v ResultOf t",
                )
                self.end()
        self.note.plain("\n")

    def medications(self) -> None:
        """A list of medications, at times with the reason on the next line."""
        w, hand = self.words, self.hand
        self.heading(w.of(["Discharge Medications", "Medications on Discharge", "Meds"]))
        for rank, drug in enumerate(self._several(DRUGS, w.dice.randint(3, 6))):
            mark = hand.bullets[rank % len(hand.bullets)]
            text = f"<d Drug|{drug}>"
            statements: list[str] = []
            if w.chance(0.9):
                text, statements = f"{text} <s Dosage|{w.dose()}>", [*statements, "s Dosage d"]
            if w.chance(0.7):
                text, statements = f"{text} <r Route|{w.of(ROUTES)}>", [*statements, "r Route d"]
            if w.chance(0.9):
                text, statements = f"{text} <f Frequency|{w.of(FREQUENCIES)}>", [*statements, "f Frequency d"]
            if w.chance(0.2):
                text, statements = f"{text} <t Duration|{w.of(DURATIONS)}>", [*statements, "t Duration d"]
            if w.chance(0.3):
                joint = w.of([" for ", " (", "\n    Indication: "])
                close = ")" if joint == " (" else ""
                text, statements = f"{text}{joint}<p Problem|{w.one(PROBLEMS)}>{close}", [*statements, "p Reason d"]
            self.note.plain(mark)
            self.note.write(text, *statements)
            self.note.plain(w.of(["\n", ".\n", "\n", ";\n"]))
        self.note.plain("\n")

    def allergies(self) -> None:
        """What the patient does not bear."""
        w = self.words
        self.heading("Allergies")
        if w.chance(0.3):
            self.note.plain(w.of(["NKDA\n\n", "No known drug allergies.\n\n"]))
            return
        self.note.write(
            w.of(
                [
                    f"<d Drug|{w.one(DRUGS)}> (<e Problem|{w.one(REACTIONS)}>)",
                    f"<d Drug|{w.one(DRUGS)}> causes <e Problem|{w.one(REACTIONS)}>",
                ]
            ),
            "e ADE d",
        )
        self.note.plain("\n\n")

    def social(self) -> None:
        """Tobacco, alcohol and work, as events with a status."""
        w = self.words
        self.heading(w.of(["Social History", "SH", "Social"]))
        packs = w.of(["1 pack", "half a pack", "two packs", "2 ppd", "a few cigarettes"])
        drinks = w.of(["two beers", "a glass of wine", "6 beers", "3 drinks"])
        rate = w.of(["a day", "per day", "daily", "on weekends", "a week"])
        job = w.one(JOBS)
        tobacco = [
            (f"<s Status|<k Tobacco|Smokes>> <a Amount|{packs}> <f Frequency|{rate}>", "k(Status=s, Amount=a, Frequency=f)", "current"),
            ("<s Status|Never> <k Tobacco|smoked>", "k(Status=s)", "none"),
            (
                f"<s Status|Quit> <k Tobacco|smoking> {w.dice.randint(2, 30)} years ago, previously <a Amount|{packs}>",
                "k(Status=s, Amount=a)",
                "past",
            ),
            ("<s Status|Denies> <k Tobacco|tobacco>", "k(Status=s)", "none"),
            ("<k Tobacco|Tobacco>: <s Status|former>", "k(Status=s)", "past"),
        ]
        alcohol = [
            (f"<s Status|<k Alcohol|Drinks>> <a Amount|{drinks}> <f Frequency|{rate}>", "k(Status=s, Amount=a, Frequency=f)", "current"),
            ("<s Status|No> <k Alcohol|alcohol>", "k(Status=s)", "none"),
            ("<s Status|Occasional> <k Alcohol|EtOH>", "k(Status=s)", "current"),
            ("<s Status|Stopped> <k Alcohol|drinking> last year", "k(Status=s)", "past"),
        ]
        work = [
            (f"<s Status|<k Employment|Works>> as a <t Occupation|{job}>", "k(Status=s, Type=t)", "current"),
            (f"<s Status|<k Employment|Retired>> <t Occupation|{job}>", "k(Status=s, Type=t)", "past"),
            ("Currently <s Status|<k Employment|unemployed>>", "k(Status=s)", "none"),
        ]
        for choices in (tobacco, alcohol, work):
            if w.chance(0.9):
                text, event, status = w.dice.choice(choices)
                self.note.write(text, event, f"s.StatusValue={status}")
                self.note.plain("." + self.hand.gap)
        self.note.plain("\n")

    def plan(self) -> None:
        """What comes next; names and dates taken out."""
        w, hand = self.words, self.hand
        self.heading(w.of(["Follow-up", "Plan", "Discharge Instructions"]))
        self.note.write(f"Repeat <t Test|{w.one(TESTS)}> in {w.dice.randint(1, 6)} weeks.")
        self.end()
        self.note.write(f"Call if you have <x Problem|{w.one(SYMPTOMS)}>.", "x.Assertion=hypothetical")
        self.end()
        self.note.plain(
            w.of(
                [f"See {hand.name} on {hand.date}.", f"Seen by {hand.name}. Lead time for the appointment is {w.dice.randint(2, 9)} days."]
            )
        )
        self.note.plain("\n")

    def _two(self, pair: tuple[list[str], list[str]]) -> tuple[str, str]:
        one, two = self._several(pair, 2)
        return one, two

    def _several(self, pair: tuple[list[str], list[str]], count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            word = self.words.one(pair)
            if word not in found:
                found.append(word)
        return found
