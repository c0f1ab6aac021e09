"""From sources to sharded records."""
