import type { Failure } from '../protocol/errors.ts';
import type {
  KeyChangeResult,
  KeyFailureReason,
  KeyGetResult,
  KeyPutParams,
  KeyTransactResult,
} from '../protocol/types.ts';
import { backoffMs } from './backoff.ts';
import type { Ticket } from './entries.ts';
import { RequestError } from './errors.ts';
import type { LockLoss } from './errors.ts';
import type { KeyRequest } from './exchange-requests.ts';
import { isKeyResult } from './key-results.ts';
import type { KeyResult } from './key-results.ts';
import type { Contention, LockClaim, LockEntry, LockPhase, LockRequest, LockTerms, LockWait } from './lock-entries.ts';
import { wakeForProof } from './proof.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';
import { unwatch, watchForLock } from './watches.ts';

/** Between two tries to acquire a key that others hold, jittered, in milliseconds. */
export const retryBounds = { backoffMinMs: 50, backoffMaxMs: 1000 } as const;
/** As long as a watch says when they let go, in milliseconds. */
const watchedRetryMs = 10_000;
/** How often a held key is looked at, without a watch and with one, in milliseconds. */
const checkMs = 5000;
const watchedCheckMs = 60_000;
/** A release that others' writes have met so often overwrites them. */
const releaseTriesMax = 8;

const uncontended: Contention = { attempts: 0, reason: undefined };
const free: LockPhase = { kind: 'free', mayHold: undefined, contention: uncontended };

export function findOrCreateLock({ tables }: Step, key: string): LockEntry {
  const entry = tables.locks.get(key) ?? { key, waits: [], phase: free, watcher: undefined };
  tables.locks.set(key, entry);
  return entry;
}

/** A call wants to hold the key. */
export function waitForLock(step: Step, wait: LockWait): void {
  const { entry, claim, ticket } = wait;
  const isTaken = entry.waits.length > 0 || entry.phase.kind !== 'free';
  if (isTaken && !claim.terms.isPatient) {
    step.resolve(ticket, { kind: 'lockRefused' });
    return;
  }
  entry.waits.push(wait);
  advance(step, entry);
}

/** The call is over before it had its turn. */
export function giveUpLock(step: Step, wait: LockWait): void {
  removeWait(wait);
  const { entry } = wait;
  const { phase } = entry;
  const isUnsent = phase.kind === 'acquiring' && phase.wait === wait && !phase.request.isSent;
  if (isUnsent || (phase.kind === 'contended' && entry.waits.length === 0)) {
    entry.phase = { kind: 'free', mayHold: phase.mayHold, contention: phase.contention };
  }
  advance(step, entry);
}

/** The holder lets go. Resolves at once if it has lost the key. */
export function unlock(step: Step, claim: LockClaim, ticket: Ticket): void {
  const entry = step.tables.locks.get(claim.terms.key);
  const { phase } = entry ?? {};
  if (entry === undefined || phase === undefined || !('claim' in phase) || phase.claim !== claim) {
    step.resolve(ticket, { kind: 'released' });
    return;
  }
  if (phase.kind === 'releasing') entry.phase = { ...phase, tickets: [...phase.tickets, ticket] };
  else beginRelease(step, entry, { claim, version: phase.version, tickets: [ticket] });
}

/** The reason for which a call has not got the key yet, if it is that others hold it. */
export function contentionOf({ entry, claim }: LockWait): KeyFailureReason | undefined {
  const { phase } = entry;
  if ('contention' in phase) return phase.contention.reason;
  return phase.claim === claim ? undefined : 'held';
}

/** Goes on with whatever is next for the key, unless something is on its way. */
export function advance(step: Step, entry: LockEntry): void {
  const { phase } = entry;
  if (phase.kind !== 'free') return;
  const [wait] = entry.waits;
  if (wait === undefined) {
    if (phase.mayHold === undefined) forget(step, entry);
    else beginRelease(step, entry, { claim: phase.mayHold, version: undefined, tickets: [] });
    return;
  }
  if (!step.isServing) return;
  const request = ask(step, entry, { method: 'kv.put', params: acquisitionOf(wait.claim.terms) });
  entry.phase = { ...phase, kind: 'acquiring', wait, request };
}

function forget(step: Step, entry: LockEntry): void {
  step.tables.locks.delete(entry.key);
  if (entry.watcher !== undefined) unwatch(step, entry.watcher);
}

function ask(step: Step, entry: LockEntry, request: KeyRequest): LockRequest {
  const operation: LockRequest = { kind: 'lock', entry, request, isSent: false };
  step.enqueue(operation);
  return operation;
}

function acquisitionOf({ key, value, flags, onEnd, lockDelayMs }: LockTerms): KeyPutParams {
  return { key, value, flags, acquire: true, onEnd, ...(lockDelayMs === undefined ? {} : { lockDelayMs }) };
}

/** Whether it is still what the key waits for. */
export function isAwaited(operation: LockRequest): boolean {
  const { phase } = operation.entry;
  if (phase.kind === 'held') return phase.check === operation;
  return 'request' in phase && phase.request === operation;
}

export function acceptLock(step: Step, operation: LockRequest, result: unknown): void {
  if (!isAwaited(operation)) return;
  const { entry, request } = operation;
  const { phase } = entry;
  if (!isKeyResult(request.method, result)) {
    refuseLock(step, operation, { code: 'internal', message: 'the server sent a result of another shape' });
    return;
  }
  if (phase.kind === 'acquiring') acceptAcquisition(step, entry, phase, result as KeyChangeResult);
  else if (phase.kind === 'held') acceptCheck(step, entry, phase, result as KeyGetResult);
  else if (phase.kind === 'releasing') acceptRelease(step, entry, phase, result);
}

type PhaseOf<K extends LockPhase['kind']> = Extract<LockPhase, { kind: K }>;
type Held = Pick<PhaseOf<'held'>, 'claim' | 'fence' | 'version'>;

function acceptAcquisition(
  step: Step,
  entry: LockEntry,
  { wait, contention }: PhaseOf<'acquiring'>,
  result: KeyChangeResult,
): void {
  const { claim, ticket } = wait;
  if (!result.applied) {
    if (!claim.terms.isPatient) {
      removeWait(wait);
      entry.phase = free;
      step.resolve(ticket, { kind: 'lockRefused' });
      advance(step, entry);
      return;
    }
    contend(step, entry, { contention: { attempts: contention.attempts + 1, reason: result.reason } });
    return;
  }
  const { fence = 0, modifyVersion: version = 0 } = result.entry ?? {};
  if (!removeWait(wait)) {
    beginRelease(step, entry, { claim, version, tickets: [] });
    return;
  }
  step.resolve(ticket, { kind: 'locked', fence });
  const held = { kind: 'held', claim, fence, version } as const;
  // What has been told before this answer was taken for something that came before it.
  const isBehind = (entry.watcher?.version ?? 0) > version;
  watchKey(step, entry, version);
  if (isBehind) check(step, entry, held);
  else scheduleCheck(step, entry, held);
}

interface Contending {
  readonly contention: Contention;
  readonly mayHold?: LockClaim | undefined;
  readonly waitMinMs?: number;
}

/** Others hold it: it is tried again a little later. */
function contend(step: Step, entry: LockEntry, { contention, mayHold, waitMinMs = 0 }: Contending): void {
  if (entry.waits.length === 0) {
    entry.phase = { kind: 'free', mayHold, contention };
    advance(step, entry);
    return;
  }
  watchKey(step, entry);
  const { random } = step.inputs;
  // Nobody says when a lock delay is over.
  const isWatched = contention.reason === 'held' && entry.watcher?.version !== undefined;
  const bounds = isWatched ? { backoffMinMs: watchedRetryMs, backoffMaxMs: watchedRetryMs } : retryBounds;
  retryAfter(step, entry, {
    contention,
    mayHold,
    waitMs: Math.max(waitMinMs, backoffMs(bounds, contention.attempts - 1, random)),
  });
}

export function retryAfter(
  step: Step,
  entry: LockEntry,
  { contention, mayHold, waitMs }: Contending & { readonly waitMs: number },
): void {
  const retryAtMs = step.nowMs + waitMs;
  entry.phase = { kind: 'contended', mayHold, retryAtMs, contention };
  step.wakeForRetry(retryAtMs);
}

/** Anybody may delete a key that is held, so what comes after the version at which it is known to be held is told. Without a version: what comes from now on. */
export function watchKey(step: Step, entry: LockEntry, version?: number): void {
  if (entry.watcher !== undefined || step.tables.isWatchingRefused || !step.isServing) return;
  entry.watcher = watchForLock(step, entry.key, version);
}

function acceptCheck(step: Step, entry: LockEntry, phase: PhaseOf<'held'>, { entry: found }: KeyGetResult): void {
  if (found?.fence !== phase.fence) {
    lose(step, entry, 'released');
    return;
  }
  scheduleCheck(step, entry, phase);
}

export function scheduleCheck(step: Step, entry: LockEntry, { claim, fence, version }: Held): void {
  const checkAtMs = step.nowMs + (entry.watcher === undefined ? checkMs : watchedCheckMs);
  entry.phase = { kind: 'held', claim, fence, version, check: undefined, checkAtMs };
  step.wakeForRetry(checkAtMs);
  wakeForProof(step, claim);
}

function acceptRelease(step: Step, entry: LockEntry, phase: PhaseOf<'releasing'>, result: KeyResult): void {
  if (phase.request?.request.method === 'kv.get') {
    const { entry: found } = result as KeyGetResult;
    if (found?.holder === undefined) {
      finishRelease(step, entry);
      return;
    }
    const { value, flags, modifyVersion } = found;
    const version = phase.attempts < releaseTriesMax ? modifyVersion : undefined;
    entry.phase = { ...phase, content: { value, flags, version }, attempts: phase.attempts + 1 };
    sendRelease(step, entry);
    return;
  }
  const answer = result as KeyChangeResult | KeyTransactResult;
  if (!answer.applied && 'reason' in answer && answer.reason === 'version') {
    // Somebody has written it meanwhile, as is their right: what they wrote stays.
    entry.phase = { ...phase, request: ask(step, entry, { method: 'kv.get', params: { key: entry.key } }) };
    return;
  }
  finishRelease(step, entry);
}

/** The server refused a request on behalf of a lock. */
export function refuseLock(step: Step, operation: LockRequest, failure: Failure): void {
  if (!isAwaited(operation)) return;
  const { entry } = operation;
  const { phase } = entry;
  switch (phase.kind) {
    case 'acquiring':
      refuseAcquisition(step, entry, phase, failure);
      return;
    case 'held':
      scheduleCheck(step, entry, phase);
      return;
    case 'releasing':
      refuseRelease(step, entry, phase, failure);
      return;
    case 'free':
    case 'contended':
    case 'cutOff':
      return;
    default:
      phase satisfies never;
  }
}

/** Asking again does no harm: the session holds it once, under the same number, however often it asks. */
function refuseAcquisition(
  step: Step,
  entry: LockEntry,
  { wait, contention, mayHold: couldHold }: PhaseOf<'acquiring'>,
  failure: Failure,
): void {
  const isUnknown = failure.code === 'internal';
  const mayHold = isUnknown ? wait.claim : couldHold;
  if ((isUnknown || isRetryable(failure)) && wait.claim.terms.isPatient && entry.waits.includes(wait)) {
    const waitMinMs = isUnknown ? 0 : step.waitAfter(failure);
    contend(step, entry, { contention: { ...contention, attempts: contention.attempts + 1 }, mayHold, waitMinMs });
    return;
  }
  if (removeWait(wait)) step.reject(wait.ticket, new RequestError(failure));
  entry.phase = { kind: 'free', mayHold, contention: uncontended };
  advance(step, entry);
}

function refuseRelease(step: Step, entry: LockEntry, phase: PhaseOf<'releasing'>, failure: Failure): void {
  if (isRetryable(failure) || failure.code === 'internal' || failure.code === 'storage_unavailable') {
    const waitMs = Math.max(step.waitAfter(failure), backoffMs(retryBounds, phase.attempts, step.inputs.random));
    const retryAtMs = step.nowMs + waitMs;
    entry.phase = { ...phase, request: undefined, retryAtMs, attempts: phase.attempts + 1 };
    step.wakeForRetry(retryAtMs);
    return;
  }
  for (const ticket of phase.tickets) step.reject(ticket, new RequestError(failure));
  entry.phase = free;
  advance(step, entry);
}

/** Nothing was heard of it: it is asked again. */
export function repeatLock(step: Step, operation: LockRequest): void {
  if (!isAwaited(operation)) return;
  step.enqueue(operation);
}

interface Release {
  readonly claim: LockClaim;
  readonly version: number | undefined;
  readonly tickets: readonly Ticket[];
}

function beginRelease(step: Step, entry: LockEntry, { claim, version, tickets }: Release): void {
  const { value, flags } = claim.terms;
  const content = { value, flags, version };
  entry.phase = { kind: 'releasing', claim, content, request: undefined, retryAtMs: undefined, attempts: 0, tickets };
  sendRelease(step, entry);
}

export function sendRelease(step: Step, entry: LockEntry): void {
  const { phase } = entry;
  if (phase.kind !== 'releasing') return;
  const request = step.isServing ? ask(step, entry, releaseOf(phase)) : undefined;
  entry.phase = { ...phase, request, retryAtMs: undefined };
}

export function releaseOf({ claim, content }: Pick<PhaseOf<'releasing'>, 'claim' | 'content'>): KeyRequest {
  const { key, onEnd } = claim.terms;
  const { value, flags, version } = content;
  if (onEnd === 'release') {
    const params = { key, value, flags, release: true, ...(version === undefined ? {} : { cas: version }) };
    return { method: 'kv.put', params };
  }
  const operations = [
    { op: 'check', key, held: true },
    { op: 'delete', key },
  ] as const;
  return { method: 'kv.transact', params: { operations } };
}

export function finishRelease(step: Step, entry: LockEntry): void {
  if (entry.phase.kind === 'releasing') {
    for (const ticket of entry.phase.tickets) step.resolve(ticket, { kind: 'released' });
  }
  entry.phase = free;
  advance(step, entry);
}

/** Its holder does not hold it any more, and is told. */
export function lose(step: Step, entry: LockEntry, cause: LockLoss): void {
  const { phase } = entry;
  if (phase.kind !== 'held' && phase.kind !== 'cutOff') return;
  const { claim, version } = phase;
  step.effects.push({ kind: 'lockLost', claim, cause });
  if (cause === 'connection') {
    // The server may have kept the session for longer: then others are not to wait for it.
    beginRelease(step, entry, { claim, version, tickets: [] });
    return;
  }
  entry.phase = free;
  advance(step, entry);
}

/** Looks whether the key is still held under the same number. */
export function check(step: Step, entry: LockEntry, { claim, fence, version }: Held): void {
  const request = ask(step, entry, { method: 'kv.get', params: { key: entry.key } });
  entry.phase = { kind: 'held', claim, fence, version, check: request, checkAtMs: Infinity };
  wakeForProof(step, claim);
}

function removeWait(wait: LockWait): boolean {
  const { waits } = wait.entry;
  const at = waits.indexOf(wait);
  if (at >= 0) waits.splice(at, 1);
  return at >= 0;
}
