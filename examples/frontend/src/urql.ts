// urql with its own authExchange: it holds operations back during a refresh, and sends them once more after it.

import * as urql from "@urql/core";
import { authExchange } from "@urql/exchange-auth";
import type { Session } from "./session";
import type { Subscriptions } from "./subscriptions";

export function createUrqlClient(session: Session, subscriptions?: Subscriptions): urql.Client {
  let failed: { error: urql.CombinedError; generation: number };

  const auth = authExchange(async ({ appendHeaders }) => ({
    addAuthToOperation(operation) {
      const context = { ...operation.context, generation: session.generation };
      return appendHeaders(urql.makeOperation(operation.kind, operation, context), session.headers);
    },
    didAuthError(error, { context }) {
      failed = { error, generation: context.generation };
      return session.expired(error.graphQLErrors, context.generation);
    },
    async refreshAuth() {
      const { error, generation } = failed; // of the operation that called for it
      if (!(await session.refresh(generation))) throw error;
    },
  }));
  // What refreshAuth throws reaches all who waited as their "network error". Inside of it are GraphQL's errors.
  const unwrap = urql.mapExchange({
    onResult(result) {
      const cause = result.error?.networkError;
      return cause instanceof urql.CombinedError ? { ...result, error: cause } : result;
    },
  });
  const sockets = subscriptions && [
    urql.subscriptionExchange({
      forwardSubscription: ({ query = "", ...rest }) => ({
        subscribe: (sink) => ({ unsubscribe: subscriptions.subscribe({ query, ...rest }, sink) }),
      }),
    }),
  ];
  return new urql.Client({
    url: session.url,
    fetch: session.fetch,
    fetchOptions: { credentials: session.credentials },
    preferGetMethod: false, // the API takes POST alone
    exchanges: [urql.cacheExchange, unwrap, auth, ...(sockets ?? []), urql.fetchExchange],
  });
}
