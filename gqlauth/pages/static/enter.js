// From the two doors into the house.

import { request, SignedOut, Trouble } from "./api.js";
import { tabs } from "./form.js";

const ME = "{ me { id } }";

const goOn = () => window.location.replace("dashboard");

/** Go to the dashboard if somebody is signed in already. */
export async function resume() {
  try {
    await request(ME);
  } catch {
    return; // nobody is, or it will show when the form is sent
  }
  goOn();
}

/** Go to the dashboard after a sign-in. Throws `Trouble` where the browser did not keep the cookies. */
export async function enter() {
  try {
    await request(ME);
  } catch (error) {
    if (!(error instanceof SignedOut) || error.reason !== "TOKEN_MISSING") throw error;
    throw new Trouble(
      window.isSecureContext
        ? "The browser did not keep the cookies. Allow them for this site and try again."
        : "The browser does not keep the cookies of this address, because it is not https. Ask the server's operator.",
    );
  }
  tabs.postMessage("signed in");
  goOn();
}
