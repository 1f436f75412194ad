"""The demo: sample rows for every queue, receivers for what goes out, and a load of chosen shape."""

from teknav_ops.runtime.demo.orders import enqueue_first, steady_load

__all__ = ["enqueue_first", "steady_load"]
