"""Why a gradient is what it is, whether it is right, and what is proved of it."""
