// Subscribes with the npm client graphql-ws. Each line of standard input is a client to open, as JSON; each line of
// standard output is what happened to one.
import { createInterface } from "node:readline";

import { createClient } from "graphql-ws";
import WebSocket from "ws";

const url = process.argv[2];
const say = (line) => console.log(JSON.stringify(line));

function subscribe({ name, query, params, headers }) {
  class WithHeaders extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols, { headers });
    }
  }
  const client = createClient({
    url,
    webSocketImpl: WithHeaders,
    connectionParams: params,
    lazyCloseTimeout: 10_000, // it would close the socket itself once the subscription is complete
    retryAttempts: 0,
    on: {
      connected: () => say({ name, connected: true }),
      closed: ({ code, reason }) => say({ name, code, reason }),
    },
  });
  client.subscribe(
    { query },
    {
      next: (result) => say({ name, next: result }),
      error: (error) => Array.isArray(error) && say({ name, errors: error }),
      complete: () => say({ name, complete: true }),
    },
  );
}

for await (const line of createInterface({ input: process.stdin })) subscribe(JSON.parse(line));
