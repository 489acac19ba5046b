// What every client has to do, against a real server whose access tokens live for a few seconds.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { LoginDocument, MeDocument } from "../src/gql/graphql";
import { Session } from "../src/session";
import { Browser, email, endElsewhere, PASSWORD, URL, who } from "./browser";

type Variables = Record<string, unknown>;
type Errors = readonly { extensions?: Variables }[] | undefined;

/** A client under test: how it sends a document, and what GraphQL errors it has thrown. */
export interface Client {
  query<Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V): Promise<Data | undefined>;
  mutate<Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V): Promise<Data | undefined>;
  errors(thrown: unknown): Errors;
}

const NAMES = ["One", "Two", "Three", "Four", "Five"];

export function behaves(name: string, create: (session: Session) => Client) {
  function open(browser: Browser, useCookies = false) {
    const signedOut: (string | undefined)[] = [];
    const onSignedOut = (reason?: string) => void signedOut.push(reason);
    const session = new Session({ url: URL, useCookies, onSignedOut, fetch: browser.fetch });
    const client = create(session);
    const five = () => Promise.allSettled(NAMES.map((name) => client.query(who(name), {})));
    const reasons = (results: PromiseSettledResult<unknown>[]) =>
      results.map((result) => result.status === "rejected" && client.errors(result.reason)?.[0]?.extensions?.reason);
    return { browser, session, client, signedOut, five, reasons };
  }

  async function signedUp(useCookies = false) {
    const page = open(new Browser(), useCookies);
    const address = email();
    const answer = await page.session.signUp(address, PASSWORD, "Ada");
    assert.equal(answer.__typename, "AuthPayload");
    const answers = NAMES.map(() => ({ status: "fulfilled", value: { me: { email: address, name: "Ada" } } }));
    return { ...page, address, answers: JSON.parse(JSON.stringify(answers)) };
  }

  // Apollo adds __typename.
  const plain = (results: unknown) =>
    JSON.parse(JSON.stringify(results), (key, value) => (key === "__typename" ? undefined : value));

  describe(name, { concurrency: true, timeout: 60_000 }, () => {
    test("signs up and asks who it is", async () => {
      const { client, address } = await signedUp();
      assert.equal((await client.query(MeDocument, {}))?.me.email, address);
    });

    test("a wrong password is data", async () => {
      const { client, session, address } = await signedUp();
      const wrong = { email: address, password: "wrong horse battery" };
      const answer = await client.mutate(LoginDocument, wrong);
      assert.equal(answer?.login.__typename, "AuthError");
      assert.equal(answer.login.code, "INVALID_CREDENTIALS");
      assert.equal((await session.logIn(wrong.email, wrong.password)).__typename, "AuthError");
    });

    test("five queries at once share one refresh, and all are answered", async () => {
      const { browser, session, five, signedOut, answers } = await signedUp();
      await browser.expiry(session);
      assert.deepEqual(plain(await five()), answers);
      assert.equal(browser.count("Refresh"), 1);
      assert.deepEqual(signedOut, []);
    });

    test("an answer from before the refresh that comes after it asks for no other one", async () => {
      const { browser, session, client } = await signedUp();
      await browser.expiry(session);
      let release = () => {};
      browser.held.set("Late", new Promise<void>((resolve) => (release = resolve)));
      const late = client.query(who("Late"), {});
      while (!browser.count("Late")) await sleep(10);
      await client.query(who(), {});
      release();
      assert.ok((await late)?.me);
      assert.equal(browser.count("Refresh"), 1);
      assert.equal(browser.count("Late"), 2);
    });

    test("a request is sent once more at most: what it is answered then is handed on", async () => {
      const { browser, session, client, reasons, signedOut } = await signedUp(true);
      await browser.expiry(session);
      let release = () => {};
      browser.held.set("Refresh", new Promise<void>((resolve) => (release = resolve)));
      const results = Promise.allSettled([client.query(who(), {})]);
      const expired = browser.cookies.get("gqlauth-access");
      while (browser.cookies.get("gqlauth-access") === expired) await sleep(10);
      await browser.expiry(session); // the new token has come and expired, too
      release();
      assert.deepEqual(reasons(await results), ["TOKEN_EXPIRED"]);
      assert.deepEqual([browser.count("Who"), browser.count("Refresh"), signedOut], [2, 1, []]);
    });

    test("a refused refresh signs out once, and the callers get their own error", async () => {
      const { browser, session, client, five, reasons, signedOut, address } = await signedUp();
      await endElsewhere(address);
      await browser.expiry(session);
      assert.deepEqual(reasons(await five()), NAMES.map(() => "TOKEN_EXPIRED"));
      assert.deepEqual([browser.count("Refresh"), signedOut], [1, ["TOKEN_EXPIRED"]]);
      assert.deepEqual(session.headers, {});
      assert.deepEqual(reasons(await Promise.allSettled([client.query(who(), {})])), ["TOKEN_MISSING"]);
      assert.equal(signedOut.length, 1);
    });

    test("a session that was ended elsewhere signs out once, without a refresh", async () => {
      let page, told;
      do {
        page = await signedUp();
        await endElsewhere(page.address);
        told = page.reasons(await page.five());
      } while (told.includes("TOKEN_EXPIRED")); // on a machine so busy that the token expired first
      assert.deepEqual(told, NAMES.map(() => "SESSION_REVOKED"));
      assert.deepEqual([page.browser.count("Refresh"), page.signedOut], [0, ["SESSION_REVOKED"]]);
    });

    test("a network that is away signs nobody out, and is no GraphQL error", async () => {
      const { browser, session, five, reasons, signedOut, answers } = await signedUp();
      await browser.expiry(session);
      browser.unplugged = ["Refresh"];
      const results = await five();
      assert.deepEqual(results.map(({ status }) => status), NAMES.map(() => "rejected"));
      assert.deepEqual(reasons(results), NAMES.map(() => undefined));
      assert.deepEqual(signedOut, []);
      browser.unplugged = [];
      assert.deepEqual(plain(await five()), answers);
    });

    test("with cookies no token comes near the page, and the session outlives a reload", async () => {
      const { browser, five, answers } = await signedUp(true);
      assert.deepEqual(plain(await five()), answers);

      const reloaded = open(browser, true);
      await browser.expiry(reloaded.session);
      assert.deepEqual(plain(await reloaded.five()), answers);
      assert.equal(browser.count("Refresh"), 1);
      assert.deepEqual([...browser.authorizations], [null]);
      assert.doesNotMatch(browser.received, /(access|refresh)Token":"|gqr_|eyJ/);

      await reloaded.session.logOut();
      const [stranger] = reloaded.reasons(await Promise.allSettled([reloaded.client.query(who("Stranger"), {})]));
      assert.deepEqual([stranger, reloaded.signedOut], ["TOKEN_MISSING", [undefined]]);
    });
  });
}
