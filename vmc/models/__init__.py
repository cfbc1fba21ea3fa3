"""V, M and C, one model a file, and the agent made of them."""
