"""How fast gqlauth is, against floors that are measured in the same run. See README.md."""
