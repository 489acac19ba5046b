// graphql-yoga with the same `me`: the token is checked on every request, the user is in memory.
import { createServer } from "node:http";
import { createSchema, createYoga } from "graphql-yoga";
import { GraphQLError } from "graphql";
import { jwtVerify } from "jose";

const [port, secret, id] = process.argv.slice(2);
const key = new TextEncoder().encode(secret);
const users = new Map([[id, { id, email: "ada@example.com", name: "Ada" }]]);

async function viewer(request) {
  const token = (request.headers.get("authorization") ?? "").replace(/^Bearer /, "");
  try {
    const { payload } = await jwtVerify(token, key, { algorithms: ["HS256"] });
    return users.get(payload.sub) ?? null;
  } catch {
    return null;
  }
}

const yoga = createYoga({
  schema: createSchema({
    typeDefs: "type Query { me: User! } type User { id: ID! email: String! name: String! }",
    resolvers: {
      Query: {
        me: (_, __, context) => {
          if (!context.viewer) throw new GraphQLError("Sign in.", { extensions: { code: "UNAUTHENTICATED" } });
          return context.viewer;
        },
      },
    },
  }),
  context: async ({ request }) => ({ viewer: await viewer(request) }),
  graphiql: false,
  logging: false,
});

createServer(yoga).listen(Number(port), "127.0.0.1");
