"""What an installation needs, checked."""
