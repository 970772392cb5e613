"""Stable Diffusion 1.x and 2.x from scratch: torch, numpy, safetensors and the standard library only.

The attribute names of every module are the keys of the diffusers checkpoint layout, so that loading one is a single
strict call; the original single-file layout is a table of renames in `checkpoint`.
"""
