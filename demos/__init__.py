"""Short scripts that each show one thing about gradients, by numbers and a picture."""
