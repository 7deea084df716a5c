"""Why an instance is to be replaced: one module for each reason."""
