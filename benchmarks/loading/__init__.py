"""Load on a service: a process to serve, and a generator of requests."""
