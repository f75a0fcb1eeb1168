import { protocolVersion, sessionPath } from '../protocol/limits.ts';
import type { SessionOpenParams } from '../protocol/types.ts';
import { OptionError } from './errors.ts';
import type { ListCache } from './list-cache.ts';
import type { WebSocketConstructor } from './web-socket.ts';

/** Options of `connect`. All times are in milliseconds. */
export interface ClientOptions {
  /**
   * Where to connect, in order of preference, such as `ws://127.0.0.1:7070`; `/v1/session` is added where there is no path. They are
   * doors to one registry: what is registered through one is seen through all. The event `registry` tells when they are not.
   */
  readonly servers: readonly string[];
  /** The name and version of the calling library, for the server's logs; by default this client's. */
  readonly client?: string;
  /** The application, for the server's logs. */
  readonly app?: string;
  /** Where the caller runs. */
  readonly zone?: string;
  /** Credentials. */
  readonly token?: string;
  /** A connection must be open, and the session opened on it, within this; by default 5000. */
  readonly connectTimeoutMs?: number;
  /** Every call settles within this, connected or not, unless it names a time of its own; by default 10000. */
  readonly requestTimeoutMs?: number;
  /** The first wait before connecting again, jittered; by default 100. */
  readonly backoffMinMs?: number;
  /** The longest wait before connecting again; by default 10000. Refused standing registrations are also retried at this pace. */
  readonly backoffMaxMs?: number;
  /** A server that was silent for this long is asked for a sign of life; by default 15000, and never longer than the server's `heartbeatMs`. */
  readonly keepAliveMs?: number;
  /**
   * Without a sign of life within this, the connection is given up as half-open; by default 5000, and never longer than the server's
   * `heartbeatMs`: so the client is back before the server gives it up, which it does after three times that.
   */
  readonly keepAliveTimeoutMs?: number;
  /** Connected to another than the first server, the ones before it are tried this often; 0 is never. By default 10000. The present connection serves until one of them does. */
  readonly returnAfterMs?: number;
  /**
   * After a move to another registry, or a restart of it, instances that are known from before and that it does not tell of stay in
   * views, unconfirmed, for this long at most, and for as long as it says that it is warming. By default 15000; it should be longer than
   * the longest wait of others before they connect again, and than their `returnAfterMs`.
   */
  readonly confirmWithinMs?: number;
  /** `close` waits this long for the server's part of it; by default 2000. */
  readonly closeTimeoutMs?: number;
  /** Calls that wait for an answer at a time; one more is refused with `QueueFullError`. By default 16384. */
  readonly requestsMax?: number;
  /** Where the last known lists are kept, to begin with while no registry can be reached; by default none. `slotcast/client/file-cache` has one for Node. */
  readonly cache?: ListCache;
  /** `subscribe` waits this long for a registry before it resolves with what the cache has; by default 1000. */
  readonly cacheAfterMs?: number;
  /** By default the global `WebSocket`, and where there is none (Node 20), the one of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  /** In [0, 1), for jitter; by default `Math.random`. */
  readonly random?: () => number;
}

/** Options of one call. */
export interface CallOptions {
  /** The call settles within this, by default `requestTimeoutMs`. */
  readonly timeoutMs?: number;
  /** Gives the call up: it rejects with the signal's reason, and what only it wanted is undone as when its time is over. */
  readonly signal?: AbortSignal;
}

/** Options that the decisions need, checked and complete. */
export interface Settings {
  readonly urls: readonly string[];
  readonly open: SessionOpenParams;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  readonly keepAliveMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly returnAfterMs: number;
  readonly confirmWithinMs: number;
  readonly closeTimeoutMs: number;
  readonly requestsMax: number;
  readonly isCaching: boolean;
  readonly cacheAfterMs: number;
}

/** Longest time that a timer can hold. */
const timerMaxMs = 2 ** 31 - 1;

/** Checks options and fills in defaults. Throws {@link OptionError}. */
export function resolveOptions(options: ClientOptions): Settings {
  const { servers, client = `slotcast-js/${protocolVersion}`, app, zone, token } = options;
  if (!Array.isArray(servers) || servers.length === 0) throw new OptionError('servers', 'a list of at least one URL');
  const backoffMinMs = readInteger(options, 'backoffMinMs', 100);
  const backoffMaxMs = readInteger(options, 'backoffMaxMs', Math.max(10_000, backoffMinMs));
  if (backoffMaxMs < backoffMinMs) throw new OptionError('backoffMaxMs', 'at least backoffMinMs');
  return {
    urls: servers.map(resolveUrl),
    open: {
      client,
      ...(app === undefined ? {} : { app }),
      ...(zone === undefined ? {} : { zone }),
      ...(token === undefined ? {} : { token }),
    },
    connectTimeoutMs: readInteger(options, 'connectTimeoutMs', 5000),
    requestTimeoutMs: readInteger(options, 'requestTimeoutMs', 10_000),
    backoffMinMs,
    backoffMaxMs,
    keepAliveMs: readInteger(options, 'keepAliveMs', 15_000),
    keepAliveTimeoutMs: readInteger(options, 'keepAliveTimeoutMs', 5000),
    returnAfterMs: readInteger(options, 'returnAfterMs', 10_000, 0),
    confirmWithinMs: readInteger(options, 'confirmWithinMs', 15_000),
    closeTimeoutMs: readInteger(options, 'closeTimeoutMs', 2000),
    requestsMax: readInteger(options, 'requestsMax', 16_384),
    isCaching: options.cache !== undefined,
    cacheAfterMs: readInteger(options, 'cacheAfterMs', 1000),
  };
}

type NumberOption = {
  [K in keyof ClientOptions]-?: ClientOptions[K] extends number | undefined ? K : never;
}[keyof ClientOptions];

function readInteger(options: ClientOptions, name: NumberOption, fallback: number, least = 1): number {
  const value: unknown = options[name] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > timerMaxMs) {
    throw new OptionError(name, `an integer from ${least} to ${timerMaxMs}`);
  }
  return value;
}

function resolveUrl(server: string): string {
  const expected = 'URLs such as ws://127.0.0.1:7070';
  let url: URL;
  try {
    url = new URL(server);
  } catch {
    throw new OptionError('servers', `${expected}; it has ${JSON.stringify(server)}`);
  }
  if (url.protocol === 'http:') url.protocol = 'ws:';
  if (url.protocol === 'https:') url.protocol = 'wss:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new OptionError('servers', `${expected}; it has ${JSON.stringify(server)}`);
  }
  if (url.pathname === '/' || url.pathname === '') url.pathname = sessionPath;
  url.hash = '';
  return url.href;
}

/** Checks the timeout of one call. Throws {@link OptionError}. */
export function readTimeout({ timeoutMs }: CallOptions): number | undefined {
  if (timeoutMs === undefined) return undefined;
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > timerMaxMs) {
    throw new OptionError('timeoutMs', `an integer from 1 to ${timerMaxMs}`);
  }
  return timeoutMs;
}
