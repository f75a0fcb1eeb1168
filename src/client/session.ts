import type { Capability } from '../protocol/capabilities.ts';
import type { Failure } from '../protocol/errors.ts';
import { protocolVersion, protocolVersionMin, protocolVersionUnsaid } from '../protocol/limits.ts';
import type { ServiceName } from '../protocol/types.ts';
import type { OpenWording } from './books.ts';
import { endAll } from './ending.ts';
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

/** What this client understands. */
const understood: readonly Capability[] = ['claims', 'goaway', 'resume', 'warming'];
/** What servers have that name a registry, but not yet what they offer. */
const offeredUnsaid: readonly Capability[] = ['claims', 'goaway', 'resume', 'warming'];

/** What the server has said to `session.open`. */
interface OpenAnswer {
  readonly opened?: Opened;
  readonly failure?: Failure;
}

export function moveLink(turn: Turn, event: LinkEvent, answer: OpenAnswer = {}): void {
  const { state, effects } = stepLink(turn.state.link, event, turn.inputs);
  turn.state.link = state;
  for (const effect of effects) follow(turn, effect, answer);
}

function follow(turn: Turn, effect: LinkEffect, { opened, failure }: OpenAnswer): void {
  switch (effect.kind) {
    case 'openSocket':
    case 'closeSocket':
    case 'closed':
      turn.effects.push(effect);
      return;
    case 'sendOpen':
      sendOpen(turn, effect.socket, 'full');
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
    case 'gaveUp':
      if (failure === undefined) throw new Error('given up without a reason');
      turn.books.ended = new RequestError(failure);
      endAll(turn, turn.books.ended);
      return;
    default:
      effect satisfies never;
  }
}

/** Asks for a session, and to take over the one before. */
function sendOpen(turn: Turn, socket: number, wording: OpenWording): void {
  const { books, inputs } = turn;
  const { open, connectTimeoutMs } = inputs.settings;
  const { secret: resume } = books;
  const id = turn.noteRequest({ kind: 'open', wording }, socket, connectTimeoutMs);
  const params = {
    ...open,
    ...(resume === undefined || wording === 'plain' ? {} : { resume }),
    ...(wording === 'plain' ? {} : { capabilities: understood }),
    ...(wording === 'full' ? { protocol: protocolVersion } : {}),
  };
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
  const { protocol = protocolVersionUnsaid } = opened;
  if (protocol < protocolVersionMin || protocol > protocolVersion) {
    const message = `the server speaks version ${protocol} of the protocol; this client speaks ${protocolVersionMin} to ${protocolVersion}`;
    refuseSession(turn, socket, { code: 'unsupported_version', message });
    return;
  }
  // A server that names no time of its own leaves it to the settings.
  const heartbeatMs = readHeartbeat(opened.heartbeatMs);
  moveLink(turn, { kind: 'openAccepted', socket, limits: opened.limits, heartbeatMs }, { opened });
}

function readHeartbeat(heartbeatMs: unknown): number {
  return typeof heartbeatMs === 'number' && heartbeatMs >= 1 ? heartbeatMs : Number.POSITIVE_INFINITY;
}

/** A server of an earlier edition refuses what it does not know: it is asked again without that, or in the words of the first. */
export function refuseOpen(
  turn: Turn,
  { socket, wording }: { readonly socket: number; readonly wording: OpenWording },
  failure: Failure,
): void {
  if (failure.code === 'invalid_params' && wording !== 'plain') {
    sendOpen(turn, socket, wording === 'full' && failure.field === '/protocol' ? 'unversioned' : 'plain');
    return;
  }
  refuseSession(turn, socket, failure);
}

function refuseSession(turn: Turn, socket: number, failure: Failure): void {
  const { backoffMaxMs } = turn.inputs.settings;
  const waitMs = failure.retryAfterMs !== undefined ? turn.waitAfter(failure) : isPassing(failure) ? 0 : backoffMaxMs;
  const cause = `session.open: ${failure.code}: ${failure.message}`;
  turn.effects.push({
    kind: 'notify',
    notice: { kind: 'refused', what: { kind: 'session' }, error: new RequestError(failure) },
  });
  const isOutdated = failure.code === 'unsupported_version';
  moveLink(turn, { kind: 'openRefused', socket, cause, retryAfterMs: waitMs, isOutdated }, { failure });
}

/**
 * The session is open: everything that stands is told to the server, registrations first, since their grace runs. A session that was
 * taken over holds them already. `former` is the socket that served until now.
 */
function goUp(turn: Turn, opened: Opened | undefined, former?: number): void {
  const { books, inputs } = turn;
  const { serving } = turn;
  if (opened === undefined || serving === undefined) throw new Error('there is no session');
  const { session, resumed, secret, registry, warming, capabilities } = opened;
  const offers = capabilities ?? (registry === undefined ? [] : offeredUnsaid);
  const server = inputs.settings.urls[serving.server] ?? '';
  const isForeign = registry !== undefined && books.registry !== undefined && registry !== books.registry;
  turn.effects.push({
    kind: 'notify',
    notice: { kind: 'connected', server, session, isResumed: resumed !== undefined, capabilities: offers },
  });
  if (isForeign && books.registry !== undefined) {
    turn.effects.push({ kind: 'notify', notice: { kind: 'registry', server, registry, previous: books.registry } });
  }
  books.secret = secret;
  books.registry = registry ?? books.registry;
  books.offers = offers;
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
