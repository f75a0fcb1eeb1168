import { connect } from '../client/index.ts';
import type { Client } from '../client/index.ts';
import { closeCodes } from '../protocol/errors.ts';
import type { EndpointsResult } from '../protocol/http-results.ts';
import { callApi } from './api.ts';
import { noteUnauthorized, readToken } from './credentials.ts';
import { checkWho } from './sign-in.tsx';

/** By the token that it shows. */
let opened: { readonly token: string | undefined; readonly client: Promise<Client> } | undefined;

/** Services that this page itself subscribes to, which is of no traffic. */
export const watched: Set<string> = new Set();

/** What is live comes over a session, by the project's own SDK; one for all pages, and another for another token. */
export function openClient(): Promise<Client> {
  const token = readToken();
  if (opened?.token === token && opened !== undefined) return opened.client;
  void close(opened?.client);
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const client = callApi<EndpointsResult>('/v1/endpoints').then(({ sessionPort, sessionPath }) =>
    watchCredentials(
      connect({
        servers: [`${scheme}://${location.hostname}:${sessionPort}${sessionPath}`],
        app: 'console',
        ...(token === undefined ? {} : { token }),
      }),
      token,
    ),
  );
  opened = { token, client };
  client.catch(() => {
    // It is asked again by whoever comes next.
    if (opened?.client === client) opened = undefined;
  });
  return client;
}

async function close(client: Promise<Client> | undefined): Promise<void> {
  const found = await client?.catch(() => undefined);
  await found?.close();
}

/** A session that is refused, or closed since its credentials are none, is a reason to sign in. */
function watchCredentials(client: Client, token: string | undefined): Client {
  const { number } = closeCodes.unauthorized;
  client.on('disconnected', ({ cause }) => {
    // What its principal may do may have changed, and nothing else.
    if (token === readToken() && cause.includes(String(number))) void checkWho();
  });
  client.on('refused', ({ what, error }) => {
    if (what.kind !== 'session' || error.code !== 'unauthorized') return;
    noteUnauthorized(token);
    // It is not shown again and again.
    if (token === undefined || token === readToken()) return;
    if (opened?.token === token) opened = undefined;
    void client.close();
  });
  return client;
}
