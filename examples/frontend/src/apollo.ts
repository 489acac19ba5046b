// Apollo Client 4 with a link that attaches the token, refreshes it when it has expired, and tries once more.

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import type { Client } from "graphql-ws";
import { defer, from, map, of, switchMap } from "rxjs";
import type { Session } from "./session";
import type { Subscriptions } from "./subscriptions";

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

export function createApolloClient(session: Session, subscriptions?: Subscriptions): ApolloClient {
  const http = new HttpLink({ uri: session.url, credentials: session.credentials, fetch: session.fetch });
  const requests = createAuthLink(session).concat(http);
  const isSubscription = ({ operationType }: ApolloLink.Operation) => operationType === "subscription";
  const socket = subscriptions && new GraphQLWsLink(subscriptions as Client); // subscribe is all that it calls
  const link = socket ? ApolloLink.split(isSubscription, socket, requests) : requests;
  return new ApolloClient({ link, cache: new InMemoryCache() });
}
