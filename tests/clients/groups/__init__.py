"""Real clients in consumer groups, whose members come, go, sleep and die, and whose broker is killed."""
