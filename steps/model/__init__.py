"""What is known of a model: metadata, signature, tensors. Values only, no files and no network."""
