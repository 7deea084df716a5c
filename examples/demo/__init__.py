"""The demo: `make demo` shows a pinned service being replaced, on a simulated or on your cluster.

`story.py` is what happens, in order; `simulated.py` and `own.py` are the two kinds of cluster;
`fleet.py` is what the watch has seen; `screen.py` shows it. Start: ``python -m examples.demo``.
"""
