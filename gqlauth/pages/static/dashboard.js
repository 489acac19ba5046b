// The dashboard: the profile, the devices, the password, and the end of the account.

import { request, SignedOut } from "./api.js";
import { nameOf, writeAgo, writeDay } from "./devices.js";
import { bind, busy, fail, leave, reset, tabs } from "./form.js";

const REFUSAL = "... on AuthError { code message field retryAfter }";
const PROFILE = "id email name emailVerified createdAt";
const SESSIONS = "sessions { id current createdAt lastUsedAt ipAddress userAgent }";
const ACCOUNT = `{ me { ${PROFILE} } ${SESSIONS} }`;
const UPDATE = `mutation ($name: String!) {
  result: updateProfile(input: { name: $name }) { __typename ... on User { ${PROFILE} } ${REFUSAL} }
}`;
const CHANGE = `mutation ($currentPassword: String!, $newPassword: String!) {
  result: changePassword(input: { currentPassword: $currentPassword, newPassword: $newPassword }) { __typename ${REFUSAL} }
}`;
const DELETE = `mutation ($password: String!) { result: deleteAccount(password: $password) { __typename ${REFUSAL} } }`;
const REVOKE = "mutation ($id: ID!) { revokeSession(id: $id) }";
const REVOKE_OTHERS = "mutation { revokeOtherSessions }";
const LOGOUT = "mutation { logout }";

const get = (id) => document.getElementById(id);
const main = document.querySelector("main");
const dialog = document.querySelector("dialog");

let shown = null; // the id of the account on the page

async function load() {
  get("trouble").textContent = "";
  get("again").hidden = true;
  get("loading").hidden = false;
  main.ariaBusy = "true";
  try {
    const { me, sessions } = await request(ACCOUNT);
    shown = me.id;
    showProfile(me);
    showDevices(sessions);
    get("content").hidden = false;
  } catch (error) {
    if (error.reason === "TOKEN_MISSING") return leave(); // nobody has been signed in: nothing to explain
    get("again").hidden = false;
    fail(error, get("trouble"));
  } finally {
    get("loading").hidden = true;
    main.ariaBusy = null;
  }
}

function showProfile(user) {
  get("email").textContent = user.email;
  get("verified").textContent = user.emailVerified ? "Verified" : "Not verified";
  get("verified").classList.toggle("good", user.emailVerified);
  get("name").value = user.name;
  writeDay(get("since"), user.createdAt);
  for (const input of document.querySelectorAll("input.account")) input.value = user.email;
}

function showDevices(sessions) {
  const current = sessions.filter((session) => session.current);
  const others = sessions.filter((session) => !session.current);
  get("devices").replaceChildren(...[...current, ...others].map(deviceOf));
  get("others").hidden = others.length === 0;
}

function deviceOf(session) {
  const item = get("device").content.cloneNode(true);
  const name = nameOf(session.userAgent);
  const button = item.querySelector("button");
  item.querySelector(".device-name").textContent = name;
  item.querySelector(".device-name").title = session.userAgent ?? "";
  item.querySelector(".badge").hidden = !session.current;
  item.querySelector(".from").textContent = session.ipAddress ? ` from ${session.ipAddress}` : "";
  writeAgo(item.querySelector(".used"), session.lastUsedAt);
  writeDay(item.querySelector(".begun"), session.createdAt);
  button.ariaLabel = session.current ? "Sign out this device" : `Sign out ${name}`;
  const action = session.current ? signOut : () => endSession(session, name);
  button.addEventListener("click", () => busy(button, () => attempt(action)));
  return item;
}

/** Run an action of the devices' section, and tell there what became of it. */
async function attempt(action) {
  get("devices-trouble").textContent = "";
  get("devices-done").textContent = "";
  try {
    const text = await action();
    if (!text) return;
    const { sessions } = await request(`{ ${SESSIONS} }`);
    showDevices(sessions);
    get("devices-done").textContent = text;
    get("devices-title").focus(); // the button that had it may be gone
  } catch (error) {
    fail(error, get("devices-trouble"));
  }
}

async function endSession(session, name) {
  const { revokeSession: ended } = await request(REVOKE, { id: session.id });
  return ended ? `${name} has been signed out.` : `${name} was no longer signed in.`;
}

async function endOthers() {
  const { revokeOtherSessions: count } = await request(REVOKE_OTHERS);
  return `${count} other ${count === 1 ? "device has" : "devices have"} been signed out.`;
}

async function signOut() {
  await request(LOGOUT);
  depart("signed-out");
}

/** Whoever comes back to this tab must not act for somebody else who signed in meanwhile, wherever that was. */
async function check() {
  if (document.visibilityState !== "visible" || shown === null) return;
  try {
    const { me } = await request("{ me { id } }");
    if (me.id !== shown) window.location.reload();
  } catch (error) {
    if (error instanceof SignedOut) fail(error); // a server that cannot be reached shows with the next action
  }
}

function depart(fragment) {
  tabs.postMessage("signed out");
  leave(fragment);
}

bind(
  get("profile"),
  async (values) => (await request(UPDATE, values)).result,
  (user) => {
    showProfile(user);
    return "Saved.";
  },
);

bind(
  get("password"),
  async (values) => (await request(CHANGE, values)).result,
  async () => {
    reset(get("password"));
    const { sessions } = await request(`{ ${SESSIONS} }`);
    showDevices(sessions);
    return "Your password has been changed, and all other devices have been signed out.";
  },
);

bind(
  get("deletion"),
  async (values) => (await request(DELETE, values)).result,
  () => depart("deleted"),
);

get("again").addEventListener("click", load);
get("others").addEventListener("click", () => busy(get("others"), () => attempt(endOthers)));
get("delete").addEventListener("click", () => dialog.showModal());
get("keep").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => reset(get("deletion")));
get("sign-out").addEventListener("click", () =>
  busy(get("sign-out"), async () => {
    get("trouble").textContent = "";
    await signOut().catch((error) => fail(error, get("trouble")));
  }),
);

// Somebody else may be signed in now, by another tab; and a page that comes back may be of somebody who has left.
tabs.addEventListener("message", ({ data }) => (data === "signed out" ? leave("signed-out") : window.location.reload()));
document.addEventListener("visibilitychange", check);
window.addEventListener("pageshow", ({ persisted }) => persisted && window.location.reload());

load();
