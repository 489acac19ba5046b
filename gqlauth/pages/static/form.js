// What all forms have in common: what is missing, what was refused and where, and that nothing typed is lost.

import { SignedOut, Trouble } from "./api.js";

/** Why somebody who was signed in finds the sign-in page: the fragment of its address for each reason. */
const FRAGMENTS = {
  TOKEN_MISSING: "signed-out",
  TOKEN_INVALID: "ended",
  TOKEN_EXPIRED: "ended",
  INVALID_TOKEN: "ended",
  SESSION_REVOKED: "ended",
  ACCOUNT_DISABLED: "disabled",
  ORIGIN_NOT_ALLOWED: "origin",
};

/** Tells the other tabs that somebody else may be signed in now. */
export const tabs = new BroadcastChannel("gqlauth");

/** Go to the sign-in page, with a word on why. */
export function leave(fragment) {
  window.location.replace(fragment ? `./#${fragment}` : "./");
}

/** Show what a failed action means, in `place`; who is signed out is told on the sign-in page. */
export function fail(error, place) {
  if (error instanceof SignedOut) {
    leave(FRAGMENTS[error.reason] ?? "ended");
  } else if (error instanceof Trouble) {
    place.textContent = error.message;
  } else {
    place.textContent = "Something went wrong on this page. Load it again.";
    throw error;
  }
}

/** Return the text of an `AuthError`. */
export function describe({ code, message, retryAfter }) {
  return code === "RATE_LIMITED" && retryAfter ? `Too many attempts. Try again in ${duration(retryAfter)}.` : message;
}

function duration(seconds) {
  const [amount, unit] =
    seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  return new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 }).format(
    Math.ceil(amount),
  );
}

/** Let one action run at a time; the button keeps the focus meanwhile. */
export async function busy(button, action) {
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true";
  try {
    await action();
  } finally {
    button.ariaDisabled = null;
  }
}

/**
 * Send a form by `send`, which gets its values by name and returns the result of its mutation.
 *
 * An `AuthError` is shown at its field, or at the top of the form. Anything else goes to `done`, whose text, if it returns
 * one, is shown as the form's status.
 */
export function bind(form, send, done) {
  const alert = form.querySelector("[role=alert]");
  const status = form.querySelector("[role=status]");
  const button = form.querySelector("[type=submit]");

  const submit = async () => {
    clear(form);
    if (status) status.textContent = "";
    conceal(form);
    if (!isComplete(form)) return;
    try {
      const result = await send(Object.fromEntries(new FormData(form)));
      if (result.__typename === "AuthError") {
        refuse(form, result);
        return;
      }
      const text = await done(result);
      if (status && text) status.textContent = text;
    } catch (error) {
      fail(error, alert);
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, submit);
  });
  form.addEventListener("input", ({ target }) => mark(target, ""));
  for (const reveal of form.querySelectorAll(".reveal")) reveal.addEventListener("click", () => toggle(reveal));
}

/** Empty a form, its passwords above all. */
export function reset(form) {
  form.reset();
  clear(form);
  conceal(form);
}

function clear(form) {
  form.querySelector("[role=alert]").textContent = "";
  for (const input of form.querySelectorAll("input[name]")) mark(input, "");
}

function isComplete(form) {
  const missing = [...form.querySelectorAll("input[required]")].filter((input) => input.value === "");
  for (const input of missing) mark(input, input.dataset.missing);
  missing[0]?.focus();
  return missing.length === 0;
}

function refuse(form, error) {
  const input = error.field && form.querySelector(`input[name="${CSS.escape(error.field)}"]`);
  if (input) {
    mark(input, describe(error));
    input.focus();
  } else {
    form.querySelector("[role=alert]").textContent = describe(error);
  }
}

/** Show a text at a field, and say to assistive technology that it is invalid; or take both back. */
function mark(input, text) {
  input.ariaInvalid = text ? "true" : null;
  const place = document.getElementById(`${input.id}-error`);
  if (place) place.textContent = text;
}

function toggle(button) {
  show(button, document.getElementById(button.dataset.for).type === "password");
}

/** A password must be one again when it is sent: browsers remember what was typed into a text. */
function conceal(form) {
  for (const button of form.querySelectorAll(".reveal")) show(button, false);
}

function show(button, visible) {
  document.getElementById(button.dataset.for).type = visible ? "text" : "password";
  button.textContent = visible ? "Hide" : "Show";
  button.ariaLabel = button.ariaLabel.replace(/^\w+/, button.textContent);
}
