// GraphiQL for gqlauth: ready tabs, and a fetcher that remembers who signed in.
//
// The access token lives in this closure only: not in localStorage, not in the URL, gone with the page.
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
  ];

  /** Who is signed in: a value that is replaced as a whole, and those who want to know. */
  function createViewer() {
    let viewer = null;
    const listeners = new Set();
    const set = (next) => {
      viewer = next;
      listeners.forEach((listener) => listener());
    };
    return {
      get: () => viewer,
      set,
      signOut: () => set(null),
      subscribe: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  }

  /** What signed somebody in, in the data of an answer, whatever the field is called. */
  const findPayload = (data) => Object.values(data ?? {}).find((value) => typeof value?.accessToken === "string");

  const isRefused = (errors) => (errors ?? []).some((error) => error.extensions?.code === "UNAUTHENTICATED");

  /** The account that a token is of, where the answer does not name it. */
  function subject(token) {
    try {
      const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      return JSON.parse(atob(claims)).sub;
    } catch {
      return "an account";
    }
  }

  function createFetcher(viewer) {
    return async (params, options) => {
      const headers = new Headers({
        accept: "application/graphql-response+json, application/json;q=0.9",
        "content-type": "application/json",
      });
      for (const [name, value] of Object.entries(options?.headers ?? {})) headers.set(name, value);
      const sender = headers.has("authorization") ? null : viewer.get();
      if (sender) headers.set("authorization", `Bearer ${sender.token}`);
      if (isSubscription(params)) return subscribe(params, headers.get("authorization"));

      const answer = await post(JSON.stringify(bodyOf(params)), headers);
      const payload = findPayload(answer.data);
      if (payload) {
        viewer.set({ token: payload.accessToken, name: payload.user?.email ?? subject(payload.accessToken) });
      } else if (sender && sender === viewer.get() && isRefused(answer.errors)) {
        viewer.signOut();
      }
      return answer;
    };
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
  async function post(body, headers) {
    const response = await fetch(window.location.pathname, { method: "POST", headers, body });
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

  function createViewerLine(React, viewer) {
    const h = React.createElement;
    return function ViewerLine() {
      const current = React.useSyncExternalStore(viewer.subscribe, viewer.get);
      const text = current ? `Signed in as ${current.name}` : "Not signed in";
      return h(
        "div",
        { className: "viewer" },
        h("span", { role: "status", title: text }, text),
        current && h("button", { type: "button", className: "graphiql-button", onClick: viewer.signOut }, "Sign out"),
      );
    };
  }

  function render(root) {
    const { React, ReactDOM, GraphiQL } = window;
    const viewer = createViewer();
    const props = {
      fetcher: createFetcher(viewer),
      storage: createStorage(),
      shouldPersistHeaders: false,
      defaultTabs: TABS,
      variables: TABS[0].variables, // those of the first tab are shown only if they are given once more
      defaultEditorToolsVisibility: "variables",
    };
    const line = React.createElement(createViewerLine(React, viewer));
    const logo = React.createElement(GraphiQL.Logo, null, line);
    ReactDOM.createRoot(root).render(React.createElement(GraphiQL, props, logo));
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
