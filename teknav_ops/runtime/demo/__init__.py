"""The demo: sample rows for every queue, receivers for what goes out, and a load of chosen shape."""
