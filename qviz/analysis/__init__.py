"""One result type per question: frozen, with `to_json()` and `to_frame()`.

Pages, command line and report read the same results, so their numbers cannot differ.
"""
