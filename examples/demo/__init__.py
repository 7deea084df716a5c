"""The demo: `make demo` shows how the pods of a service are replaced, on a simulated or your
cluster.

`story.py` has the steps in order; `simulated.py` and `own.py` are the two kinds of cluster;
`fleet.py` is the state that was observed; `screen.py` shows it. Start: ``python -m examples.demo``.
"""
