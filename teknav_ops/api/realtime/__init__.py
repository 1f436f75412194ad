"""What happens, told to browsers and clients as it happens."""
