"""What must survive the end of the process, in whatever way it ends."""
