import type { Failure } from '../protocol/errors.ts';
import type { ServiceName } from '../protocol/types.ts';
import { RequestError } from './errors.ts';
import { replaceConnection } from './former.ts';
import { wordRequest } from './frames.ts';
import type { Opened } from './frames.ts';
import { moveToForeign } from './keeping.ts';
import type { LinkEffect, LinkEvent } from './link-state.ts';
import { stepLink } from './link.ts';
import { reconcile } from './reconciliation.ts';
import { disownRegistration, pursue, resetRegistration, settlePending } from './registrations.ts';
import { resetSubscription } from './subscriptions.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';

/**
 * What a half-open connection is found by: ending a subscription that nobody has is no error, and the session host answers it
 * without asking a partition.
 */
const probeService: ServiceName = { namespace: 'slotcast', group: 'client', service: 'sign-of-life' };

/** What this client understands beyond the first edition of the protocol. */
const capabilities: readonly string[] = ['claims'];

export function moveLink(turn: Turn, event: LinkEvent, opened?: Opened): void {
  const { state, effects } = stepLink(turn.state.link, event, turn.inputs);
  turn.state.link = state;
  for (const effect of effects) follow(turn, effect, opened);
}

function follow(turn: Turn, effect: LinkEffect, opened: Opened | undefined): void {
  switch (effect.kind) {
    case 'openSocket':
    case 'closeSocket':
    case 'closed':
      turn.effects.push(effect);
      return;
    case 'sendOpen':
      sendOpen(turn, effect.socket, false);
      return;
    case 'sendProbe':
      sendProbe(turn);
      return;
    case 'up':
      goUp(turn, opened);
      return;
    case 'moved':
      dropRequests(turn, ({ socket }) => socket === effect.from);
      goUp(turn, opened, effect.from);
      return;
    case 'down':
      goDown(turn);
      turn.effects.push({
        kind: 'notify',
        notice: { kind: 'disconnected', cause: effect.cause, retryInMs: effect.retryInMs },
      });
      return;
    case 'unreachable': {
      const { url: server, cause, retryInMs } = effect;
      dropRequests(turn, ({ socket }) => socket === effect.socket);
      turn.effects.push({ kind: 'notify', notice: { kind: 'unreachable', server, cause, retryInMs } });
      return;
    }
    default:
      effect satisfies never;
  }
}

/** Asks for a session, and to take over the one before. */
function sendOpen(turn: Turn, socket: number, isPlain: boolean): void {
  const { books, inputs } = turn;
  const { open, connectTimeoutMs } = inputs.settings;
  const { secret: resume } = books;
  const id = turn.noteRequest({ kind: 'open', isPlain }, socket, connectTimeoutMs);
  const params = isPlain ? open : { ...open, ...(resume === undefined ? {} : { resume }), capabilities };
  turn.effects.push({ kind: 'send', socket, text: wordRequest(id, 'session.open', params) });
}

function sendProbe(turn: Turn): void {
  const { serving, inputs } = turn;
  if (serving === undefined) return;
  const id = turn.noteRequest({ kind: 'probe' }, serving.socket, inputs.settings.requestTimeoutMs);
  turn.effects.push({
    kind: 'send',
    socket: serving.socket,
    text: wordRequest(id, 'service.unsubscribe', probeService),
  });
}

export function acceptOpen(turn: Turn, socket: number, opened: Opened): void {
  // A server that names no time of its own leaves it to the settings.
  const heartbeatMs = readHeartbeat(opened.heartbeatMs);
  moveLink(turn, { kind: 'openAccepted', socket, limits: opened.limits, heartbeatMs }, opened);
}

function readHeartbeat(heartbeatMs: unknown): number {
  return typeof heartbeatMs === 'number' && heartbeatMs >= 1 ? heartbeatMs : Number.POSITIVE_INFINITY;
}

/** A server of the first edition refuses what it does not know: it is asked again in its own words. */
export function refuseOpen(
  turn: Turn,
  { socket, isPlain }: { readonly socket: number; readonly isPlain: boolean },
  failure: Failure,
): void {
  if (failure.code === 'invalid_params' && !isPlain) {
    sendOpen(turn, socket, true);
    return;
  }
  const { backoffMaxMs } = turn.inputs.settings;
  const waitMs = failure.retryAfterMs !== undefined ? turn.waitAfter(failure) : isPassing(failure) ? 0 : backoffMaxMs;
  const cause = `session.open: ${failure.code}: ${failure.message}`;
  turn.effects.push({
    kind: 'notify',
    notice: { kind: 'refused', what: { kind: 'session' }, error: new RequestError(failure) },
  });
  moveLink(turn, { kind: 'openRefused', socket, cause, retryAfterMs: waitMs });
}

/**
 * The session is open: everything that stands is told to the server, registrations first, since their grace runs. A session that was
 * taken over holds them already. `former` is the socket that served until now.
 */
function goUp(turn: Turn, opened: Opened | undefined, former?: number): void {
  const { books, inputs } = turn;
  const { serving } = turn;
  if (opened === undefined || serving === undefined) throw new Error('there is no session');
  const { session, resumed, secret, registry, warming } = opened;
  const server = inputs.settings.urls[serving.server] ?? '';
  const isForeign = registry !== undefined && books.registry !== undefined && registry !== books.registry;
  turn.effects.push({
    kind: 'notify',
    notice: { kind: 'connected', server, session, isResumed: resumed !== undefined },
  });
  if (isForeign && books.registry !== undefined) {
    turn.effects.push({ kind: 'notify', notice: { kind: 'registry', server, registry, previous: books.registry } });
  }
  books.secret = secret;
  books.registry = registry ?? books.registry;
  books.isWarming = warming === true;
  reset(turn);
  for (const entry of books.registrations.values()) if (resumed === undefined) disownRegistration(entry);
  reconcile(turn, resumed);
  // Another may have been forgotten, as what was taken away is by now.
  for (const entry of books.registrations.values()) pursue(turn, entry);
  for (const entry of books.subscriptions.values()) {
    entry.isAnswered = false;
    if (entry.isFromCache ? entry.cachedRegistry !== registry : isForeign) moveToForeign(turn, entry);
    turn.enqueue(entry);
  }
  for (const read of books.reads) turn.enqueue(read);
  for (const [ticket, { owner }] of books.tickets) {
    if (owner.kind === 'connection') turn.resolve(ticket, { kind: 'connected' });
  }
  if (former !== undefined) {
    const missing =
      resumed === undefined ? [...books.registrations.values()].filter(({ phase }) => phase === 'queued') : [];
    replaceConnection(turn, former, new Set(missing));
  }
}

/** The session is lost: what stands must be told anew. */
function goDown(turn: Turn): void {
  const { books } = turn;
  dropRequests(turn, ({ errand }) => errand.kind !== 'open');
  reset(turn);
  for (const entry of books.registrations.values()) settlePending(turn, entry);
}

/** What was told to the session before has to be told, or found out, again. */
function reset(turn: Turn): void {
  const { books } = turn;
  books.outbox = [];
  books.postponed = [];
  books.reconciliation = undefined;
  for (const entry of books.registrations.values()) resetRegistration(entry);
  for (const entry of books.subscriptions.values()) resetSubscription(turn, entry);
  for (const read of books.reads) read.isSent = false;
}

/** Their answers are expected no more. */
function dropRequests(
  { books }: Turn,
  isDropped: (request: { readonly socket: number; readonly errand: { readonly kind: string } }) => boolean,
): void {
  for (const [id, request] of books.inFlight) if (isDropped(request)) books.inFlight.delete(id);
}
