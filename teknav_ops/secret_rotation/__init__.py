"""Changing the secret key: what is encrypted under which key, and putting all of it under the current one."""
