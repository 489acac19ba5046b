// graphql-ws with the session's token. When the server closes the socket because of it: refresh, and connect again.

import type { FormattedExecutionResult } from "graphql";
import { type Client, type ClientOptions, createClient, type Sink, type SubscribePayload } from "graphql-ws";
import type { Session } from "./session";

const FORBIDDEN = 4403; // the connection was refused; 4401 closes one that was open. Both say why, as `extensions.reason`

type Result<Data, Extensions> = FormattedExecutionResult<Data, Extensions>;
export type Subscriptions = Pick<Client, "subscribe" | "dispose">;

/** `url` is ws:// or wss://. */
export function createSubscriptions(session: Session, url: string, options?: Partial<ClientOptions>): Subscriptions {
  let { generation } = session;
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
    let [stop, stopped, renewedAt] = [() => {}, false, -1];
    const renewed = async ({ reason }: Partial<CloseEvent>) => {
      if (!session.expiredBy(reason, generation) || renewedAt === connections) return false; // new tokens did not help
      renewedAt = connections;
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

/** Sign out at once when the session is ended elsewhere. In `onSignedOut`, dispose of the subscriptions. */
export function watchSession(session: Session, subscriptions: Subscriptions): () => void {
  type Ended = { sessionEnded: { sessionId: string; reason: string } };
  const query = "subscription SessionEnded { sessionEnded { sessionId reason } }";
  const next = ({ data }: Result<Ended, unknown>) => session.end(data?.sessionEnded.reason);
  return subscriptions.subscribe<Ended, unknown>({ query }, { next, error: () => {}, complete: () => {} });
}
