import { ClientError, type RequestOptions, type Variables } from "graphql-request";
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { createRequest } from "../src/request";
import { behaves } from "./behaviour";

behaves("graphql-request", (session) => {
  const request = createRequest(session);
  // Its own types say for each document whether it has variables, which cannot be said for any document.
  const send = <Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V) =>
    request<Data, V>({ document, variables } as unknown as RequestOptions<V, Data>);
  return {
    query: send,
    mutate: send,
    errors: (thrown) => (thrown instanceof ClientError ? thrown.response.errors : undefined),
  };
});
