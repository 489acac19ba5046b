"""Who an account is: the table, the GraphQL type."""
