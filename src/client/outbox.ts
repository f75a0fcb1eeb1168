import type { WireLimits } from '../protocol/types.ts';
import { refuse } from './answers.ts';
import type { PendingOperation } from './client-tables.ts';
import { utf8Bytes, encodeRegister, encodeRequest } from './frames.ts';
import { isHealthReport } from './health-report.ts';
import { isAwaited } from './locks.ts';
import { noteRegistrationSent, noteRegistrationTried, shouldSendRegistration } from './registrations.ts';
import type { Step } from './step.ts';
import { isSubscribed, noteSubscriptionSent, subscribeParams } from './subscriptions.ts';
import { isWatched, noteWatchSent, watchParams } from './watches.ts';

/**
 * A batch of subscriptions is answered in one frame, and the server closes a session whose answer does not fit its backlog. So
 * such a batch is kept small: by services, and by how many instances they had.
 */
const subscriptionsPerBatchMax = 100;
const instancesPerBatchMax = 2000;
/** Kept free of the server's bound for the sign of life, and for a page of what the session holds. */
const requestsSpare = 2;

/** Sends what waits, as far as the server's limits let it: one batch after another, each of one kind. */
export function sendOutbox(step: Step): void {
  const { serving: link } = step;
  if (link === undefined) return;
  const { outbox, inFlight } = step.tables;
  let next = 0;
  while (next < outbox.length) {
    const room = Math.max(1, link.limits.requestsInFlightMax - requestsSpare) - inFlight.size;
    if (room <= 0) break;
    next = sendBatch(step, next, { socket: link.socket, limits: link.limits, room });
  }
  if (next > 0) step.tables.outbox = outbox.slice(next);
}

interface BatchBounds {
  readonly socket: number;
  readonly limits: WireLimits;
  readonly room: number;
}

/** Sends operations of one kind from `first` on; returns where the next batch begins. */
function sendBatch(step: Step, first: number, { socket, limits, room }: BatchBounds): number {
  const { outbox } = step.tables;
  const texts: string[] = [];
  // Two brackets; every entry brings a comma.
  let bytes = 2;
  let instances = 0;
  let next = first;
  const kind = outbox[first]?.kind;
  const entriesMax = Math.min(room, entriesPerBatch(kind, limits), step.tables.entriesPerBatchMax);
  const firstRequest = step.tables.nextRequest;
  for (; next < outbox.length && texts.length < entriesMax; next++) {
    const operation = outbox[next];
    if (operation === undefined || operation.kind !== kind) break;
    if (!isStillWanted(step, operation)) continue;
    if (operation.kind === 'subscription') {
      instances += operation.view.size;
      if (texts.length > 0 && instances > instancesPerBatchMax) break;
    }
    const text = encodeOperation(step, step.tables.nextRequest, operation);
    const size = utf8Bytes(text) + 1;
    if (size + 2 > limits.frameBytesMax) {
      refuseTooLarge(step, operation, size, limits);
      continue;
    }
    if (bytes + size > limits.frameBytesMax) break;
    bytes += size;
    texts.push(text);
    noteSent(step, operation, socket);
  }
  for (let id = firstRequest; id < step.tables.nextRequest; id++) {
    const request = step.tables.inFlight.get(id);
    if (request !== undefined) request.entries = texts.length;
  }
  const [only] = texts;
  if (only !== undefined) {
    const text = texts.length === 1 ? only : `[${texts.join(',')}]`;
    step.effects.push({ kind: 'send', socket, text });
  }
  return next;
}

function entriesPerBatch(kind: PendingOperation['kind'] | undefined, { batchEntriesMax }: WireLimits): number {
  switch (kind) {
    case 'subscription':
      return Math.min(batchEntriesMax, subscriptionsPerBatchMax);
    // A batch is answered as a whole, so a request would wait for the slowest of the others.
    case 'exchange':
    case 'lock':
    case 'watch':
      return 1;
    case 'registration':
    case 'unsubscription':
    case 'unwatch':
    case undefined:
      return batchEntriesMax;
    default:
      return kind satisfies never;
  }
}

/** What was given up while it waited is not sent. */
function isStillWanted(step: Step, operation: PendingOperation): boolean {
  switch (operation.kind) {
    case 'registration':
      return shouldSendRegistration(step, operation);
    case 'subscription':
      return isSubscribed(step, operation) && operation.phase.kind === 'queued';
    case 'exchange':
      return step.tables.exchanges.has(operation);
    case 'lock':
      return isAwaited(operation);
    case 'watch':
      return isWatched(step, operation) && operation.phase.kind === 'queued';
    case 'unsubscription':
    case 'unwatch':
      return true;
    default:
      return operation satisfies never;
  }
}

function noteSent(step: Step, operation: PendingOperation, socket: number): void {
  step.noteRequest(operation, socket, step.inputs.settings.requestTimeoutMs);
  if (operation.kind === 'registration') noteRegistrationSent(step, operation);
  else if (operation.kind === 'subscription') noteSubscriptionSent(step, operation);
  else if (operation.kind === 'watch') noteWatchSent(operation);
  else if (operation.kind === 'exchange' || operation.kind === 'lock') operation.isSent = true;
}

function encodeOperation(step: Step, id: number, operation: PendingOperation): string {
  switch (operation.kind) {
    case 'registration':
      if (isHealthReport(operation)) {
        const { service, id: instance, wanted } = operation;
        return encodeRequest(id, 'instance.health', { ...service, id: instance, health: wanted?.health ?? 'passing' });
      }
      return operation.wanted === undefined
        ? encodeRequest(id, 'instance.deregister', { ...operation.service, id: operation.id })
        : encodeRegister(id, operation.service, operation.wanted);
    case 'subscription':
      return encodeRequest(id, 'service.subscribe', subscribeParams(step, operation));
    case 'unsubscription':
      return encodeRequest(id, 'service.unsubscribe', operation.service);
    case 'watch':
      return encodeRequest(id, 'kv.watch', watchParams(operation));
    case 'unwatch':
      return encodeRequest(id, 'kv.unwatch', operation.target);
    case 'exchange':
    case 'lock':
      return encodeRequest(id, operation.request.method, operation.request.params);
    default:
      return operation satisfies never;
  }
}

/** It cannot be sent at all: as if the server had refused it. */
function refuseTooLarge(step: Step, operation: PendingOperation, bytes: number, { frameBytesMax }: WireLimits): void {
  const message = `the request has ${bytes} bytes; frameBytesMax is ${frameBytesMax}`;
  const content = operation.kind === 'registration' ? operation.wanted : undefined;
  if (operation.kind === 'registration') noteRegistrationTried(step, operation);
  refuse(
    step,
    { operation, socket: 0, sentAtMs: 0, deadlineMs: 0, entries: 1, content, isHealthReport: false },
    { code: 'limit_exceeded', message, limit: 'frameBytesMax', max: frameBytesMax },
  );
}
