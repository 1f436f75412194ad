"""RQ for the benchmark."""


def noop(number: int) -> None:
    """Do nothing."""
