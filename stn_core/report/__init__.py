"""What a person reads after a session."""
