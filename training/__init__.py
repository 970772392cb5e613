"""How the bundled models were made; the product never imports this package."""
