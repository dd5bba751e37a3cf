"""The network, how it is trained, what it is compared with, and how its doubt is calibrated."""
