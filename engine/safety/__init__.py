"""Checks of prompts and pictures; every one of them fails closed."""
