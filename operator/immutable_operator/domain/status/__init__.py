"""What is told: conditions, blockers, progress, events."""
