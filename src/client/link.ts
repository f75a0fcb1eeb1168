import { protocolLimits } from '../protocol/limits.ts';
import type { WireLimits } from '../protocol/types.ts';
import { backoffMs } from './backoff.ts';
import type { Settings } from './options.ts';

/**
 * The connection's decisions: `(state, event, now) → { state, effects }`. Values only; no socket, timer, clock or randomness.
 * A socket is a number here, one higher for each that is opened, so that what an old one says late is told apart.
 */
interface LinkBase {
  /** The newest socket. */
  readonly socket: number;
  /** Index of the server that is, or was last, connected to. */
  readonly server: number;
  /** Tries in a row that gave no lasting session. */
  readonly failures: number;
  /** Why the last connection, or try, ended. */
  readonly cause: string;
}

/** No connection; the next try is at `retryAtMs`. */
interface Waiting extends LinkBase {
  readonly kind: 'waiting';
  readonly retryAtMs: number;
}
/** A socket is being opened. */
interface Connecting extends LinkBase {
  readonly kind: 'connecting';
  readonly deadlineMs: number;
}
/** The socket is open; `session.open` has been sent. */
interface Opening extends LinkBase {
  readonly kind: 'opening';
  readonly deadlineMs: number;
}
/** The session is open: requests may be sent. */
interface Ready extends LinkBase {
  readonly kind: 'ready';
  readonly sinceMs: number;
  readonly heardAtMs: number;
  /** When a sign of life was asked for, if none has come since. */
  readonly probedAtMs: number | undefined;
  readonly limits: WireLimits;
}
/** The server wants us gone: answers and pushes are still taken, nothing is sent, and at `untilMs` another connection is made. */
interface Leaving extends LinkBase {
  readonly kind: 'leaving';
  readonly untilMs: number;
}
/** The user closed; the server's close frame is awaited. */
interface Closing extends LinkBase {
  readonly kind: 'closing';
  readonly deadlineMs: number;
}
interface Closed extends LinkBase {
  readonly kind: 'closed';
}
export type LinkState = Waiting | Connecting | Opening | Ready | Leaving | Closing | Closed;

export type LinkEvent =
  | { readonly kind: 'socketOpened'; readonly socket: number }
  | { readonly kind: 'socketClosed'; readonly socket: number; readonly cause: string }
  | { readonly kind: 'heard'; readonly socket: number }
  | { readonly kind: 'openAccepted'; readonly limits: WireLimits }
  | { readonly kind: 'openRefused'; readonly cause: string; readonly retryAfterMs: number }
  /** What the server sent cannot be read. */
  | { readonly kind: 'garbled' }
  | { readonly kind: 'goaway'; readonly reconnectAfterMs: number }
  | { readonly kind: 'tick' }
  | { readonly kind: 'close' };

export type LinkEffect =
  | { readonly kind: 'openSocket'; readonly socket: number; readonly url: string }
  /** `abandon`: not an orderly end, so that the server keeps our registrations for its grace (SE2). */
  | { readonly kind: 'closeSocket'; readonly socket: number; readonly manner: 'orderly' | 'abandon' }
  | { readonly kind: 'sendOpen' }
  | { readonly kind: 'sendProbe' }
  | { readonly kind: 'up' }
  | { readonly kind: 'down'; readonly cause: string; readonly retryInMs: number }
  | { readonly kind: 'unreachable'; readonly url: string; readonly cause: string; readonly retryInMs: number }
  | { readonly kind: 'closed' };

export interface LinkStep {
  readonly state: LinkState;
  readonly effects: readonly LinkEffect[];
}

/** What comes in beside the event: the time (monotonic), a random number in [0, 1), and the settings. */
export interface Inputs {
  readonly nowMs: number;
  readonly random: number;
  readonly settings: Settings;
}

type Handler<S, E> = (state: S, event: E, inputs: Inputs) => LinkStep;
type Transitions = {
  readonly [S in LinkState as S['kind']]: { readonly [E in LinkEvent as E['kind']]: Handler<S, E> };
};

/** A session that lasted this long ends a row of failures. Shorter ones count, lest a server that drops everybody is hammered. */
const lastingMs = 5000;

export const initialLink: LinkState = {
  kind: 'waiting',
  socket: 0,
  server: 0,
  failures: 0,
  cause: 'not connected yet',
  retryAtMs: 0,
};

const stay: Handler<LinkState, LinkEvent> = (state) => ({ state, effects: [] });

/** Every state with every event; a missing cell does not compile. */
const transitions: Transitions = {
  waiting: {
    socketOpened: stay,
    socketClosed: stay,
    heard: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: (state, _event, inputs) =>
      inputs.nowMs < state.retryAtMs ? stay(state, _event, inputs) : connect(state, [], inputs),
    close: (state) => ({ state: { ...baseOf(state), kind: 'closed' }, effects: [{ kind: 'closed' }] }),
  },
  connecting: {
    socketOpened: (state) => ({
      state: { ...baseOf(state), kind: 'opening', deadlineMs: state.deadlineMs },
      effects: [{ kind: 'sendOpen' }],
    }),
    socketClosed: (state, { cause }, inputs) => fail(state, { cause, isOpen: false }, inputs),
    heard: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: failWhenLate,
    close: (state) => ({
      state: { ...baseOf(state), kind: 'closed' },
      effects: [{ kind: 'closeSocket', socket: state.socket, manner: 'abandon' }, { kind: 'closed' }],
    }),
  },
  opening: {
    socketOpened: stay,
    socketClosed: (state, { cause }, inputs) => fail(state, { cause, isOpen: false }, inputs),
    heard: stay,
    openAccepted: (state, { limits }, { nowMs }) => ({
      state: { ...baseOf(state), kind: 'ready', sinceMs: nowMs, heardAtMs: nowMs, probedAtMs: undefined, limits },
      effects: [{ kind: 'up' }],
    }),
    openRefused: (state, { cause, retryAfterMs }, inputs) =>
      fail(state, { cause, isOpen: true, waitMinMs: retryAfterMs }, inputs),
    garbled: (state, _event, inputs) => fail(state, { cause: 'the server sent no JSON', isOpen: true }, inputs),
    goaway: (state, { reconnectAfterMs }, inputs) =>
      fail(state, { cause: 'the server is going away', isOpen: true, waitMinMs: reconnectAfterMs }, inputs),
    tick: failWhenLate,
    close: closeOrderly,
  },
  ready: {
    socketOpened: stay,
    socketClosed: (state, { cause }, inputs) => fail(state, { cause, isOpen: false }, inputs),
    heard: (state, _event, { nowMs }) => ({
      state: { ...state, heardAtMs: nowMs, probedAtMs: undefined },
      effects: [],
    }),
    openAccepted: stay,
    openRefused: stay,
    garbled: (state, _event, inputs) => fail(state, { cause: 'the server sent no JSON', isOpen: true }, inputs),
    goaway: (state, { reconnectAfterMs }, { nowMs, settings }) => ({
      state: {
        ...baseOf(state),
        kind: 'leaving',
        failures: 0,
        server: (state.server + 1) % settings.urls.length,
        cause: 'the server asked us to go',
        untilMs: nowMs + Math.min(reconnectAfterMs, protocolLimits.goawayMsMax),
      },
      effects: [],
    }),
    tick: watchLife,
    close: closeOrderly,
  },
  leaving: {
    socketOpened: stay,
    socketClosed: (state, { cause }, { nowMs }) => ({
      state: { ...baseOf(state), kind: 'waiting', cause, retryAtMs: state.untilMs },
      effects: [{ kind: 'down', cause, retryInMs: Math.max(0, state.untilMs - nowMs) }],
    }),
    heard: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: (state, event, inputs) =>
      inputs.nowMs < state.untilMs
        ? stay(state, event, inputs)
        : connect(
            state,
            [
              { kind: 'down', cause: state.cause, retryInMs: 0 },
              { kind: 'closeSocket', socket: state.socket, manner: 'abandon' },
            ],
            inputs,
          ),
    close: closeOrderly,
  },
  closing: {
    socketOpened: stay,
    socketClosed: (state) => ({ state: { ...baseOf(state), kind: 'closed' }, effects: [{ kind: 'closed' }] }),
    heard: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: (state, event, inputs) =>
      inputs.nowMs < state.deadlineMs
        ? stay(state, event, inputs)
        : {
            state: { ...baseOf(state), kind: 'closed' },
            effects: [{ kind: 'closeSocket', socket: state.socket, manner: 'abandon' }, { kind: 'closed' }],
          },
    close: stay,
  },
  closed: {
    socketOpened: stay,
    socketClosed: stay,
    heard: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: stay,
    close: stay,
  },
};

/** Decides. What a socket says that is not the newest is ignored. */
export function stepLink(state: LinkState, event: LinkEvent, inputs: Inputs): LinkStep {
  if ('socket' in event && event.socket !== state.socket) return { state, effects: [] };
  // The table pairs each state with its own handlers, which the compiler cannot see through the lookup.
  const handle = transitions[state.kind][event.kind] as Handler<LinkState, LinkEvent>;
  return handle(state, event, inputs);
}

/** When the next `tick` is due; undefined when nothing is awaited. */
export function linkWakeAt(state: LinkState, settings: Settings): number | undefined {
  switch (state.kind) {
    case 'waiting':
      return state.retryAtMs;
    case 'connecting':
    case 'opening':
    case 'closing':
      return state.deadlineMs;
    case 'ready':
      return state.probedAtMs === undefined
        ? state.heardAtMs + settings.keepAliveMs
        : state.probedAtMs + settings.keepAliveTimeoutMs;
    case 'leaving':
      return state.untilMs;
    case 'closed':
      return undefined;
    default:
      return state satisfies never;
  }
}

function baseOf({ socket, server, failures, cause }: LinkState): LinkBase {
  return { socket, server, failures, cause };
}

function connect(state: LinkState, before: readonly LinkEffect[], { nowMs, settings }: Inputs): LinkStep {
  const socket = state.socket + 1;
  return {
    state: { ...baseOf(state), kind: 'connecting', socket, deadlineMs: nowMs + settings.connectTimeoutMs },
    effects: [...before, { kind: 'openSocket', socket, url: urlOf(state, settings) }],
  };
}

function urlOf({ server }: LinkState, { urls }: Settings): string {
  const url = urls[server];
  if (url === undefined) throw new Error(`there is no server ${server}`);
  return url;
}

interface Failing {
  readonly cause: string;
  /** Whether our side of the socket has still to be closed. */
  readonly isOpen: boolean;
  readonly waitMinMs?: number;
}

/** The connection, or the try to make one, is over: waits, then tries again; another server unless this one had lasted. */
function fail(
  state: Connecting | Opening | Ready,
  { cause, isOpen, waitMinMs = 0 }: Failing,
  inputs: Inputs,
): LinkStep {
  const { nowMs, random, settings } = inputs;
  const hasLasted = state.kind === 'ready' && nowMs - state.sinceMs >= lastingMs;
  const servers = settings.urls.length;
  const backoff = backoffMs(settings, hasLasted ? 0 : Math.floor(state.failures / servers), random);
  const retryInMs = Math.max(backoff, Math.min(waitMinMs, protocolLimits.goawayMsMax));
  const effects: LinkEffect[] = [];
  if (isOpen) effects.push({ kind: 'closeSocket', socket: state.socket, manner: 'abandon' });
  if (state.kind === 'ready') effects.push({ kind: 'down', cause, retryInMs });
  else effects.push({ kind: 'unreachable', url: urlOf(state, settings), cause, retryInMs });
  return {
    state: {
      kind: 'waiting',
      socket: state.socket,
      server: hasLasted ? state.server : (state.server + 1) % servers,
      failures: hasLasted ? 0 : state.failures + 1,
      cause,
      retryAtMs: nowMs + retryInMs,
    },
    effects,
  };
}

function failWhenLate(state: Connecting | Opening, event: LinkEvent, inputs: Inputs): LinkStep {
  if (inputs.nowMs < state.deadlineMs) return stay(state, event, inputs);
  const cause = `no session within ${inputs.settings.connectTimeoutMs} ms`;
  return fail(state, { cause, isOpen: true }, inputs);
}

/**
 * A half-open connection never says that it is broken, and a browser cannot send pings: so after silence a request is sent whose
 * answer is cheap, and when that brings nothing either, the connection is given up.
 */
function watchLife(state: Ready, event: LinkEvent, inputs: Inputs): LinkStep {
  const { nowMs, settings } = inputs;
  const dueAt = linkWakeAt(state, settings);
  if (dueAt === undefined || nowMs < dueAt) return stay(state, event, inputs);
  if (state.probedAtMs === undefined) {
    return { state: { ...state, probedAtMs: nowMs }, effects: [{ kind: 'sendProbe' }] };
  }
  return fail(state, { cause: `the server was silent for ${nowMs - state.heardAtMs} ms`, isOpen: true }, inputs);
}

function closeOrderly(state: Opening | Ready | Leaving, _event: LinkEvent, { nowMs, settings }: Inputs): LinkStep {
  return {
    state: { ...baseOf(state), kind: 'closing', deadlineMs: nowMs + settings.closeTimeoutMs },
    effects: [{ kind: 'closeSocket', socket: state.socket, manner: 'orderly' }],
  };
}
