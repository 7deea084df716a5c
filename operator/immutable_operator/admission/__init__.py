"""What the API server is told to refuse, and what it asks before it lets somebody in."""
