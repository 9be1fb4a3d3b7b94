"""What queues do by their type and arguments, and what publishers may ask for, as clients see it."""
