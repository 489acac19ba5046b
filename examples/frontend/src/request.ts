// graphql-request, in a function that attaches the token, refreshes it when it has expired, and tries once more.

import { ClientError, GraphQLClient, type RequestOptions, type Variables } from "graphql-request";
import type { Session } from "./session";

export function createRequest(session: Session) {
  const client = new GraphQLClient(session.url, {
    headers: () => session.headers, // a function: it is asked anew for each try
    credentials: session.credentials,
    fetch: session.fetch,
  });

  /** Send `{ document, variables }`. Throws a `ClientError` with what GraphQL has to say against it. */
  return async <Data, V extends Variables>(options: RequestOptions<V, Data>): Promise<Data> => {
    const { generation } = session;
    try {
      return await client.request(options);
    } catch (error) {
      const expired = error instanceof ClientError && session.expired(error.response.errors, generation);
      // A second answer is handed on whatever it says: one refresh, one more try.
      if (expired && (await session.refresh(generation))) return client.request(options);
      throw error;
    }
  };
}
