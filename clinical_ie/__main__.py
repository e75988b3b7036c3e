"""``python -m clinical_ie`` is ``clinical-ie``."""

from clinical_ie.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
