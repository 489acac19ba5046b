import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createApp } from "../src/app";
import { createRequest } from "../src/request";
import { Session } from "../src/session";
import { MeDocument } from "../src/gql/graphql";
import { Browser, email, endElsewhere, PASSWORD, URL, who } from "./browser";

function open() {
  const browser = new Browser();
  const signedOut: (string | undefined)[] = [];
  const session = new Session({ url: URL, fetch: browser.fetch, onSignedOut: (reason) => void signedOut.push(reason) });
  const request = createRequest(session);
  const me = async () => (await request({ document: who() })).me.email;
  return { browser, session, me, signedOut };
}

async function signedUp() {
  const page = open();
  const address = email();
  assert.equal((await page.session.signUp(address, PASSWORD)).__typename, "AuthPayload");
  return { ...page, address };
}

describe("a session", { concurrency: true, timeout: 60_000 }, () => {
  for (const fate of ["accepted", "refused"]) {
    test(`a login waits for no refresh, and is not undone by one that is ${fate} after it`, async () => {
      const { browser, session, me, signedOut, address: former } = await signedUp();
      const { address } = await signedUp();
      if (fate === "refused") await endElsewhere(former);
      await browser.expiry(session);
      let release = () => {};
      browser.held.set("Refresh", new Promise<void>((resolve) => (release = resolve)));
      const waiting = me();
      while (!browser.count("Refresh")) await sleep(10);

      assert.equal((await session.logIn(address, PASSWORD)).__typename, "AuthPayload");
      release();
      assert.equal(await waiting, address);
      assert.deepEqual([await me(), signedOut], [address, []]);
    });
  }

  test("signing out ends the session on the server though the access token has expired", async () => {
    const { browser, session, address, signedOut } = await signedUp();
    await browser.expiry(session);
    await session.logOut();
    assert.deepEqual([signedOut, session.headers], [[undefined], {}]);

    const later = open();
    await later.session.logIn(address, PASSWORD);
    const { data } = await later.browser.ask(later.session, "{ sessions { current } }");
    assert.deepEqual(data.sessions, [{ current: true }]);
  });

  test("too many refreshes sign nobody out", async () => {
    const { session, signedOut } = await signedUp();
    const often = async () => {
      for (;;) assert.ok(await session.refresh(session.generation));
    };
    await assert.rejects(often(), { name: "Error", message: "Too many attempts. Try again later." });
    assert.match(String(session.headers.Authorization), /^Bearer eyJ/);
    assert.deepEqual(signedOut, []);
  });

  test("an app shows a refusal, and keeps nothing for the next person when it signs out", async () => {
    const { address } = await signedUp();
    const shown: (string | undefined)[] = [];
    const { client, session, signIn } = createApp(URL, (reason) => shown.push(reason), { fetch: new Browser().fetch });
    assert.deepEqual(await signIn(address, "wrong"), { field: "form", message: "The e-mail address or the password is wrong." });
    assert.equal(await signIn(address, PASSWORD), undefined);
    assert.equal((await client.query({ query: MeDocument })).data?.me.email, address);
    await session.logOut();
    assert.deepEqual([client.extract(), shown], [{}, [undefined]]);
  });
});
