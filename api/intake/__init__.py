"""What a push leads to: one question, whoever asks it."""
