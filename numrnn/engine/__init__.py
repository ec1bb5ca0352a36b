"""Python's side of a call: check, plan, pack, run."""
