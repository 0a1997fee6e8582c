"""The ways in over HTTP: Harbor's webhooks."""
