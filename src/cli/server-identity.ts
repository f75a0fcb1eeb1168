import { ConnectionLostError } from '../client/index.ts';
import type { Client, ClientTls } from '../client/index.ts';
import { exchangeHttp, isNoHttp } from './http-exchange.ts';

/** Somebody answers where a registry should be, and it is none. */
export class StrangeServerError extends Error {
  override readonly name: string = 'StrangeServerError';
}

/** What answers at an address: a registry, something else and what shows it, or nothing that has said anything. */
type Identity = { readonly kind: 'registry' | 'nobody' } | { readonly kind: 'stranger'; readonly sign: string };

const livePath = '/health/live';
/** A registry's answer has a few bytes. */
const answerBytesMax = 1024;

/** Where a server of sessions answers HTTP. */
export function httpOrigin(server: string): string {
  return new URL(server.replace(/^ws/, 'http')).origin;
}

/** Asks a server over HTTP what every registry answers, whatever its state. */
async function identify(server: string, signal: AbortSignal, tls: ClientTls | undefined): Promise<Identity> {
  const url = new URL(livePath, httpOrigin(server));
  try {
    const { status, text } = await exchangeHttp({ url, method: 'GET', signal, bytesMax: answerBytesMax, tls });
    if (status === 200 && text.startsWith('{"status":"live"')) return { kind: 'registry' };
    return { kind: 'stranger', sign: `it answers ${livePath} with ${status}` };
  } catch (error) {
    return isNoHttp(error) ? { kind: 'stranger', sign: 'it does not speak HTTP' } : { kind: 'nobody' };
  }
}

/** Who is asked, and how. */
export interface Asked {
  readonly servers: readonly string[];
  readonly timeoutMs: number;
  readonly tls: ClientTls | undefined;
}

/**
 * Runs something that needs a session; rejects at once with {@link StrangeServerError} when none of the servers is a registry, rather than try for one until the
 * time is over. They are asked when a connection fails, or half of the time has gone without one: a stranger may just keep silent.
 */
export async function runIdentified<T>(
  client: Client,
  { servers, timeoutMs, tls }: Asked,
  run: () => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const strange = watchForStrangers(client, { servers, timeoutMs, tls }, over.signal);
  strange.catch(() => undefined);
  try {
    return await Promise.race([run(), strange]);
  } catch (error) {
    if (error instanceof ConnectionLostError) throw describeUnreachable(error, servers);
    throw error;
  } finally {
    over.abort();
  }
}

/** Rejects once every server is known to be a stranger, and never resolves. */
function watchForStrangers(client: Client, { servers, timeoutMs, tls }: Asked, over: AbortSignal): Promise<never> {
  return new Promise<never>((_, reject) => {
    const signal = AbortSignal.any([over, AbortSignal.timeout(timeoutMs)]);
    const asked = new Set<string>();
    const strangers: string[] = [];
    const ask = async (server: string): Promise<void> => {
      if (asked.has(server)) return;
      asked.add(server);
      const identity = await identify(server, signal, tls);
      if (identity.kind !== 'stranger') return;
      strangers.push(`${server} is not a slotcast registry: ${identity.sign}`);
      if (strangers.length === new Set(servers).size) reject(new StrangeServerError(strangers.join('; ')));
    };
    const stopListening = client.on('unreachable', ({ server, cause }) => {
      // Nobody is there to be asked.
      if (cause.includes('ECONNREFUSED')) return;
      for (const each of servers) if (httpOrigin(each) === httpOrigin(server)) void ask(each);
    });
    const timer = setTimeout(() => {
      if (!client.isConnected) for (const server of servers) void ask(server);
    }, timeoutMs / 2);
    over.addEventListener('abort', () => {
      stopListening();
      clearTimeout(timer);
    });
  });
}

/** What may be meant, where one side speaks TLS and the other does not. */
export function hintAtTls(servers: string, cause: string): string {
  if (/^(?:ws|http):/.test(servers) && /socket hang up|ECONNRESET|network error/.test(cause))
    return '; does it speak TLS? Then the URL begins with wss: or https:';
  if (/^(?:wss|https):/.test(servers) && /wrong version number|packet length too long/.test(cause))
    return '; it may not speak TLS';
  return '';
}

/** Names the servers, which may come from the environment; and says what the last one is when its answer to the handshake shows that. */
function describeUnreachable(error: ConnectionLostError, servers: readonly string[]): Error {
  const { timeoutMs, lastCause } = error;
  const [, status] = /^Unexpected server response: (\d{3})/.exec(lastCause) ?? [];
  // A registry that takes no sessions at the moment says 503.
  if (servers.length === 1 && status !== undefined && status !== '503') {
    return new StrangeServerError(
      `${servers.join()} is not a slotcast registry: it answers a WebSocket handshake with ${status}`,
    );
  }
  const cause = lastCause === 'not connected yet' ? 'no answer' : lastCause;
  return new ConnectionLostError(timeoutMs, `${cause} (${servers.join(', ')})${hintAtTls(servers.join(), cause)}`);
}
