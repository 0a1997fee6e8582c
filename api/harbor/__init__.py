"""Harbor's side: its events and its REST interface."""
