import { protocolLimits } from '../protocol/limits.ts';
import { backoffMs } from './backoff.ts';
import type {
  Connecting,
  Inputs,
  LinkBase,
  LinkEffect,
  LinkEvent,
  LinkState,
  LinkStep,
  Moving,
  Next,
  Opening,
  Ready,
  Serving,
  Waiting,
} from './link-state.ts';
import type { Settings } from './options.ts';
import { cellOf } from './transition-table.ts';
import type { TransitionTable } from './transition-table.ts';

/** The connection's decisions: `(state, event, now) → { state, effects }`. Values only; no socket, timer, clock or randomness. */
type Handler<S, E> = (state: S, event: E, inputs: Inputs) => LinkStep;

/** A session that lasted this long ends a row of failures. Shorter ones count, lest a server that drops everybody is hammered. */
const lastingMs = 5000;
/** Each return that does not last doubles the wait before the next, this often at most. */
const returnDoublingsMax = 5;

const noJson = 'the server sent no JSON';
const goingAway = 'the server is going away';

export const initialLink: LinkState = {
  kind: 'waiting',
  newest: 0,
  server: 0,
  failures: 0,
  cause: 'not connected yet',
  outdated: [],
  retryAtMs: 0,
};

const stay: Handler<LinkState, LinkEvent> = (state) => ({ state, effects: [] });

/** Every state with every event; a missing cell does not compile. */
const transitions: TransitionTable<LinkState, LinkEvent, LinkStep, [inputs: Inputs]> = {
  waiting: {
    tokenGiven: stay,
    socketOpened: stay,
    socketClosed: stay,
    activity: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: (state, _event, inputs) =>
      inputs.nowMs < state.retryAtMs ? stay(state, _event, inputs) : connect(state, inputs),
    close: (state) => ({ state: { ...baseOf(state), kind: 'closed' }, effects: [{ kind: 'closed' }] }),
  },
  connecting: {
    tokenGiven: (state, { socket }, { settings }) => ({
      state: { ...state, isTokenAwaited: false },
      effects: [{ kind: 'openSocket', socket, url: urlOf(state.server, settings) }],
    }),
    socketOpened: (state) => ({
      state: { ...baseOf(state), kind: 'opening', socket: state.socket, deadlineMs: state.deadlineMs },
      effects: [{ kind: 'sendOpen', socket: state.socket }],
    }),
    socketClosed: (state, { cause }, inputs) => fail(state, { cause, isOpen: false }, inputs),
    activity: stay,
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
    tokenGiven: stay,
    socketOpened: stay,
    socketClosed: (state, { cause }, inputs) => fail(state, { cause, isOpen: false }, inputs),
    activity: stay,
    openAccepted: (state, event, inputs) => ({ state: serve(state, event, inputs), effects: [{ kind: 'up' }] }),
    openRefused: (state, { cause, retryAfterMs, isOutdated }, inputs) => {
      const outdated = noteOutdated(state, state.server, isOutdated);
      if (outdated.length === inputs.settings.urls.length) return giveUp(state, cause);
      return fail({ ...state, outdated }, { cause, isOpen: true, waitMinMs: retryAfterMs }, inputs);
    },
    garbled: (state, _event, inputs) => fail(state, { cause: noJson, isOpen: true }, inputs),
    goaway: (state, { reconnectAfterMs }, inputs) =>
      fail(state, { cause: goingAway, isOpen: true, waitMinMs: reconnectAfterMs }, inputs),
    tick: failWhenLate,
    close: closeOrderly,
  },
  ready: {
    tokenGiven: stay,
    socketOpened: stay,
    socketClosed: (state, { cause }, inputs) => fail(state, { cause, isOpen: false }, inputs),
    activity: noteActivity,
    openAccepted: stay,
    openRefused: stay,
    garbled: (state, _event, inputs) => fail(state, { cause: noJson, isOpen: true }, inputs),
    goaway: leave,
    tick: (state, _event, inputs) => {
      const { returnAtMs } = state;
      if (isLifeDue(state, inputs)) return watchLife(state, inputs);
      if (returnAtMs === undefined || inputs.nowMs < returnAtMs) return { state, effects: [] };
      // Every server that comes before this one has its turn.
      const target = Math.floor(inputs.random * state.server);
      return dial(
        { ...state, kind: 'moving', goal: 'return', target, tries: 0, next: { stage: 'due', atMs: 0 } },
        inputs,
      );
    },
    close: closeOrderly,
  },
  moving: {
    tokenGiven: (state, { socket }, { settings }) => {
      const { next, target } = state;
      if (next.stage !== 'connecting') return { state, effects: [] };
      return {
        state: { ...state, next: { ...next, isTokenAwaited: false } },
        effects: [{ kind: 'openSocket', socket, url: urlOf(target, settings) }],
      };
    },
    socketOpened: (state, { socket }) => {
      const { next } = state;
      if (next.stage !== 'connecting' || next.socket !== socket) return { state, effects: [] };
      const { deadlineMs } = next;
      return {
        state: { ...state, next: { stage: 'opening', socket, deadlineMs } },
        effects: [{ kind: 'sendOpen', socket }],
      };
    },
    socketClosed: (state, { socket, cause }, inputs) =>
      socket === state.socket
        ? lose(state, { cause, isOpen: false }, inputs)
        : tryLater(state, { cause, isOpen: false }, inputs),
    activity: noteActivity,
    openAccepted: (state, event, inputs) =>
      event.socket === state.socket
        ? { state, effects: [] }
        : {
            state: serve({ ...baseOf(state), server: state.target }, event, inputs),
            effects: [{ kind: 'moved', from: state.socket }],
          },
    openRefused: (state, { socket, cause, retryAfterMs, isOutdated }, inputs) => {
      if (socket === state.socket) return { state, effects: [] };
      const outdated = noteOutdated(state, state.target, isOutdated);
      return tryLater({ ...state, outdated }, { cause, isOpen: true, waitMinMs: retryAfterMs }, inputs);
    },
    garbled: (state, { socket }, inputs) =>
      socket === state.socket
        ? lose(state, { cause: noJson, isOpen: true }, inputs)
        : tryLater(state, { cause: noJson, isOpen: true }, inputs),
    goaway: (state, event, inputs) => {
      if (event.socket !== state.socket) {
        return tryLater(state, { cause: goingAway, isOpen: true, waitMinMs: event.reconnectAfterMs }, inputs);
      }
      return { state: { ...state, goal: 'leave' }, effects: [] };
    },
    tick: (state, _event, inputs) => {
      if (isLifeDue(state, inputs)) return watchLife(state, inputs);
      const { next } = state;
      if (inputs.nowMs < nextDueAt(next)) return { state, effects: [] };
      if (next.stage === 'due') return dial(state, inputs);
      return tryLater(state, { cause: lateCause(next, inputs), isOpen: true }, inputs);
    },
    close: (state, event, inputs) => {
      const step = closeOrderly(state, event, inputs);
      const { next } = state;
      if (next.stage === 'due') return step;
      return { ...step, effects: [{ kind: 'closeSocket', socket: next.socket, manner: 'abandon' }, ...step.effects] };
    },
  },
  closing: {
    tokenGiven: stay,
    socketOpened: stay,
    socketClosed: (state) => ({ state: { ...baseOf(state), kind: 'closed' }, effects: [{ kind: 'closed' }] }),
    activity: stay,
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
    tokenGiven: stay,
    socketOpened: stay,
    socketClosed: stay,
    activity: stay,
    openAccepted: stay,
    openRefused: stay,
    garbled: stay,
    goaway: stay,
    tick: stay,
    close: stay,
  },
};

/** Decides. What a socket says that is in use no more is ignored. */
export function stepLink(state: LinkState, event: LinkEvent, inputs: Inputs): LinkStep {
  if ('socket' in event && !isInUse(state, event.socket)) return { state, effects: [] };
  return cellOf(transitions, state, event)(state, event, inputs);
}

/** Whether a socket serves, or is to. */
export function isInUse(state: LinkState, socket: number): boolean {
  if ('socket' in state && state.socket === socket) return true;
  return state.kind === 'moving' && state.next.stage !== 'due' && state.next.socket === socket;
}

/** The session that requests are sent on. */
export function servingOf(state: LinkState): Ready | Moving | undefined {
  return state.kind === 'ready' || state.kind === 'moving' ? state : undefined;
}

/** The socket whose `session.open` is awaited. */
export function openingSocketOf(state: LinkState): number | undefined {
  if (state.kind === 'opening') return state.socket;
  return state.kind === 'moving' && state.next.stage === 'opening' ? state.next.socket : undefined;
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
      return Math.min(lifeDueAt(state, settings), state.returnAtMs ?? Infinity);
    case 'moving':
      return Math.min(lifeDueAt(state, settings), nextDueAt(state.next));
    case 'closed':
      return undefined;
    default:
      return state satisfies never;
  }
}

function baseOf({ newest, server, failures, cause, outdated }: LinkState): LinkBase {
  return { newest, server, failures, cause, outdated };
}

function noteOutdated({ outdated }: LinkBase, server: number, isOutdated = false): readonly number[] {
  return isOutdated && !outdated.includes(server) ? [...outdated, server] : outdated;
}

/** Each server has said that it does not speak this client's version: asking them again for ever changes nothing. */
function giveUp(state: Opening, cause: string): LinkStep {
  return {
    state: { ...baseOf(state), cause, kind: 'closed' },
    effects: [{ kind: 'closeSocket', socket: state.socket, manner: 'abandon' }, { kind: 'gaveUp' }, { kind: 'closed' }],
  };
}

/** Opens a socket, after the token for it has been asked. */
function beginConnection(socket: number, server: number, settings: Settings): LinkEffect {
  if (settings.isTokenAsked) return { kind: 'askToken', socket };
  return { kind: 'openSocket', socket, url: urlOf(server, settings) };
}

function connect(state: Waiting, { nowMs, settings }: Inputs): LinkStep {
  const socket = state.newest + 1;
  return {
    state: {
      ...baseOf(state),
      kind: 'connecting',
      newest: socket,
      socket,
      deadlineMs: nowMs + settings.connectTimeoutMs,
      isTokenAwaited: settings.isTokenAsked,
    },
    effects: [beginConnection(socket, state.server, settings)],
  };
}

function urlOf(server: number, { urls }: Settings): string {
  const url = urls[server];
  if (url === undefined) throw new Error(`there is no server ${server}`);
  return url;
}

function serve(
  { newest, server, failures, cause }: LinkBase,
  { socket, limits, heartbeatMs }: Extract<LinkEvent, { kind: 'openAccepted' }>,
  inputs: Inputs,
): Ready {
  const { nowMs } = inputs;
  return {
    newest,
    server,
    failures,
    cause,
    outdated: [],
    kind: 'ready',
    socket,
    sinceMs: nowMs,
    lastActivityAtMs: nowMs,
    probedAtMs: undefined,
    limits,
    heartbeatMs,
    returnAtMs: returnAt(server, failures, inputs),
  };
}

/** Jittered, so that all who were moved do not come back together. */
function returnAt(server: number, failures: number, { nowMs, random, settings }: Inputs): number | undefined {
  if (server === 0 || settings.returnAfterMs === 0) return undefined;
  const rounds = Math.min(Math.floor(failures / settings.urls.length), returnDoublingsMax);
  return nowMs + Math.round((settings.returnAfterMs * 2 ** rounds * (1 + random)) / 2);
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
  const { socket } = state;
  if (isOpen) effects.push({ kind: 'closeSocket', socket, manner: 'abandon' });
  if (state.kind === 'ready') effects.push({ kind: 'down', cause, retryInMs });
  else effects.push({ kind: 'unreachable', socket, url: urlOf(state.server, settings), cause, retryInMs });
  return {
    state: {
      kind: 'waiting',
      newest: state.newest,
      server: hasLasted ? state.server : (state.server + 1) % servers,
      failures: hasLasted ? 0 : state.failures + 1,
      cause,
      outdated: state.outdated,
      retryAtMs: nowMs + retryInMs,
    },
    effects,
  };
}

function lateCause(late: Connecting | Opening | Next, { settings }: Inputs): string {
  const isTokenAwaited = 'isTokenAwaited' in late && late.isTokenAwaited;
  return `no ${isTokenAwaited ? 'token' : 'session'} within ${settings.connectTimeoutMs} ms`;
}

function failWhenLate(state: Connecting | Opening, event: LinkEvent, inputs: Inputs): LinkStep {
  if (inputs.nowMs < state.deadlineMs) return stay(state, event, inputs);
  return fail(state, { cause: lateCause(state, inputs), isOpen: true }, inputs);
}

/** The server asked us to go: at the time that it named another connection is made. */
function leave(state: Ready, { reconnectAfterMs }: Extract<LinkEvent, { kind: 'goaway' }>, inputs: Inputs): LinkStep {
  const { returnAtMs: _, ...serving } = state;
  const atMs = inputs.nowMs + Math.min(reconnectAfterMs, protocolLimits.goawayMsMax);
  return {
    state: {
      ...serving,
      kind: 'moving',
      goal: 'leave',
      failures: 0,
      target: (state.server + 1) % inputs.settings.urls.length,
      tries: 0,
      next: { stage: 'due', atMs },
    },
    effects: [],
  };
}

function nextDueAt(next: Next): number {
  return next.stage === 'due' ? next.atMs : next.deadlineMs;
}

function dial(state: Moving, { nowMs, settings }: Inputs): LinkStep {
  const socket = state.newest + 1;
  const deadlineMs = nowMs + settings.connectTimeoutMs;
  const next = { stage: 'connecting', socket, deadlineMs, isTokenAwaited: settings.isTokenAsked } as const;
  return {
    state: { ...state, newest: socket, next },
    effects: [beginConnection(socket, state.target, settings)],
  };
}

/** The connection that was to take over failed; the present one continues. */
function tryLater(state: Moving, { cause, isOpen, waitMinMs = 0 }: Failing, inputs: Inputs): LinkStep {
  const { nowMs, random, settings } = inputs;
  const { next, goal, target, tries, ...serving } = state;
  const effects: LinkEffect[] = [];
  const socket = next.stage === 'due' ? undefined : next.socket;
  if (isOpen && socket !== undefined) effects.push({ kind: 'closeSocket', socket, manner: 'abandon' });
  const servers = settings.urls.length;
  if (goal === 'return') {
    const returnAtMs = returnAt(state.server, state.failures, inputs);
    return { state: { ...serving, kind: 'ready', returnAtMs }, effects };
  }
  const backoff = backoffMs(settings, Math.floor(tries / servers), random);
  const retryInMs = Math.max(backoff, Math.min(waitMinMs, protocolLimits.goawayMsMax));
  if (socket !== undefined) {
    effects.push({ kind: 'unreachable', socket, url: urlOf(target, settings), cause, retryInMs });
  }
  return {
    state: {
      ...state,
      target: (target + 1) % servers,
      tries: tries + 1,
      next: { stage: 'due', atMs: nowMs + retryInMs },
    },
    effects,
  };
}

/** The connection that serves is gone before another could take over: that one is used, or waited for. */
function lose(state: Moving, { cause, isOpen }: Failing, { nowMs }: Inputs): LinkStep {
  const { next, target, newest, failures, outdated } = state;
  const base = { newest, server: target, failures, cause, outdated };
  const effects: LinkEffect[] = isOpen ? [{ kind: 'closeSocket', socket: state.socket, manner: 'abandon' }] : [];
  if (next.stage === 'due') {
    effects.push({ kind: 'down', cause, retryInMs: Math.max(0, next.atMs - nowMs) });
    return { state: { ...base, kind: 'waiting', retryAtMs: next.atMs }, effects };
  }
  effects.push({ kind: 'down', cause, retryInMs: 0 });
  const { socket, deadlineMs } = next;
  if (next.stage === 'opening') return { state: { ...base, kind: 'opening', socket, deadlineMs }, effects };
  const { isTokenAwaited } = next;
  return { state: { ...base, kind: 'connecting', socket, deadlineMs, isTokenAwaited }, effects };
}

function noteActivity(
  state: Ready | Moving,
  { socket }: Extract<LinkEvent, { kind: 'activity' }>,
  { nowMs }: Inputs,
): LinkStep {
  if (socket !== state.socket) return { state, effects: [] };
  return { state: { ...state, lastActivityAtMs: nowMs, probedAtMs: undefined }, effects: [] };
}

/**
 * A server considers a client gone after three heartbeats. So the server is pinged after one, and dropped after another: that leaves a third
 * in which to reconnect before our instances are removed.
 */
function lifeDueAt({ lastActivityAtMs, probedAtMs, heartbeatMs }: Serving, settings: Settings): number {
  return probedAtMs === undefined
    ? lastActivityAtMs + Math.min(settings.keepAliveMs, heartbeatMs)
    : probedAtMs + Math.min(settings.keepAliveTimeoutMs, heartbeatMs);
}

function isLifeDue(state: Serving, { nowMs, settings }: Inputs): boolean {
  return nowMs >= lifeDueAt(state, settings);
}

/**
 * A half-open connection never says that it is broken, and a browser cannot send pings: so after silence a request is sent whose
 * answer is cheap, and when that brings nothing either, the connection is given up.
 */
function watchLife(state: Ready | Moving, inputs: Inputs): LinkStep {
  const { nowMs } = inputs;
  if (state.probedAtMs === undefined) {
    return { state: { ...state, probedAtMs: nowMs }, effects: [{ kind: 'sendProbe' }] };
  }
  const failing = { cause: `the server was silent for ${Math.round(nowMs - state.lastActivityAtMs)} ms`, isOpen: true };
  return state.kind === 'ready' ? fail(state, failing, inputs) : lose(state, failing, inputs);
}

function closeOrderly(state: Opening | Ready | Moving, _event: LinkEvent, { nowMs, settings }: Inputs): LinkStep {
  return {
    state: { ...baseOf(state), kind: 'closing', socket: state.socket, deadlineMs: nowMs + settings.closeTimeoutMs },
    effects: [{ kind: 'closeSocket', socket: state.socket, manner: 'orderly' }],
  };
}
