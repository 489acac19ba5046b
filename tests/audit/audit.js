// Prints the result of each audit of graphql-http against the address given as the argument: one JSON object a line.
import { serverAudits } from 'graphql-http';

const [url] = process.argv.slice(2);
for (const audit of serverAudits({ url, fetchFn: fetch })) {
  const { name, status, reason } = await audit.fn();
  console.log(JSON.stringify({ name, status, reason: reason ?? null }));
}
