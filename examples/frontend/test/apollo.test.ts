import { CombinedGraphQLErrors } from "@apollo/client";
import { createApolloClient } from "../src/apollo";
import { behaves } from "./behaviour";

behaves("Apollo Client", (session) => {
  const client = createApolloClient(session);
  return {
    query: async (query, variables) => (await client.query({ query, variables, fetchPolicy: "no-cache" })).data,
    mutate: async (mutation, variables) => (await client.mutate({ mutation, variables })).data,
    errors: (thrown) => (CombinedGraphQLErrors.is(thrown) ? thrown.errors : undefined),
  };
});
