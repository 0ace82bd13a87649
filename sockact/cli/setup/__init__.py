"""Commands that start services and write or check their units."""
