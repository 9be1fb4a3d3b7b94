"""What the client suites share: the broker under test, deadlines, and short forms of pika's calls."""
