"""Other brokers, obtained and started by the project's own scripts."""
