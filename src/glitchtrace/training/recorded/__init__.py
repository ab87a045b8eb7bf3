"""A training by plain SGD, recorded so that it can be repeated and walked backwards."""
