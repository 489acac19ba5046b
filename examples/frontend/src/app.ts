// How it comes together: here with Apollo Client.

import { createApolloClient } from "./apollo";
import { Session } from "./session";

export function createApp(url: string, showSignIn: (reason?: string) => void, options?: { fetch?: typeof fetch }) {
  const session = new Session({
    ...options,
    url,
    onSignedOut(reason) {
      void client.clearStore(); // whoever signs in next must not see what is this person's
      showSignIn(reason);
    },
  });
  const client = createApolloClient(session);

  /** Sign in. What it returns is to be shown at the form's field of that name; undefined: all went well. */
  async function signIn(email: string, password: string): Promise<{ field: string; message: string } | undefined> {
    const answer = await session.logIn(email, password);
    if (answer.__typename === "AuthPayload") return undefined;
    // The server does not say whether it was the address or the password, so the message belongs to the whole form.
    return { field: answer.field ?? "form", message: answer.message };
  }

  return { session, client, signIn };
}
