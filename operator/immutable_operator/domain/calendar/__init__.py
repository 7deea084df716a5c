"""Time as people plan it: cron slots, windows, ages, and what can be promised."""
