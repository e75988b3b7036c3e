"""Words for the invented notes. The second list of each pair is held out: it occurs in test notes only."""

from __future__ import annotations

import random
from dataclasses import dataclass

Pair = tuple[list[str], list[str]]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


DRUGS: Pair = (
    _words(
        "lisinopril, metoprolol tartrate, aspirin, atorvastatin, furosemide, metformin, warfarin, amoxicillin, prednisone,"
        "omeprazole, albuterol, insulin glargine, heparin, vancomycin, ceftriaxone, gabapentin, sertraline, levothyroxine,"
        "hydrochlorothiazide, amlodipine, simvastatin, pantoprazole, acetaminophen, ibuprofen, morphine, oxycodone, tramadol,"
        "ciprofloxacin, azithromycin, iron, calcium, potassium chloride, clopidogrel, digoxin, spironolactone, Lasix, Tylenol,"
        "Coumadin, Zofran, Lipitor, ASA, HCTZ, folic acid, vitamin D, lorazepam, haloperidol, quetiapine, doxycycline"
    ),
    _words(
        "carvedilol, losartan, apixaban, rosuvastatin, torsemide, glipizide, cefepime, linezolid, dexamethasone, famotidine,"
        "tiotropium, enoxaparin, pregabalin, citalopram, hydralazine, diltiazem, hydromorphone, Bactrim, Plavix, Keppra, magnesium"
    ),
)
PROBLEMS: Pair = (
    _words(
        "hypertension, type 2 diabetes mellitus, atrial fibrillation, pneumonia, congestive heart failure, asthma, COPD,"
        "urinary tract infection, anemia, depression, anxiety, hypothyroidism, hyperlipidemia, gout, cellulitis, migraine,"
        "acute kidney injury, deep vein thrombosis, pulmonary embolism, GERD, osteoarthritis, seizure, stroke, sepsis,"
        "coronary artery disease, chronic kidney disease, pancreatitis, HTN, DM2, CHF, afib, UTI, CAD, a cold, MS"
    ),
    _words(
        "bronchiectasis, diverticulitis, endocarditis, cirrhosis, aortic stenosis, psoriasis, rheumatoid arthritis, cholecystitis,"
        "pyelonephritis, sarcoidosis, obstructive sleep apnea, hyponatremia, PVD, ESRD, BPH, small bowel obstruction"
    ),
)
SYMPTOMS: Pair = (
    _words(
        "shortness of breath, fever, chills, nausea, vomiting, diarrhea, dizziness, headache, fatigue, cough, palpitations,"
        "night sweats, weight loss, constipation, syncope, weakness, SOB, DOE, dysuria, hematuria, purulent discharge"
    ),
    _words("orthopnea, hemoptysis, pruritus, melena, photophobia, diaphoresis, early satiety, urinary retention, hoarseness"),
)
REACTIONS: Pair = (
    _words("rash, hives, dry cough, nausea, GI upset, dizziness, angioedema, muscle aches, bleeding, drowsiness, low potassium"),
    _words("photosensitivity, facial swelling, myopathy, bradycardia, confusion, severe itching, thrombocytopenia"),
)
TESTS: Pair = (
    _words(
        "chest x-ray, CT of the head, echocardiogram, EKG, white blood cell count, hemoglobin, creatinine, potassium, troponin,"
        "urinalysis, blood cultures, MRI of the spine, INR, glucose, blood pressure, heart rate, temperature, WBC, Hct, CXR,"
        "calcium level, iron studies, alcohol level, oxygen saturation, lactate, TSH, hemoglobin A1c"
    ),
    _words(
        "abdominal ultrasound, carotid duplex, stress test, BNP, procalcitonin, lipase, colonoscopy, bronchoscopy, ESR, D-dimer,"
        "respiratory rate, sodium, bilirubin, V/Q scan"
    ),
)
PLACES: Pair = (
    _words("left knee, right hip, lower back, left arm, right shoulder, abdomen, neck, left foot, right lower leg, chest wall"),
    _words("left ankle, right wrist, left flank, jaw, right groin, thoracic spine"),
)
SENSATIONS: Pair = (
    _words("pain, swelling, numbness, tenderness, stiffness"),
    _words("burning, erythema, tingling, soreness"),
)
JOBS: Pair = (
    _words("teacher, truck driver, nurse, carpenter, accountant, farmer, cook, mechanic, librarian"),
    _words("electrician, bus driver, pharmacist, roofer, tailor"),
)
ROUTES = _words("by mouth, PO, p.o., IV, intravenously, subcutaneously, orally, inhaled, topically, SC")
FREQUENCIES = _words(
    "daily, once a day, twice daily, BID, b.i.d., three times a day, TID, every 6 hours, q6h, q12h, at bedtime, qhs,"
    "every morning, as needed, prn, weekly, q4h prn, every other day"
)
DURATIONS = _words("for 7 days, for ten days, x 5 days, for two weeks, x3 months, for a total of 14 days, for 6 weeks")
NORMAL = _words("within normal limits, normal, unremarkable, negative, stable, WNL")


@dataclass(slots=True)
class Words:
    """Draws words for one note; `novelty` is the chance of a held-out form."""

    dice: random.Random
    novelty: float = 0.0

    def one(self, pair: Pair) -> str:
        """A word of a pair of lists."""
        known, held_out = pair
        return self.dice.choice(held_out if self.dice.random() < self.novelty else known)

    def of(self, words: list[str]) -> str:
        """A word of a list."""
        return self.dice.choice(words)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.dice.random() < share

    def dose(self) -> str:
        """An amount of a drug, in several spellings."""
        number = self.of(["2.5", "5", "10", "20", "25", "40", "50", "75", "81", "100", "125", "250", "325", "500", "750", "1000"])
        unit = self.of(["mg", "mg", "mg", "mcg", "units", "g", "mL"])
        shape = self.of(["{n} {u}", "{n}{u}", "{n} {u}", "one {n} {u} tablet", "{n}-{u}"])
        return shape.format(n=number, u=unit)

    def value(self, test: str) -> str:
        """A result that a test may have."""
        if "pressure" in test:
            return f"{self.dice.randint(90, 190)}/{self.dice.randint(50, 110)}"
        if any(
            word in test
            for word in ("x-ray", "CT", "MRI", "CXR", "ultrasound", "scopy", "echo", "EKG", "scan", "cultures", "duplex", "stress")
        ):
            return self.of(NORMAL)
        number = self.of([str(self.dice.randint(2, 400)), f"{self.dice.randint(1, 40)}.{self.dice.randint(0, 9)}"])
        return self.of([number, number, f"elevated at {number}", f"{number} (H)", self.of(NORMAL)])
