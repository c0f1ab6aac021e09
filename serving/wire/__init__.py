"""How requests travel: messages, tensors and JSON, in numpy alone and shared with the client."""
