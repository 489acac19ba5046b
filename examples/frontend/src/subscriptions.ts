// graphql-ws with the session's token. When the server closes the socket because of it: refresh, and connect again.

import type { FormattedExecutionResult } from "graphql";
import { type Client, type ClientOptions, createClient, type Sink, type SubscribePayload } from "graphql-ws";
import type { Session } from "./session";

// 4401: the session behind an open socket has ended, or its token expired. 4403: the connection was refused.
const [UNAUTHORIZED, FORBIDDEN] = [4401, 4403];

type Result<Data, Extensions> = FormattedExecutionResult<Data, Extensions>;
export type Subscriptions = Pick<Client, "subscribe" | "dispose">;

/** `url` is ws:// or wss://. */
export function createSubscriptions(session: Session, url: string, options?: Partial<ClientOptions>): Subscriptions {
  let generation = session.generation;
  let connections = 0;
  const client = createClient({
    ...options,
    url,
    connectionParams: () => {
      generation = session.generation;
      return session.headers; // none with cookies: the browser sends those along
    },
    on: { connected: () => (connections += 1) },
    // graphql-ws tries a lost network again by itself. What was refused is not to be asked again as it was.
    shouldRetry: (cause) => (cause as CloseEvent).code !== FORBIDDEN,
  });

  function subscribe<Data, Extensions>(payload: SubscribePayload, sink: Sink<Result<Data, Extensions>>): () => void {
    let [stop, stopped, refusedAt] = [() => {}, false, -1];
    const renewed = async ({ code, reason }: Partial<CloseEvent>) => {
      // graphql-ws takes 4401 for fatal, so connecting again is left to us.
      if (code === UNAUTHORIZED) return session.expiredBy(reason, generation) && session.refresh(generation);
      if (code !== FORBIDDEN || refusedAt === connections) return false; // refused with new tokens, too
      refusedAt = connections;
      return session.refresh(generation);
    };
    const error = (cause: unknown) => {
      stop(); // or graphql-ws would go on counting this one among those that keep the socket open
      const decide = (again: boolean) => (stopped ? sink.complete() : again ? start() : sink.error(cause));
      renewed(cause as CloseEvent).then(decide, (failure) => sink.error(failure));
    };
    const start = () => {
      const [next, complete] = [(value: Result<Data, Extensions>) => sink.next(value), () => sink.complete()];
      stop = client.subscribe<Data, Extensions>(payload, { next, error, complete });
    };
    start();
    return () => {
      stopped = true;
      stop();
    };
  }
  return { subscribe, dispose: () => client.dispose() };
}
