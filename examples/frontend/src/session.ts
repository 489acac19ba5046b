// Who is signed in, for all clients: sign in, attach, refresh once for everybody who waits, sign out.

import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { print } from "graphql";
import { LoginDocument, LogoutDocument, RefreshDocument, SignupDocument, type TokensFragment } from "./gql/graphql";

export interface SessionOptions {
  url: string;
  /** The browser keeps the tokens in HttpOnly cookies, and no script ever sees them. */
  useCookies?: boolean;
  /** Show the sign-in page, and empty the client's cache. The reason is one of `extensions.reason`, if there is one. */
  onSignedOut?: (reason?: string) => void;
  fetch?: typeof fetch;
}

type Errors = readonly { message: string; extensions?: Record<string, unknown> }[];

// There is no session behind the credentials any more. TOKEN_MISSING: the cookies have gone.
const OVER: unknown[] = ["SESSION_REVOKED", "ACCOUNT_DISABLED", "TOKEN_INVALID", "TOKEN_MISSING"];

export class Session {
  readonly url: string;
  readonly credentials: RequestCredentials;
  readonly fetch: typeof fetch;
  /** Goes up whenever the credentials change: an answer to older ones says nothing about these. */
  generation = 0;
  // In memory alone: whatever can read localStorage can keep what it finds there.
  private tokens: { accessToken: string; refreshToken: string } | null = null;
  private signedIn: boolean;
  private refreshing: Promise<boolean> | null = null;

  constructor(private readonly options: SessionOptions) {
    this.url = options.url;
    this.credentials = options.useCookies ? "include" : "same-origin";
    this.fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.signedIn = options.useCookies ?? false; // only the browser knows; the first answer tells
  }

  get headers(): Record<string, string> {
    return this.tokens ? { Authorization: `Bearer ${this.tokens.accessToken}` } : {};
  }

  async signUp(email: string, password: string, name = "") {
    const { useCookies } = this.options;
    const { signup } = await this.ask(SignupDocument, { email, password, name, useCookies });
    if (signup.__typename === "AuthPayload") this.start(signup);
    return signup; // or an AuthError, to be shown at its field
  }

  async logIn(email: string, password: string) {
    const { useCookies } = this.options;
    const { login } = await this.ask(LoginDocument, { email, password, useCookies });
    if (login.__typename === "AuthPayload") this.start(login);
    return login;
  }

  async logOut() {
    const { generation } = this;
    const { logout } = await this.ask(LogoutDocument, {}, this.headers);
    // False if the access token has expired meanwhile: the session would live on.
    if (!logout && (await this.refresh(generation))) await this.ask(LogoutDocument, {}, this.headers);
    this.end();
  }

  /** Take over what `signup`, `login`, `refreshToken` or `changePassword` has answered. */
  start({ accessToken, refreshToken }: TokensFragment) {
    this.tokens = accessToken && refreshToken ? { accessToken, refreshToken } : null;
    this.signedIn = true;
    this.generation += 1;
  }

  /** Forget the tokens. */
  end(reason?: string) {
    if (!this.signedIn) return;
    this.tokens = null;
    this.signedIn = false;
    this.generation += 1;
    this.options.onSignedOut?.(reason);
  }

  /** Whether these errors, to a request of that generation, call for a refresh. Signs out where none would help. */
  expired(errors: Errors | undefined, generation: number): boolean {
    const refusal = errors?.find(({ extensions }) => extensions?.code === "UNAUTHENTICATED");
    return this.expiredBy(refusal?.extensions?.reason, generation);
  }

  /** The same for a bare reason, as the close of a WebSocket has it. */
  expiredBy(reason: unknown, generation: number): boolean {
    if (OVER.includes(reason) && generation === this.generation) this.end(String(reason));
    return reason === "TOKEN_EXPIRED";
  }

  /**
   * Get new tokens, once for all who ask meanwhile. True: send the request again. False: signed out, the request's own
   * error stands. Rejects if the server could not be asked: nobody is signed out because the network is away.
   */
  refresh(generation: number): Promise<boolean> {
    if (generation !== this.generation || !this.signedIn) return Promise.resolve(this.signedIn);
    this.refreshing ??= this.exchange().finally(() => (this.refreshing = null));
    return this.refreshing;
  }

  private async exchange(): Promise<boolean> {
    const { generation } = this;
    const { refreshToken: answer } = await this.ask(RefreshDocument, { refreshToken: this.tokens?.refreshToken });
    if (generation !== this.generation) return this.signedIn; // somebody signed in or out meanwhile
    if (answer.__typename === "AuthPayload") this.start(answer);
    else if (answer.code === "INVALID_TOKEN") this.end("TOKEN_EXPIRED");
    else throw new Error(answer.message); // RATE_LIMITED: the token is as good as before
    return this.signedIn;
  }

  /** Send a document past all clients, so that it never waits for a refresh. */
  private async ask<Data, Variables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
    headers: Record<string, string> = {},
  ): Promise<Data> {
    const response = await this.fetch(this.url, {
      method: "POST",
      credentials: this.credentials,
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ query: print(document), variables }),
    });
    const { data, errors }: { data?: Data | null; errors?: Errors } = await response.json();
    if (!data) throw new Error(errors?.[0]?.message ?? `HTTP ${response.status}`);
    return data;
  }
}
