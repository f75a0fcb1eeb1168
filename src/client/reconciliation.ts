import type { Failure } from '../protocol/errors.ts';
import { encodeInstance } from '../protocol/instance-encoding.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { hashRegistration, RegistrationDigest } from '../protocol/registration-digest.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { InstanceInput, RegistrationsResult, ResumedSession } from '../protocol/types.ts';
import { registrationName } from './client-tables.ts';
import type { Reconciliation } from './client-tables.ts';
import type { RegistrationEntry } from './entries.ts';
import { encodeRequest } from './frames.ts';
import { createRegistration, reviewRegistration } from './registrations.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';

/**
 * A session was taken over (SE8). If it holds what it has acknowledged, only what is wanted otherwise is sent. If it does not, for
 * instance since a request reached it whose answer was lost, what it holds is read first.
 */
export function reconcile(step: Step, resumed: ResumedSession | undefined): void {
  const { tables } = step;
  tables.reconciliation = undefined;
  if (resumed === undefined) return;
  const digest = new RegistrationDigest();
  let count = 0;
  for (const { key, held, givenWeight } of tables.registrations.values()) {
    if (held === undefined) continue;
    digest.add(key, encodeInstance(held, { defaultWeight: givenWeight }).fragment);
    count += 1;
  }
  if (count === resumed.registrations && digest.toString() === resumed.digest) {
    for (const entry of tables.registrations.values()) entry.isUnsure = false;
    return;
  }
  tables.reconciliation = { kind: 'reconciliation', hashes: new Map(), cursor: undefined };
  askForPage(step, tables.reconciliation);
}

export function askForPage(step: Step, reconciliation: Reconciliation): void {
  const { serving, tables, inputs } = step;
  if (serving === undefined || tables.reconciliation !== reconciliation) return;
  const { cursor } = reconciliation;
  const id = step.noteRequest(reconciliation, serving.socket, inputs.settings.requestTimeoutMs);
  const params = { limit: protocolLimits.listLimitMax, ...(cursor === undefined ? {} : { cursor }) };
  step.effects.push({
    kind: 'send',
    socket: serving.socket,
    text: encodeRequest(id, 'session.registrations', params),
  });
}

export function acceptPage(step: Step, reconciliation: Reconciliation, page: RegistrationsResult): void {
  if (step.tables.reconciliation !== reconciliation) return;
  for (const { id, hash, namespace, group, service } of page.registrations) {
    const name = { namespace, group, service };
    reconciliation.hashes.set(registrationName(serviceKey(name), id), { service: name, id, hash });
  }
  reconciliation.cursor = page.cursor;
  if (page.cursor === undefined) finish(step, reconciliation);
  else askForPage(step, reconciliation);
}

/** What the session holds is known: what is missing or different is registered, what is not wanted is taken away. */
function finish(step: Step, { hashes }: Reconciliation): void {
  const { tables } = step;
  tables.reconciliation = undefined;
  for (const [name, entry] of tables.registrations) {
    const found = hashes.get(name);
    hashes.delete(name);
    compare(entry, found?.hash);
  }
  for (const [name, { service, id }] of hashes) {
    const entry = createRegistration(service, id, undefined);
    entry.isUnsure = true;
    tables.registrations.set(name, entry);
  }
  for (const entry of tables.registrations.values()) reviewRegistration(step, entry);
}

function compare(entry: RegistrationEntry, hash: string | undefined): void {
  const { key, wanted, held, givenWeight } = entry;
  const isHash = (content: InstanceInput | undefined): boolean =>
    content !== undefined &&
    hashRegistration(key, encodeInstance(content, { defaultWeight: givenWeight }).fragment) === hash;
  if (hash !== undefined && isHash(wanted)) {
    // It was accepted, though that answer never came.
    entry.held = wanted;
    entry.accepted = wanted;
  } else if (hash === undefined || !isHash(held)) entry.held = undefined;
  // It may hold something that nobody here knows.
  entry.isUnsure = hash !== undefined && entry.held === undefined;
}

/** The list cannot be fetched: everything is sent again, as to a session without registrations. */
export function refusePage(step: Step, reconciliation: Reconciliation, failure: Failure): void {
  const { tables } = step;
  if (tables.reconciliation !== reconciliation) return;
  if (isRetryable(failure)) {
    step.postpone(reconciliation, step.waitAfter(failure));
    return;
  }
  tables.reconciliation = undefined;
  for (const entry of tables.registrations.values()) {
    entry.isUnsure = true;
    reviewRegistration(step, entry);
  }
}
