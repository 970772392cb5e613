"""Training of the bundled ``emoji`` model: a small Stable Diffusion on MIT-licensed emoji art.

Run in this order (README.md has the exact commands): data, vocabulary, train_autoencoder, latents, train_text,
train_denoiser, export, evaluate. Every step is seeded and resumes from its last checkpoint after a kill.
"""
