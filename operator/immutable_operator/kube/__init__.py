"""The only code that talks to the API server: client, reflector, store, lease, events."""
