"""What is reported: conditions, blockers, progress, events."""
