// Apollo Client 4 with a link that attaches the token, refreshes it when it has expired, and tries once more.

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { defer, from, map, of, switchMap } from "rxjs";
import type { Session } from "./session";

export function createAuthLink(session: Session): ApolloLink {
  return new ApolloLink((operation, forward) => {
    // Deferred, so that a second try takes the token of that moment.
    const send = () =>
      defer(() => {
        const { generation, headers } = session;
        operation.setContext((before) => ({ headers: { ...before.headers, ...headers } }));
        return forward(operation).pipe(map((result) => ({ result, generation })));
      });
    return send().pipe(
      switchMap(({ result, generation }) => {
        if (!session.expired(result.errors, generation)) return of(result);
        // A second answer is handed on whatever it says: one refresh, one more try.
        const again = () => send().pipe(map((second) => second.result));
        return from(session.refresh(generation)).pipe(switchMap((renewed) => (renewed ? again() : of(result))));
      }),
    );
  });
}

export function createApolloClient(session: Session): ApolloClient {
  const http = new HttpLink({ uri: session.url, credentials: session.credentials, fetch: session.fetch });
  return new ApolloClient({ link: createAuthLink(session).concat(http), cache: new InMemoryCache() });
}
