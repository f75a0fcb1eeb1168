import type { Capability } from '../protocol/capabilities.ts';
import type { Failure } from '../protocol/errors.ts';
import { protocolVersion, protocolVersionMin, protocolVersionUnsaid } from '../protocol/limits.ts';
import type { OpenForm } from './client-tables.ts';
import { OutcomeUnknownError, RequestError } from './errors.ts';
import { isRepeatable } from './exchange-requests.ts';
import { encodeRequest } from './frames.ts';
import type { Opened } from './frames.ts';
import type { LinkEffect, LinkEvent } from './link-state.ts';
import { stepLink } from './link.ts';
import { resetLocks, resumeLocks } from './lock-survival.ts';
import { replaceConnection } from './previous-connection.ts';
import { sendProbe } from './proof.ts';
import { reconcile } from './reconciliation.ts';
import { forgetSessionCopy, reviewRegistration, resetRegistration, settlePending } from './registrations.ts';
import { retainAcrossRegistries } from './retention.ts';
import { endAll } from './shutdown.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';
import { resetSubscription } from './subscriptions.ts';
import { resetWatches, resumeWatches } from './watches.ts';

/** What this client understands. */
const supportedCapabilities: readonly Capability[] = ['claims', 'goaway', 'resume', 'warming'];
/** What servers have that name a registry, but not yet what they offer. */
const impliedCapabilities: readonly Capability[] = ['claims', 'goaway', 'resume', 'warming'];

/** What the server has said to `session.open`. */
interface OpenAnswer {
  readonly opened?: Opened;
  readonly failure?: Failure;
}

export function dispatchToLink(step: Step, event: LinkEvent, answer: OpenAnswer = {}): void {
  const { state, effects } = stepLink(step.state.link, event, step.inputs);
  step.state.link = state;
  for (const effect of effects) follow(step, effect, answer);
}

function follow(step: Step, effect: LinkEffect, { opened, failure }: OpenAnswer): void {
  switch (effect.kind) {
    case 'askToken':
    case 'openSocket':
    case 'closeSocket':
    case 'closed':
      step.effects.push(effect);
      return;
    case 'sendOpen':
      sendOpen(step, effect.socket, 'full');
      return;
    case 'sendProbe':
      sendProbe(step);
      return;
    case 'up':
      beginSession(step, opened);
      return;
    case 'moved':
      dropRequests(step, ({ socket }) => socket === effect.from);
      beginSession(step, opened, effect.from);
      return;
    case 'down':
      loseSession(step);
      step.effects.push({
        kind: 'notify',
        notice: { kind: 'disconnected', cause: effect.cause, retryInMs: effect.retryInMs },
      });
      return;
    case 'unreachable': {
      const { url: server, cause, retryInMs } = effect;
      dropRequests(step, ({ socket }) => socket === effect.socket);
      step.effects.push({ kind: 'notify', notice: { kind: 'unreachable', server, cause, retryInMs } });
      return;
    }
    case 'gaveUp':
      if (failure === undefined) throw new Error('given up without a reason');
      step.tables.ended = new RequestError(failure);
      endAll(step, step.tables.ended);
      return;
    default:
      effect satisfies never;
  }
}

/** Asks for a session, and to take over the one before. */
function sendOpen(step: Step, socket: number, form: OpenForm): void {
  const { tables, inputs } = step;
  const { open, connectTimeoutMs } = inputs.settings;
  const { secret: resume, token } = tables;
  const id = step.noteRequest({ kind: 'open', form }, socket, connectTimeoutMs);
  const params = {
    ...open,
    ...(token === undefined ? {} : { token }),
    ...(resume === undefined || form === 'plain' ? {} : { resume }),
    ...(form === 'plain' ? {} : { capabilities: supportedCapabilities }),
    ...(form === 'full' ? { protocol: protocolVersion } : {}),
  };
  step.effects.push({ kind: 'send', socket, text: encodeRequest(id, 'session.open', params) });
}

export function acceptOpen(step: Step, socket: number, opened: Opened): void {
  const { protocol = protocolVersionUnsaid } = opened;
  if (protocol < protocolVersionMin || protocol > protocolVersion) {
    const message = `the server speaks version ${protocol} of the protocol; this client speaks ${protocolVersionMin} to ${protocolVersion}`;
    refuseSession(step, socket, { code: 'unsupported_version', message });
    return;
  }
  // A server that names no time of its own leaves it to the settings.
  const heartbeatMs = readHeartbeat(opened.heartbeatMs);
  dispatchToLink(step, { kind: 'openAccepted', socket, limits: opened.limits, heartbeatMs }, { opened });
}

function readHeartbeat(heartbeatMs: unknown): number {
  return typeof heartbeatMs === 'number' && heartbeatMs >= 1 ? heartbeatMs : Number.POSITIVE_INFINITY;
}

/** A server of an earlier edition refuses what it does not know: it is asked again without that, or in the words of the first. */
export function refuseOpen(
  step: Step,
  { socket, form }: { readonly socket: number; readonly form: OpenForm },
  failure: Failure,
): void {
  if (failure.code === 'invalid_params' && form !== 'plain') {
    sendOpen(step, socket, form === 'full' && failure.field === '/protocol' ? 'unversioned' : 'plain');
    return;
  }
  refuseSession(step, socket, failure);
}

function refuseSession(step: Step, socket: number, failure: Failure): void {
  const { backoffMaxMs, isTokenAsked } = step.inputs.settings;
  // There may be a better token already.
  const isWorthAsking = isRetryable(failure) || (failure.code === 'unauthorized' && isTokenAsked);
  const waitMs = failure.retryAfterMs !== undefined ? step.waitAfter(failure) : isWorthAsking ? 0 : backoffMaxMs;
  const cause = `session.open: ${failure.code}: ${failure.message}`;
  step.effects.push({
    kind: 'notify',
    notice: { kind: 'refused', what: { kind: 'session' }, error: new RequestError(failure) },
  });
  const isOutdated = failure.code === 'unsupported_version';
  dispatchToLink(step, { kind: 'openRefused', socket, cause, retryAfterMs: waitMs, isOutdated }, { failure });
}

/**
 * The session is open: registrations and subscriptions are sent to the server, registrations first, since their grace period is running. A session that was
 * taken over already has them. `former` is the socket that served until now.
 */
function beginSession(step: Step, opened: Opened | undefined, previousConnection?: number): void {
  const { tables, inputs } = step;
  const { serving } = step;
  if (opened === undefined || serving === undefined) throw new Error('there is no session');
  const { session, resumed, secret, registry, warming, capabilities, graceMs } = opened;
  const offers = capabilities ?? (registry === undefined ? [] : impliedCapabilities);
  const server = inputs.settings.urls[serving.server] ?? '';
  const isForeign = registry !== undefined && tables.registry !== undefined && registry !== tables.registry;
  step.effects.push({
    kind: 'notify',
    notice: { kind: 'connected', server, session, isResumed: resumed !== undefined, capabilities: offers },
  });
  if (isForeign && tables.registry !== undefined) {
    step.effects.push({ kind: 'notify', notice: { kind: 'registry', server, registry, previous: tables.registry } });
  }
  tables.secret = secret;
  tables.graceMs = typeof graceMs === 'number' ? graceMs : undefined;
  tables.registry = registry ?? tables.registry;
  tables.offers = offers;
  tables.isWarming = warming === true;
  reset(step);
  for (const entry of tables.registrations.values()) if (resumed === undefined) forgetSessionCopy(entry);
  reconcile(step, resumed);
  // Another may have been forgotten, as what was taken away is by now.
  for (const entry of tables.registrations.values()) reviewRegistration(step, entry);
  for (const entry of tables.subscriptions.values()) {
    entry.isAnswered = false;
    if (entry.cached === undefined ? isForeign : entry.cached.registry !== registry)
      retainAcrossRegistries(step, entry);
    step.moveSubscription(entry, { kind: 'request', canSend: true });
  }
  for (const exchange of tables.exchanges) step.enqueue(exchange);
  tables.isWatchingRefused = false;
  resumeWatches(step, isForeign);
  // A registry that has just started does not know the session of before, but who comes back holds what that held.
  resumeLocks(step, resumed !== undefined || tables.isWarming);
  for (const [ticket, { owner }] of tables.tickets) {
    if (owner.kind === 'connection') step.resolve(ticket, { kind: 'connected' });
  }
  if (previousConnection !== undefined) {
    const missing =
      resumed === undefined ? [...tables.registrations.values()].filter(({ phase }) => phase.kind === 'queued') : [];
    replaceConnection(step, previousConnection, new Set(missing));
  }
}

/** The session is lost: registrations and subscriptions must be sent again. */
function loseSession(step: Step): void {
  const { tables } = step;
  dropRequests(step, ({ operation }) => operation.kind !== 'open');
  reset(step);
  for (const entry of tables.registrations.values()) settlePending(step, entry);
}

/** What was sent on the previous session has to be sent, or found out, again. */
function reset(step: Step): void {
  const { tables } = step;
  tables.outbox = [];
  tables.postponed = [];
  tables.reconciliation = undefined;
  for (const entry of tables.registrations.values()) resetRegistration(step, entry);
  for (const entry of tables.subscriptions.values()) resetSubscription(step, entry);
  resetExchanges(step);
  resetLocks(step);
  resetWatches(step);
}

/** Those that may be asked again are; of the others it is not known whether they were carried out. */
function resetExchanges(step: Step): void {
  const { exchanges } = step.tables;
  for (const exchange of exchanges) {
    if (exchange.isSent && !isRepeatable(exchange.request)) {
      exchanges.delete(exchange);
      step.reject(exchange.ticket, new OutcomeUnknownError(exchange.request.method));
    }
    exchange.isSent = false;
  }
}

/** Their answers are expected no more. */
function dropRequests(
  { tables }: Step,
  isDropped: (request: { readonly socket: number; readonly operation: { readonly kind: string } }) => boolean,
): void {
  for (const [id, request] of tables.inFlight) if (isDropped(request)) tables.inFlight.delete(id);
}
