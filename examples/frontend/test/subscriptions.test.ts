// For a server whose schema has subscriptions; tests/test_frontend.py asks it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "graphql";
import WebSocket from "ws";
import { createApolloClient } from "../src/apollo";
import { Session } from "../src/session";
import { createSubscriptions, watchSession } from "../src/subscriptions";
import { createUrqlClient } from "../src/urql";
import { Browser, email, endElsewhere, ORIGIN, PASSWORD, URL, who } from "./browser";

type Ended = { sessionEnded: { reason: string } };
const SESSION_ENDED = "subscription { sessionEnded { reason } }";

async function signedUp(useCookies = false) {
  const browser = new Browser();
  const reasons: (string | undefined)[] = [];
  let tellSignedOut = () => {};
  const signedOut = new Promise<void>((resolve) => (tellSignedOut = resolve));
  const onSignedOut = (reason?: string) => {
    reasons.push(reason);
    tellSignedOut();
  };
  const session = new Session({ url: URL, useCookies, onSignedOut, fetch: browser.fetch });
  const address = email();
  assert.equal((await session.signUp(address, PASSWORD)).__typename, "AuthPayload");

  const closes: string[] = [];
  let opened = 0;
  // A browser's, which sends the cookies along and says which page it is.
  class Socket extends WebSocket {
    constructor(url: string, protocols: string) {
      const cookie = [...browser.cookies].map((pair) => pair.join("=")).join("; ");
      super(url, protocols, { headers: { origin: ORIGIN, ...(cookie && { cookie }) } });
      this.on("close", (code, reason) => closes.push(`${code} ${reason}`));
      this.on("message", (data) => (opened += Number(String(data).includes("connection_ack"))));
    }
  }
  const subscriptions = createSubscriptions(session, URL.replace("http", "ws"), { webSocketImpl: Socket });
  /** Subscribe; keep what comes. */
  const listen = () => {
    const heard: unknown[] = [];
    let stop = () => {};
    const done = new Promise<unknown>((resolve) => {
      const next = (value: { data?: Ended | null }) => void heard.push(value.data?.sessionEnded.reason);
      const sink = { next, error: resolve, complete: () => resolve("complete") };
      stop = subscriptions.subscribe<Ended, unknown>({ query: SESSION_ENDED }, sink);
    });
    return { heard, done, stop: () => stop() };
  };
  const until = async (connections: number) => {
    while (opened < connections) await sleep(10);
  };
  const revoke = () => endElsewhere(address);
  return { browser, session, subscriptions, reasons, signedOut, closes, listen, until, revoke };
}

describe("subscriptions", { concurrency: true, timeout: 60_000 }, () => {
  test("a session that is ended elsewhere is signed out here at once", async () => {
    const { session, subscriptions, reasons, signedOut, until, revoke } = await signedUp();
    watchSession(session, subscriptions);
    await until(1);
    await revoke();
    await signedOut;
    assert.deepEqual(reasons, ["SESSION_REVOKED"]);
    await subscriptions.dispose();
  });

  for (const useCookies of [false, true]) {
    test(`an expired ${useCookies ? "cookie" : "token"} is refreshed once for all, time and again`, async () => {
      const { browser, closes, listen, until, revoke } = await signedUp(useCookies);
      const [one, other] = [listen(), listen()];
      await until(3);
      assert.deepEqual(closes, ["4401 TOKEN_EXPIRED", "4401 TOKEN_EXPIRED"]);
      assert.equal(browser.count("Refresh"), 2);
      await revoke();
      await Promise.all([one.done, other.done]);
      assert.deepEqual([one.heard, other.heard], [["SESSION_REVOKED"], ["SESSION_REVOKED"]]);
    });
  }

  test("a connection that is refused for its expired token is tried again with a new one", async () => {
    const { browser, session, closes, listen, until } = await signedUp();
    await browser.expiry(session);
    const { stop, done } = listen();
    await until(1);
    assert.deepEqual([closes, browser.count("Refresh")], [["4403 TOKEN_EXPIRED"], 1]);
    stop();
    assert.equal(await done, "complete");
    while (closes.length < 2) await sleep(10);
    assert.match(String(closes[1]), /^1000/);
  });

  test("a connection that is refused for its session signs out", async () => {
    const { closes, listen, revoke, reasons } = await signedUp();
    await revoke();
    const cause = (await listen().done) as CloseEvent;
    assert.deepEqual([cause.code, cause.reason, closes], [4403, "SESSION_REVOKED", ["4403 SESSION_REVOKED"]]);
    assert.deepEqual(reasons, ["SESSION_REVOKED"]);
  });

  test("a refused refresh signs out", async () => {
    const { browser, session, listen, revoke, reasons } = await signedUp();
    await revoke();
    await browser.expiry(session);
    assert.equal(((await listen().done) as CloseEvent).reason, "TOKEN_EXPIRED");
    assert.deepEqual(reasons, ["TOKEN_EXPIRED"]);
  });

  test("a network that is away during the refresh signs nobody out", async () => {
    const { browser, session, listen, reasons } = await signedUp();
    await browser.expiry(session);
    browser.unplugged = ["Refresh"];
    assert.ok((await listen().done) instanceof TypeError);
    assert.deepEqual(reasons, []);
  });

  test("Apollo Client and urql subscribe through it", async () => {
    const { session, subscriptions, until, revoke } = await signedUp();
    const query = parse(SESSION_ENDED);
    const apollo = createApolloClient(session, subscriptions);
    const urql = createUrqlClient(session, subscriptions);
    const heard = Promise.all([
      new Promise((resolve, error) => apollo.subscribe<Ended>({ query }).subscribe({ next: resolve, error })),
      new Promise((resolve) => urql.subscription<Ended>(query, {}).subscribe(resolve)),
    ]);
    assert.ok((await apollo.query({ query: who() })).data); // by the other link
    await until(1);
    await revoke();
    for (const result of await heard) assert.equal((result as { data: Ended }).data.sessionEnded.reason, "SESSION_REVOKED");
  });
});
