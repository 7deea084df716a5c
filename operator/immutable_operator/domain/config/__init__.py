"""What is wanted, configuration included: references, copies, identity."""
