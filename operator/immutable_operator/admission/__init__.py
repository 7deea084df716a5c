"""The admission policies, the break-glass webhook, and the check that both are in force."""
