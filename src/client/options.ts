import { protocolVersion, sessionPath } from '../protocol/limits.ts';
import type { SessionOpenParams } from '../protocol/types.ts';
import { OptionError } from './errors.ts';
import type { ListCache } from './list-cache.ts';
import { canBeSecured } from './web-socket.ts';
import type { ClientTls, WebSocketConstructor } from './web-socket.ts';

/** Gives credentials that are valid now. */
export type TokenSource = () => string | Promise<string>;

/** Options of `connect`. All times are in milliseconds. */
export interface ClientOptions {
  /**
   * Where to connect, in order of preference, such as `ws://127.0.0.1:7070`; `/v1/session` is appended to addresses without a path. All must lead
   * to the same registry, so that what is registered through one is visible through all. The event `registry` reports when they do not.
   */
  readonly servers: readonly string[];
  /** The name and version of the calling library, for the server's logs; by default this client's. */
  readonly client?: string;
  /** The application, for the server's logs. */
  readonly app?: string;
  /** Where the caller runs. */
  readonly zone?: string;
  /** Credentials, or what gives them: asked for each connection that is opened, within its `connectTimeoutMs`. */
  readonly token?: string | TokenSource;
  /** Time limit for opening a connection and its session; by default 5000. */
  readonly connectTimeoutMs?: number;
  /** Every call settles within this time, connected or not, unless it has its own `timeoutMs`; by default 10000. */
  readonly requestTimeoutMs?: number;
  /** The first wait before reconnecting, jittered; by default 100. */
  readonly backoffMinMs?: number;
  /** The longest wait before reconnecting; by default 10000. Refused standing registrations are retried at this interval, too. */
  readonly backoffMaxMs?: number;
  /** A server that has been silent for this long is pinged; by default 15000, capped at the server's `heartbeatMs`. */
  readonly keepAliveMs?: number;
  /**
   * A connection whose server does not respond within this time is dropped as half-open; by default 5000, capped at the server's
   * `heartbeatMs`: so the client is back before the server drops it, which it does after three times that.
   */
  readonly keepAliveTimeoutMs?: number;
  /** While connected to a server other than the first, how often the preferred ones are tried; 0 means never. By default 10000. The current connection is used until one of them answers. */
  readonly returnAfterMs?: number;
  /**
   * After a move to another registry, or its restart, instances that are known from before and that it does not report stay in
   * views, unconfirmed, for at most this long, and for as long as it says that it is warming. By default 15000; it should be longer than
   * the longest wait of other clients before they reconnect, and than their `returnAfterMs`.
   */
  readonly confirmWithinMs?: number;
  /** How long `close` waits for the server; by default 2000. */
  readonly closeTimeoutMs?: number;
  /** Calls that may be waiting for an answer at a time; beyond that they are refused with `QueueFullError`. By default 16384. */
  readonly requestsMax?: number;
  /** Where the last known lists are kept, to start from while no registry can be reached; by default none. `slotcast/client/file-cache` has one for Node. */
  readonly cache?: ListCache;
  /** How long `subscribe` waits for a registry before it resolves with the cached list; by default 1000. */
  readonly cacheAfterMs?: number;
  /** By default the global `WebSocket` or, if there is none (Node 20), that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  /**
   * For `wss:` servers: whom to trust, and which certificate to show. Only with the package `ws`, which Node uses then whether or not it has a `WebSocket` of its own: a browser
   * decides that by itself.
   */
  readonly tls?: ClientTls;
  /** In [0, 1), for jitter; by default `Math.random`. */
  readonly random?: () => number;
}

/** Options of one call. */
export interface CallOptions {
  /** The call settles within this time; by default `requestTimeoutMs`. */
  readonly timeoutMs?: number;
  /** Cancels the call: it rejects with the signal's reason, and what it alone had requested is undone, as when it times out. */
  readonly signal?: AbortSignal;
}

/** The options that the state machine needs, validated and complete. */
export interface Settings {
  readonly urls: readonly string[];
  readonly open: SessionOpenParams;
  /** Each connection asks for its token first. */
  readonly isTokenAsked: boolean;
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
  readonly tls: ClientTls | undefined;
}

/** Longest time that a timer can hold. */
const timerMaxMs = 2 ** 31 - 1;

/** Checks options and fills in defaults. Throws {@link OptionError}. */
export function resolveOptions(options: ClientOptions): Settings {
  const { servers, client = `slotcast-js/${protocolVersion}`, app, zone, token } = options;
  if (!Array.isArray(servers) || servers.length === 0) throw new OptionError('servers', 'a list of at least one URL');
  if (token !== undefined && typeof token !== 'string' && typeof token !== 'function')
    throw new OptionError('token', 'a string, or a function that returns one');
  const backoffMinMs = readInteger(options, 'backoffMinMs', 100);
  const backoffMaxMs = readInteger(options, 'backoffMaxMs', Math.max(10_000, backoffMinMs));
  if (backoffMaxMs < backoffMinMs) throw new OptionError('backoffMaxMs', 'at least backoffMinMs');
  const urls = servers.map(resolveUrl);
  return {
    urls,
    tls: readTls(options, urls),
    open: {
      client,
      ...(app === undefined ? {} : { app }),
      ...(zone === undefined ? {} : { zone }),
      ...(typeof token === 'string' ? { token } : {}),
    },
    isTokenAsked: typeof token === 'function',
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

/** A copy of what is given. */
function readTls({ tls, WebSocket }: ClientOptions, urls: readonly string[]): ClientTls | undefined {
  if (tls === undefined) return undefined;
  if (!canBeSecured(WebSocket))
    throw new OptionError('tls', 'left out where WebSockets are not those of the package ws');
  if (!urls.some((url) => url.startsWith('wss:'))) throw new OptionError('tls', 'given with wss: URLs only');
  for (const name of ['ca', 'cert', 'key', 'serverName'] as const) {
    const value: unknown = tls[name];
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw new OptionError(`tls.${name}`, 'a text that is not empty');
    }
  }
  if ((tls.cert === undefined) !== (tls.key === undefined))
    throw new OptionError('tls', 'given both cert and key, or neither');
  return { ...tls };
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
