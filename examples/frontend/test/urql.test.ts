import { CombinedError, type OperationResult } from "@urql/core";
import { createUrqlClient } from "../src/urql";
import { behaves } from "./behaviour";

function unpack<Data>({ data, error }: OperationResult<Data>): Data | undefined {
  if (error) throw error;
  return data;
}

behaves("urql", (session) => {
  const client = createUrqlClient(session);
  return {
    query: async (query, variables) => unpack(await client.query(query, variables, { requestPolicy: "network-only" })),
    mutate: async (mutation, variables) => unpack(await client.mutation(mutation, variables)),
    errors: (thrown) => (thrown instanceof CombinedError && !thrown.networkError ? thrown.graphQLErrors : undefined),
  };
});
