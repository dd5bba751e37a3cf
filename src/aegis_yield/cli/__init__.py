"""The commands: parse, call one pipeline, render."""
