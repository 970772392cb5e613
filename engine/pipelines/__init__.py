"""Ways to turn requests into pixels: our own Stable Diffusion, or diffusers."""
