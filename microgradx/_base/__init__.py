"""Helpers of every room: numbers and arguments, text, files. Nobody learns from them."""
