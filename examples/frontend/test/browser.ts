// What a browser adds to node's fetch: it keeps cookies, says which page asks, and asks first (CORS).

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "graphql";
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import type { MeQuery } from "../src/gql/graphql";
import { Session } from "../src/session";

export const URL = process.env.GQLAUTH_URL ?? "http://127.0.0.1:8000/graphql";
export const ORIGIN = process.env.GQLAUTH_CORS_ORIGINS ?? "http://localhost:5173";
export const PASSWORD = "correct horse battery";
// Nothing listens there.
const NOWHERE = "http://127.0.0.1:9/graphql";
const SAFELISTED = ["accept", "accept-language", "content-language"];

let accounts = 0;
export const email = () => `user-${process.pid}-${(accounts += 1)}@example.com`;

/** `me`, under a name of its own: clients send equal documents only once. */
export const who = (name = "Who") => parse(`query ${name} { me { email name } }`) as TypedDocumentNode<Pick<MeQuery, "me">>;

export class Browser {
  /** The names of the operations in the order in which they were sent. */
  sent: string[] = [];
  /** All that was received, and every Authorization that was sent. */
  received = "";
  authorizations = new Set<string | null>();
  /** The network is away for operations of these names. */
  unplugged: string[] = [];
  /** Answers that are held back until then. */
  held = new Map<string, Promise<unknown>>();
  cookies = new Map<string, string>();

  count(name: string) {
    return this.sent.filter((sent) => sent === name).length;
  }

  fetch: typeof fetch = async (input, init) => {
    const name = /^\s*(?:query|mutation) (\w+)/.exec(JSON.parse(String(init?.body)).query)?.[1] ?? "";
    this.sent.push(name);
    const answer = await this.send(this.unplugged.includes(name) ? NOWHERE : String(input), init);
    this.received += await answer.clone().text();
    await this.held.get(name);
    return answer;
  };

  private async send(url: string, init: RequestInit = {}) {
    const headers = new Headers(init.headers);
    this.authorizations.add(headers.get("authorization"));
    await this.preflight(url, init.method ?? "GET", headers);
    headers.set("origin", ORIGIN);
    const included = init.credentials === "include";
    if (included) headers.set("cookie", [...this.cookies].map((pair) => pair.join("=")).join("; "));
    const answer = await fetch(url, { ...init, headers });
    this.check(answer, included);
    if (included) answer.headers.getSetCookie().forEach((line) => this.keep(line));
    return answer;
  }

  private async preflight(url: string, method: string, headers: Headers) {
    const names = [...headers.keys()].filter((name) => !SAFELISTED.includes(name)).join(",");
    const asked = { "access-control-request-method": method, "access-control-request-headers": names };
    const answer = await fetch(url, { method: "OPTIONS", headers: { origin: ORIGIN, ...asked } });
    if (!answer.ok) throw new TypeError(`${names}: ${await answer.text()}`);
  }

  private check(answer: Response, included: boolean) {
    const allowed = answer.headers.get("access-control-allow-origin") === ORIGIN;
    const withCookies = answer.headers.get("access-control-allow-credentials") === "true";
    if (!allowed || (included && !withCookies)) throw new TypeError("a browser would not show this answer to the page");
  }

  private keep(line: string) {
    const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (!/; HttpOnly/i.test(line)) throw new Error(`a script could read ${name}`);
    if (/; Max-Age=0/i.test(line)) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }

  /** Ask past the client under test. */
  async ask(session: Session, query: string, variables: object = {}) {
    const body = JSON.stringify({ query, variables });
    const headers = { "content-type": "application/json", ...session.headers };
    const answer = await this.send(URL, { method: "POST", body, headers, credentials: session.credentials });
    return answer.json();
  }

  /** Wait until the access token has expired. */
  async expiry(session: Session) {
    for (;;) {
      const { errors } = await this.ask(session, "{ me { email } }");
      if (errors?.[0].extensions.reason === "TOKEN_EXPIRED") return;
      await sleep(100);
    }
  }
}

/** Sign in on another device, and sign out all others there. */
export async function endElsewhere(address: string) {
  const device = new Browser();
  const session = new Session({ url: URL, fetch: device.fetch });
  await session.logIn(address, PASSWORD);
  const { data } = await device.ask(session, "mutation { revokeOtherSessions }");
  assert.equal(data.revokeOtherSessions, 1);
}
