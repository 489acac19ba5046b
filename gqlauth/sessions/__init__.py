"""The one door that signs people in, and the sessions behind it."""
