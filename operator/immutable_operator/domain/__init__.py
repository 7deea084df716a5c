"""The pure heart: what is stale, what may be done about it now, and how that is told.

Nothing in this package does I/O, reads a clock, draws a random number or awaits. Times are
seconds since the epoch (UTC), durations are seconds; both come in as parameters.
"""
