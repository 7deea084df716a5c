"""Strategies: which instances to create and to retire, in which order, within the ledger."""
