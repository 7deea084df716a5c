"""The only code that speaks to the API server: client, reflector, store, lease, events."""
