"""File syntax to `Document` and back, without knowledge of any corpus.

Every module here reads what it writes: ``read(path, findings)`` gives documents,
``write(documents, path)`` puts them back. Use them qualified: ``brat.read(folder)``.
"""
