"""What queues do beside passing messages on: lifetimes, limits, dead letters, priorities."""
