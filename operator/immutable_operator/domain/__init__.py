"""The pure core: which instances are stale, what may be done about them now, and how it is
reported.

Nothing in this package does I/O, reads a clock, draws a random number or awaits. Times are seconds
since the epoch (UTC), durations are seconds; both are passed in as parameters.
"""
