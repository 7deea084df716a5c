"""The wanted state including its configuration: references, copies, identity."""
