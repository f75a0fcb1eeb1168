import type { WireLimits } from '../protocol/types.ts';
import type { Errand, InFlight } from './books.ts';
import { utf8Bytes, wordRegister, wordRequest } from './frames.ts';
import { isWanted, noteRegistrationSent } from './registrations.ts';
import { isSeen, noteSubscriptionSent, resumeVersion } from './subscriptions.ts';
import type { Turn } from './turn.ts';

/**
 * A batch of subscriptions is answered in one frame, and the server closes a session whose answer does not fit its backlog. So
 * such a batch is kept small: by services, and by how many instances they had.
 */
const subscriptionsPerBatchMax = 100;
const instancesPerBatchMax = 2000;
/** Kept free of the server's bound for the sign of life. */
const requestsSpare = 1;

/** Says why an errand cannot be sent at all. */
export type RefuseErrand = (errand: Errand, bytes: number, limits: WireLimits) => void;

/** Sends what waits, as far as the server's limits let it: one batch after another, each of one kind. */
export function sendOutbox(turn: Turn, refuse: RefuseErrand): void {
  const { link } = turn.state;
  if (link.kind !== 'ready') return;
  const { outbox, inFlight } = turn.books;
  let next = 0;
  while (next < outbox.length) {
    const room = Math.max(1, link.limits.requestsInFlightMax - requestsSpare) - inFlight.size;
    if (room <= 0) break;
    next = sendBatch(turn, next, { limits: link.limits, room, refuse });
  }
  if (next > 0) turn.books.outbox = outbox.slice(next);
}

interface BatchBounds {
  readonly limits: WireLimits;
  readonly room: number;
  readonly refuse: RefuseErrand;
}

/** Sends errands of one kind from `first` on; returns where the next batch begins. */
function sendBatch(turn: Turn, first: number, { limits, room, refuse }: BatchBounds): number {
  const { outbox } = turn.books;
  const texts: string[] = [];
  // Two brackets; every entry brings a comma.
  let bytes = 2;
  let instances = 0;
  let next = first;
  const kind = outbox[first]?.kind;
  const entriesMax = Math.min(room, entriesPerBatch(kind, limits));
  for (; next < outbox.length && texts.length < entriesMax; next++) {
    const errand = outbox[next];
    if (errand === undefined || errand.kind !== kind) break;
    if (!isStillMeant(turn, errand)) continue;
    if (errand.kind === 'subscription') {
      instances += errand.view.size;
      if (texts.length > 0 && instances > instancesPerBatchMax) break;
    }
    const text = wordErrand(turn.books.nextRequest, errand);
    const size = utf8Bytes(text) + 1;
    if (size + 2 > limits.frameBytesMax) {
      refuse(errand, size, limits);
      continue;
    }
    if (bytes + size > limits.frameBytesMax) break;
    bytes += size;
    texts.push(text);
    noteSent(turn, errand);
  }
  const [only] = texts;
  if (only !== undefined) {
    const text = texts.length === 1 ? only : `[${texts.join(',')}]`;
    turn.effects.push({ kind: 'send', socket: turn.state.link.socket, text });
  }
  return next;
}

function entriesPerBatch(kind: Errand['kind'] | undefined, { batchEntriesMax }: WireLimits): number {
  switch (kind) {
    case 'subscription':
      return Math.min(batchEntriesMax, subscriptionsPerBatchMax);
    // A batch is answered as a whole, so a question would wait for the slowest of the others.
    case 'read':
      return 1;
    case 'registration':
    case 'withdrawal':
    case 'unsubscription':
    case undefined:
      return batchEntriesMax;
    default:
      return kind satisfies never;
  }
}

/** What was given up while it waited is not sent. */
function isStillMeant(turn: Turn, errand: Errand): boolean {
  switch (errand.kind) {
    case 'registration':
      return isWanted(turn, errand) && errand.phase === 'queued';
    case 'subscription':
      return isSeen(turn, errand) && errand.phase === 'queued';
    case 'read':
      return turn.books.reads.has(errand);
    case 'withdrawal':
    case 'unsubscription':
      return true;
    default:
      return errand satisfies never;
  }
}

function noteSent(turn: Turn, errand: Errand): void {
  const { books, nowMs } = turn;
  const content = errand.kind === 'registration' ? errand.instance : undefined;
  const request: InFlight = { errand, deadlineMs: nowMs + turn.inputs.settings.requestTimeoutMs, content };
  books.inFlight.set(books.nextRequest, request);
  books.nextRequest += 1;
  if (errand.kind === 'registration') noteRegistrationSent(turn, errand);
  else if (errand.kind === 'subscription') noteSubscriptionSent(errand);
  else if (errand.kind === 'read') errand.isSent = true;
}

function wordErrand(id: number, errand: Errand): string {
  switch (errand.kind) {
    case 'registration':
      return wordRegister(id, errand.service, errand.instance);
    case 'withdrawal':
      return wordRequest(id, 'instance.deregister', { ...errand.service, id: errand.id });
    case 'subscription': {
      const version = resumeVersion(errand);
      const { service, mode, filter } = errand;
      const resume = version === undefined ? {} : { version, count: errand.view.size };
      return wordRequest(id, 'service.subscribe', { ...service, mode, ...filter, ...resume });
    }
    case 'unsubscription':
      return wordRequest(id, 'service.unsubscribe', errand.service);
    case 'read':
      return wordRequest(id, errand.request.method, errand.request.params);
    default:
      return errand satisfies never;
  }
}
