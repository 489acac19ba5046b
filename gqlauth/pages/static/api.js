// The one way to the API. The tokens are in cookies that no script can read; this refreshes them when it is told to.

const ENDPOINT = new URL(document.querySelector("meta[name=gqlauth-api]").content, document.baseURI);
const PATIENCE_MS = 20_000;
const LOCK = "gqlauth-refresh";
const MOST_REFRESHES = 2;

/** Nobody is signed in, or not any more; `reason` is the API's. */
export class SignedOut extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** There is no answer, or none that helps. The message is for people. */
export class Trouble extends Error {}

/**
 * Send a document and return its data.
 *
 * Throws `SignedOut` or `Trouble`. An expired access token is refreshed, and the document sent again: a guard has refused
 * it before anything was done.
 */
export async function request(query, variables) {
  for (let refreshes = 0; ; refreshes += 1) {
    const { data, errors = [] } = await post(query, variables);
    const refusal = errors.find((error) => error.extensions?.code === "UNAUTHENTICATED")?.extensions;
    if (refusal?.reason === "TOKEN_EXPIRED" && refreshes < MOST_REFRESHES) {
      await refreshOnce();
    } else if (refusal) {
      throw new SignedOut(refusal.reason);
    } else if (errors.length > 0) {
      throw new Trouble(describe(errors[0]));
    } else {
      return data;
    }
  }
}

async function post(query, variables) {
  let response;
  try {
    response = await fetch(ENDPOINT, {
      method: "POST",
      headers: { accept: "application/graphql-response+json, application/json;q=0.9", "content-type": "application/json" },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Trouble("The server cannot be reached. Check your connection and try again.");
  }
  try {
    return await response.json();
  } catch {
    throw new Trouble(`The server did not answer as it should (HTTP ${response.status}). Try again in a while.`);
  }
}

function describe({ message, extensions = {} }) {
  const id = extensions.id ? ` If you report it, name ${extensions.id}.` : "";
  return `${message} What you have typed is still there; try again in a while.${id}`;
}

/**
 * However many requests have failed meanwhile, on however many tabs: who finds the lock taken waits for its holder, whose
 * new cookies are everybody's.
 */
async function refreshOnce() {
  if (!navigator.locks) return refresh(); // an old browser; the server gives two tabs that refresh at once the same token
  return navigator.locks.request(LOCK, { ifAvailable: true }, (lock) =>
    lock ? refresh() : navigator.locks.request(LOCK, () => {}),
  );
}

async function refresh() {
  const { data, errors = [] } = await post("mutation { refreshToken { __typename ... on AuthError { code message } } }");
  if (errors.length > 0) throw new Trouble(describe(errors[0]));
  const { __typename: type, code, message } = data.refreshToken;
  if (type === "AuthPayload") return;
  throw code === "INVALID_TOKEN" ? new SignedOut(code) : new Trouble(message);
}
