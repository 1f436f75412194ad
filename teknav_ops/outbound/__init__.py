"""How anything leaves for the outside: HTTP to checked addresses, and mail."""
