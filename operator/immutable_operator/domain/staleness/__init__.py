"""Why an instance is to be replaced: one module a reason."""
