"""Planted bugs: each is an edit of one place in the code, and some fast test must notice it.

``make mutants`` tries all, ``make mutants ONLY='surge verdict'`` those with one of the words in
their names. A bug whose place is not found any more is an error: it must be planted again.
"""
