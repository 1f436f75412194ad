"""The packages of the `snapshots` extra, or a clear error where it is not installed."""

from teknav_ops.errors import InvalidRequest

try:
    import duckdb
    import pyarrow
except ModuleNotFoundError as error:
    raise InvalidRequest(f"{error.name} is missing: pip install 'teknav-ops[snapshots]'") from error

__all__ = ["duckdb", "pyarrow"]
