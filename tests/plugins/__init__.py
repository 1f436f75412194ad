"""What watches over every test run: what it costs, and what it leaves behind."""
