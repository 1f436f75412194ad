"""The pydantic models of what jobs carry, one module per queue."""
