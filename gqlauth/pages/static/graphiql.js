// GraphiQL for gqlauth: ready tabs, and a fetcher that remembers who signed in.
//
// The tokens live in this closure only: not in localStorage, not in the URL, gone with the page. With `useCookies` they
// live in cookies that no script can read.
(() => {
  "use strict";

  const SIGNED_IN = `    ... on AuthPayload {
      accessToken
      expiresIn
      refreshToken
      user {
        id
        email
        name
      }
    }
    ... on AuthError {
      code
      message
      field
    }`;

  const ACCOUNT = { email: "ada@example.com", password: "correct horse battery" };

  const TABS = [
    {
      query: `# Makes an account and signs it in. From then on
# this page sends its access token by itself.
mutation Signup($input: SignupInput!) {
  signup(input: $input) {
${SIGNED_IN}
  }
}
`,
      variables: JSON.stringify({ input: { ...ACCOUNT, name: "Ada" } }, null, 2),
    },
    {
      query: `# Signs in. From then on this page sends
# the access token by itself.
mutation Login($input: LoginInput!) {
  login(input: $input) {
${SIGNED_IN}
  }
}
`,
      variables: JSON.stringify({ input: ACCOUNT }, null, 2),
    },
    {
      query: `# Who is signed in. An Authorization header
# that you type below goes first.
query Me {
  me {
    id
    email
    name
    emailVerified
    createdAt
  }
}
`,
    },
    {
      query: `# Where you are signed in. End one of them with
# revokeSession(id: …).
query Sessions {
  sessions {
    id
    current
    createdAt
    lastUsedAt
    expiresAt
    ipAddress
    userAgent
  }
}
`,
    },
  ];

  const REFRESH = `mutation ($token: String) {
  refreshToken(refreshToken: $token) {
    ... on AuthPayload { accessToken refreshToken }
  }
}`;

  /**
   * Who is signed in, and those who want to know: `{ name, token, refreshToken }`, or `{ name, inCookies }` where the
   * browser keeps the tokens. An object stands for one sign-in; a refresh changes what is in it.
   */
  function createViewer() {
    let viewer = null;
    const listeners = new Set();
    return {
      get: () => viewer,
      set: (next) => {
        viewer = next;
        listeners.forEach((listener) => listener());
      },
      subscribe: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  }

  /** What signed somebody in, in the data of an answer, whatever the field is called. */
  const findPayload = (data) => Object.values(data ?? {}).find((value) => value?.accessToken !== undefined);

  const isRefused = (errors) => (errors ?? []).some((error) => error.extensions?.code === "UNAUTHENTICATED");
  const isExpired = (errors) => (errors ?? []).some((error) => error.extensions?.reason === "TOKEN_EXPIRED");

  /** The account that a token is of, where the answer does not name it. */
  function subject(token) {
    try {
      const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      return JSON.parse(atob(claims)).sub;
    } catch {
      return "an account";
    }
  }

  /** The viewer that a payload makes. An access token that is null is in a cookie, and so is the refresh token. */
  function viewerOf({ accessToken, refreshToken, user }, sender) {
    if (accessToken === null) return { name: user?.email ?? sender?.name ?? "an account", inCookies: true };
    return { name: user?.email ?? subject(accessToken), token: accessToken, refreshToken };
  }

  const bearer = (sender) => (sender?.token ? `Bearer ${sender.token}` : undefined);

  function createFetcher(viewer, refresh) {
    return async (params, options) => {
      const typed = new Headers(Object.entries(options?.headers ?? {}));
      const sender = typed.has("authorization") ? null : viewer.get();
      if (isSubscription(params)) return subscribe(params, typed.get("authorization") ?? bearer(sender));
      const send = () => post(bodyOf(params), sender, typed);

      const used = sender?.token;
      let answer = await send();
      if (sender && isExpired(answer.errors) && (await refresh(sender, used))) answer = await send();

      const payload = findPayload(answer.data);
      if (payload) {
        viewer.set(viewerOf(payload, sender));
      } else if (sender && sender === viewer.get() && isRefused(answer.errors)) {
        viewer.set(null);
      }
      return answer;
    };
  }

  /** Refreshes a sign-in once, however many requests have failed meanwhile; tells whether it is worth a second try. */
  function createRefresh() {
    const running = new Map();

    async function exchange(sender) {
      if (!sender.inCookies && !sender.refreshToken) return false;
      const { data } = await post({ query: REFRESH, variables: { token: sender.refreshToken } }, sender);
      const payload = findPayload(data);
      if (payload && !sender.inCookies) {
        sender.token = payload.accessToken;
        sender.refreshToken = payload.refreshToken;
      }
      return Boolean(payload);
    }

    return async (sender, used) => {
      if (sender.token !== used) return true; // another request has done it while this one was under way
      if (!running.has(sender)) running.set(sender, exchange(sender).finally(() => running.delete(sender)));
      return running.get(sender);
    };
  }

  /** Find out who is signed in by cookie: on one of the server's pages, or here before a reload. */
  async function resume(viewer, refresh) {
    const sender = { inCookies: true };
    const ask = () => post({ query: "{ me { email } }" }, sender);
    let answer = await ask();
    if (isExpired(answer.errors) && (await refresh(sender))) answer = await ask();
    const name = answer.data?.me?.email;
    if (name && viewer.get() === null) viewer.set({ name, inCookies: true });
  }

  /** End the session on the server, and forget it here; a cookie can be forgotten by the server alone. */
  async function signOut(viewer, refresh) {
    const sender = viewer.get();
    const end = () => post({ query: "mutation { logout }" }, sender);
    try {
      const { data } = await end();
      if (!data?.logout && (await refresh(sender, sender.token))) await end(); // it takes a token that has not expired
    } catch {
      if (sender.inCookies) return;
    }
    if (viewer.get() !== sender) return;
    viewer.set(null);
    if (!sender.inCookies) await resume(viewer, refresh).catch(() => {});
  }

  /** For a moment after a change of tabs, GraphiQL still names the operation of the tab before. */
  function bodyOf({ query, variables, operationName }) {
    return { query, variables, operationName: query.includes(operationName) ? operationName : undefined };
  }

  /** By its text: GraphiQL's own document may still be that of a moment before. */
  function isSubscription(params) {
    const { query, operationName } = bodyOf(params);
    const begin = operationName ? new RegExp(`\\bsubscription\\s+${operationName}\\b`) : /^(\s|#.*\n)*subscription\b/;
    return begin.test(query);
  }

  /** Each subscription has a socket of its own, which is of whoever was signed in when it began. */
  async function* subscribe(params, authorization) {
    const url = new URL(window.location.pathname, window.location.origin.replace(/^http/, "ws")).href;
    const connectionParams = authorization ? { Authorization: authorization } : undefined;
    const client = window.graphqlWs.createClient({ url, connectionParams, retryAttempts: 0 });
    try {
      yield* client.iterate(bodyOf(params));
    } catch (end) {
      if (!Array.isArray(end)) throw new Error(`The subscription has ended: ${end.code ?? ""} ${end.reason ?? end}`);
      yield { errors: end };
    } finally {
      client.dispose();
    }
  }

  /** The page is served at the API's own address, wherever that is mounted. */
  async function post(body, sender, typed = new Headers()) {
    const headers = new Headers({
      accept: "application/graphql-response+json, application/json;q=0.9",
      "content-type": "application/json",
    });
    typed.forEach((value, name) => headers.set(name, value));
    if (sender?.token) headers.set("authorization", bearer(sender));
    const response = await fetch(window.location.pathname, { method: "POST", headers, body: JSON.stringify(body) });
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`The answer (HTTP ${response.status}) is not JSON: ${text.slice(0, 200)}`);
    }
  }

  /** For GraphiQL in place of localStorage: what is typed here holds passwords and tokens, and must not outlive it. */
  function createStorage() {
    const values = new Map();
    return {
      getItem: (key) => values.get(key) ?? null,
      setItem: (key, value) => void values.set(key, value),
      removeItem: (key) => void values.delete(key),
      clear: () => values.clear(),
      get length() {
        return values.size;
      },
    };
  }

  function createViewerLine(React, viewer, onSignOut) {
    const h = React.createElement;
    return function ViewerLine() {
      const current = React.useSyncExternalStore(viewer.subscribe, viewer.get);
      const text = current ? `Signed in as ${current.name}` : "Not signed in";
      return h(
        "div",
        { className: "viewer" },
        h("span", { role: "status", title: text }, text),
        current && h("button", { type: "button", className: "graphiql-button", onClick: onSignOut }, "Sign out"),
      );
    };
  }

  function render(root) {
    const { React, ReactDOM, GraphiQL } = window;
    const viewer = createViewer();
    const refresh = createRefresh();
    const props = {
      fetcher: createFetcher(viewer, refresh),
      storage: createStorage(),
      shouldPersistHeaders: false,
      defaultTabs: TABS,
      variables: TABS[0].variables, // those of the first tab are shown only if they are given once more
      defaultEditorToolsVisibility: "variables",
    };
    const line = React.createElement(createViewerLine(React, viewer, () => signOut(viewer, refresh)));
    const logo = React.createElement(GraphiQL.Logo, null, line);
    ReactDOM.createRoot(root).render(React.createElement(GraphiQL, props, logo));
    resume(viewer, refresh).catch(() => {}); // whatever it is, the first request shows it
  }

  /** Deferred scripts run after all assets were tried. One that is missing, or is not what was promised, leaves a hole. */
  function isLoaded() {
    const styles = [...document.querySelectorAll("link[rel=stylesheet]")];
    return window.React && window.ReactDOM && window.GraphiQL && window.graphqlWs && styles.every((link) => link.sheet);
  }

  const root = document.getElementById("graphiql");
  if (isLoaded()) {
    render(root);
  } else {
    root.replaceChildren(document.getElementById("assets-missing").content);
  }
})();
