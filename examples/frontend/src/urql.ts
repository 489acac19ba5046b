// urql with its own authExchange: it holds operations back during a refresh, and sends them once more after it.

import { Client, CombinedError, cacheExchange, fetchExchange, makeOperation, mapExchange } from "@urql/core";
import { authExchange } from "@urql/exchange-auth";
import type { Session } from "./session";

export function createUrqlClient(session: Session): Client {
  let failed: { error: CombinedError; generation: number };

  const auth = authExchange(async ({ appendHeaders }) => ({
    addAuthToOperation(operation) {
      const context = { ...operation.context, generation: session.generation };
      return appendHeaders(makeOperation(operation.kind, operation, context), session.headers);
    },
    didAuthError(error, { context }) {
      failed = { error, generation: context.generation };
      return session.expired(error.graphQLErrors, context.generation);
    },
    async refreshAuth() {
      const { error, generation } = failed; // of the operation that has called for this
      if (!(await session.refresh(generation))) throw error;
    },
  }));
  // What refreshAuth throws comes out as the "network error" of all who waited: unwrap it, they are GraphQL's errors.
  const unwrap = mapExchange({
    onResult: (result) =>
      result.error?.networkError instanceof CombinedError ? { ...result, error: result.error.networkError } : result,
  });
  return new Client({
    url: session.url,
    fetch: session.fetch,
    fetchOptions: { credentials: session.credentials },
    preferGetMethod: false, // the API takes POST alone
    exchanges: [cacheExchange, unwrap, auth, fetchExchange],
  });
}
