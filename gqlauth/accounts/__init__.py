"""Sign up, log in, me: the account in its owner's hands."""
