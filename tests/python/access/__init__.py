"""What users may do: permissions on exchanges and queues, and on routing keys of topic exchanges."""
