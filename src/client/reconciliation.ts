import type { Failure } from '../protocol/errors.ts';
import { encodeInstance } from '../protocol/instance-encoding.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { hashRegistration, RegistrationDigest } from '../protocol/registration-digest.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { InstanceInput, RegistrationsResult, ResumedSession } from '../protocol/types.ts';
import { registrationName } from './books.ts';
import type { Reconciliation } from './books.ts';
import type { RegistrationEntry } from './entries.ts';
import { wordRequest } from './frames.ts';
import { createRegistration, pursue } from './registrations.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';

/**
 * A session was taken over (SE8). If it holds what it has acknowledged, only what is wanted otherwise is sent. If it does not, for
 * instance since a request reached it whose answer was lost, what it holds is read first.
 */
export function reconcile(turn: Turn, resumed: ResumedSession | undefined): void {
  const { books } = turn;
  books.reconciliation = undefined;
  if (resumed === undefined) return;
  const digest = new RegistrationDigest();
  let count = 0;
  for (const { key, held } of books.registrations.values()) {
    if (held === undefined) continue;
    digest.add(key, encodeInstance(held).fragment);
    count += 1;
  }
  if (count === resumed.registrations && digest.toString() === resumed.digest) {
    for (const entry of books.registrations.values()) entry.isUnsure = false;
    return;
  }
  books.reconciliation = { kind: 'reconciliation', hashes: new Map(), cursor: undefined };
  askForPage(turn, books.reconciliation);
}

export function askForPage(turn: Turn, reconciliation: Reconciliation): void {
  const { serving, books, inputs } = turn;
  if (serving === undefined || books.reconciliation !== reconciliation) return;
  const { cursor } = reconciliation;
  const id = turn.noteRequest(reconciliation, serving.socket, inputs.settings.requestTimeoutMs);
  const params = { limit: protocolLimits.listLimitMax, ...(cursor === undefined ? {} : { cursor }) };
  turn.effects.push({
    kind: 'send',
    socket: serving.socket,
    text: wordRequest(id, 'session.registrations', params),
  });
}

export function acceptPage(turn: Turn, reconciliation: Reconciliation, page: RegistrationsResult): void {
  if (turn.books.reconciliation !== reconciliation) return;
  for (const { id, hash, namespace, group, service } of page.registrations) {
    const name = { namespace, group, service };
    reconciliation.hashes.set(registrationName(serviceKey(name), id), { service: name, id, hash });
  }
  reconciliation.cursor = page.cursor;
  if (page.cursor === undefined) finish(turn, reconciliation);
  else askForPage(turn, reconciliation);
}

/** What the session holds is known: what is missing or different is registered, what is not wanted is taken away. */
function finish(turn: Turn, { hashes }: Reconciliation): void {
  const { books } = turn;
  books.reconciliation = undefined;
  for (const [name, entry] of books.registrations) {
    const found = hashes.get(name);
    hashes.delete(name);
    compare(entry, found?.hash);
  }
  for (const [name, { service, id }] of hashes) {
    const entry = createRegistration(service, id, undefined);
    entry.isUnsure = true;
    books.registrations.set(name, entry);
  }
  for (const entry of books.registrations.values()) pursue(turn, entry);
}

function compare(entry: RegistrationEntry, hash: string | undefined): void {
  const { key, wanted, held } = entry;
  const isHash = (content: InstanceInput | undefined): boolean =>
    content !== undefined && hashRegistration(key, encodeInstance(content).fragment) === hash;
  if (hash !== undefined && isHash(wanted)) entry.held = wanted;
  else if (hash === undefined || !isHash(held)) entry.held = undefined;
  // It may hold something that nobody here knows.
  entry.isUnsure = hash !== undefined && entry.held === undefined;
}

/** The list cannot be had: everything is told anew, as to a session that holds nothing. */
export function refusePage(turn: Turn, reconciliation: Reconciliation, failure: Failure): void {
  const { books } = turn;
  if (books.reconciliation !== reconciliation) return;
  if (isPassing(failure)) {
    turn.postpone(reconciliation, turn.waitAfter(failure));
    return;
  }
  books.reconciliation = undefined;
  for (const entry of books.registrations.values()) {
    entry.isUnsure = true;
    pursue(turn, entry);
  }
}
