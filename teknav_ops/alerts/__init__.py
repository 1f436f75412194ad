"""Alerts: rules over what is measured, told once when they begin and once when they end."""
