"""Strategies: which instances to create and which to retire, in which order, within the ledger."""
