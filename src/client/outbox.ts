import type { WireLimits } from '../protocol/types.ts';
import type { Errand } from './books.ts';
import { utf8Bytes, wordRegister, wordRequest } from './frames.ts';
import { isRegistrationMeant, noteRegistrationSent } from './registrations.ts';
import { isSeen, noteSubscriptionSent, subscribeParams } from './subscriptions.ts';
import type { Turn } from './turn.ts';

/**
 * A batch of subscriptions is answered in one frame, and the server closes a session whose answer does not fit its backlog. So
 * such a batch is kept small: by services, and by how many instances they had.
 */
const subscriptionsPerBatchMax = 100;
const instancesPerBatchMax = 2000;
/** Kept free of the server's bound for the sign of life, and for a page of what the session holds. */
const requestsSpare = 2;

/** Says why an errand cannot be sent at all. */
export type RefuseErrand = (errand: Errand, bytes: number, limits: WireLimits) => void;

/** Sends what waits, as far as the server's limits let it: one batch after another, each of one kind. */
export function sendOutbox(turn: Turn, refuse: RefuseErrand): void {
  const { serving: link } = turn;
  if (link === undefined) return;
  const { outbox, inFlight } = turn.books;
  let next = 0;
  while (next < outbox.length) {
    const room = Math.max(1, link.limits.requestsInFlightMax - requestsSpare) - inFlight.size;
    if (room <= 0) break;
    next = sendBatch(turn, next, { socket: link.socket, limits: link.limits, room, refuse });
  }
  if (next > 0) turn.books.outbox = outbox.slice(next);
}

interface BatchBounds {
  readonly socket: number;
  readonly limits: WireLimits;
  readonly room: number;
  readonly refuse: RefuseErrand;
}

/** Sends errands of one kind from `first` on; returns where the next batch begins. */
function sendBatch(turn: Turn, first: number, { socket, limits, room, refuse }: BatchBounds): number {
  const { outbox } = turn.books;
  const texts: string[] = [];
  // Two brackets; every entry brings a comma.
  let bytes = 2;
  let instances = 0;
  let next = first;
  const kind = outbox[first]?.kind;
  const entriesMax = Math.min(room, entriesPerBatch(kind, limits), turn.books.entriesPerBatchMax);
  const firstRequest = turn.books.nextRequest;
  for (; next < outbox.length && texts.length < entriesMax; next++) {
    const errand = outbox[next];
    if (errand === undefined || errand.kind !== kind) break;
    if (!isStillMeant(turn, errand)) continue;
    if (errand.kind === 'subscription') {
      instances += errand.view.size;
      if (texts.length > 0 && instances > instancesPerBatchMax) break;
    }
    const text = wordErrand(turn, turn.books.nextRequest, errand);
    const size = utf8Bytes(text) + 1;
    if (size + 2 > limits.frameBytesMax) {
      refuse(errand, size, limits);
      continue;
    }
    if (bytes + size > limits.frameBytesMax) break;
    bytes += size;
    texts.push(text);
    noteSent(turn, errand, socket);
  }
  for (let id = firstRequest; id < turn.books.nextRequest; id++) {
    const request = turn.books.inFlight.get(id);
    if (request !== undefined) request.entries = texts.length;
  }
  const [only] = texts;
  if (only !== undefined) {
    const text = texts.length === 1 ? only : `[${texts.join(',')}]`;
    turn.effects.push({ kind: 'send', socket, text });
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
      return isRegistrationMeant(turn, errand);
    case 'subscription':
      return isSeen(turn, errand) && errand.phase === 'queued';
    case 'read':
      return turn.books.reads.has(errand);
    case 'unsubscription':
      return true;
    default:
      return errand satisfies never;
  }
}

function noteSent(turn: Turn, errand: Errand, socket: number): void {
  turn.noteRequest(errand, socket, turn.inputs.settings.requestTimeoutMs);
  if (errand.kind === 'registration') noteRegistrationSent(errand);
  else if (errand.kind === 'subscription') noteSubscriptionSent(errand);
  else if (errand.kind === 'read') errand.isSent = true;
}

function wordErrand(turn: Turn, id: number, errand: Errand): string {
  switch (errand.kind) {
    case 'registration':
      return errand.wanted === undefined
        ? wordRequest(id, 'instance.deregister', { ...errand.service, id: errand.id })
        : wordRegister(id, errand.service, errand.wanted);
    case 'subscription':
      return wordRequest(id, 'service.subscribe', subscribeParams(turn, errand));
    case 'unsubscription':
      return wordRequest(id, 'service.unsubscribe', errand.service);
    case 'read':
      return wordRequest(id, errand.request.method, errand.request.params);
    default:
      return errand satisfies never;
  }
}
