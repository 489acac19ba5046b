// The sign-up page. Who is signed in already goes on to the dashboard.

import { request } from "./api.js";
import { bind } from "./form.js";
import { enter, resume } from "./enter.js";

const SIGNUP = `
  mutation ($email: String!, $password: String!, $name: String!) {
    result: signup(input: { email: $email, password: $password, name: $name, useCookies: true }) {
      __typename
      ... on AuthError { code message field retryAfter }
    }
  }`;

const resumed = resume();

bind(
  document.querySelector("form"),
  async (values) => {
    await resumed; // its refresh must not bring back the cookies of another account
    return (await request(SIGNUP, values)).result;
  },
  enter,
);
