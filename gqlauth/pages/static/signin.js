// The sign-in page. Who is signed in already goes on to the dashboard.

import { request } from "./api.js";
import { bind } from "./form.js";
import { enter, resume } from "./enter.js";

const LOGIN = `
  mutation ($email: String!, $password: String!) {
    result: login(input: { email: $email, password: $password, useCookies: true }) {
      __typename
      ... on AuthError { code message field retryAfter }
    }
  }`;

/** Why somebody comes here, by the fragment of the address. Nothing of the address itself is ever shown. */
const NOTICES = {
  "signed-out": "You are signed out.",
  ended: "You have been signed out: this session was ended, or has expired. Sign in again.",
  disabled: "You have been signed out: this account has been disabled or deleted.",
  deleted: "Your account has been deleted.",
  origin: "The server does not know this page's address as its own. Its operator has to set GQLAUTH_PUBLIC_URL to it.",
};

const notice = document.getElementById("notice");

function explain() {
  notice.textContent = NOTICES[window.location.hash.slice(1)] ?? "";
  history.replaceState(null, "", window.location.pathname);
}

window.addEventListener("hashchange", explain);
explain();

const resumed = resume();

bind(
  document.querySelector("form"),
  async (values) => {
    notice.textContent = "";
    await resumed; // its refresh must not bring back the cookies of another account
    return (await request(LOGIN, values)).result;
  },
  enter,
);
