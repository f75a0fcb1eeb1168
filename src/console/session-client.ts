import { connect } from '../client/index.ts';
import type { Client } from '../client/index.ts';
import type { EndpointsResult } from '../protocol/http-results.ts';
import { callApi } from './api.ts';

let client: Promise<Client> | undefined;

/** Services that this page itself subscribes to, which is of no traffic. */
export const watched: Set<string> = new Set();

/** What is live comes over a session, by the project's own SDK; one for all pages. */
export function openClient(): Promise<Client> {
  client ??= callApi<EndpointsResult>('/v1/endpoints').then(
    ({ sessionPort, sessionPath }) => {
      const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
      return connect({ servers: [`${scheme}://${location.hostname}:${sessionPort}${sessionPath}`], app: 'console' });
    },
    (error: unknown) => {
      // It is asked again by whoever comes next.
      client = undefined;
      throw error;
    },
  );
  return client;
}
