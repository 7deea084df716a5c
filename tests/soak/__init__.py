"""A soak: random users and faults for hours, judged by an independent watcher. ``make soak``."""
