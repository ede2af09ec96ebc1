"""`quatrain eval`: how good the completions are, by what they do and not by what they look like.

Suites make cases, variants change the product, measures judge one answer, the report adds them up. Everything
here asks the product through `Completer.complete`; nothing in the product knows of this package.
"""
