"""Users, passwords and vhosts: kept, changed while the broker runs, and hard to guess."""
