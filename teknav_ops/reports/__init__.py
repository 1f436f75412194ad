"""Notebooks run unattended: reports, their limits, and what becomes of them."""
