import { protocolLimits } from '../protocol/limits.ts';
import type { ServiceName } from '../protocol/types.ts';
import type { InFlight } from './client-tables.ts';
import { encodeRequest } from './frames.ts';
import type { LockClaim } from './lock-entries.ts';
import type { Step } from './step.ts';

/**
 * What a half-open connection is found by: ending a subscription that nobody has is no error, and the session host answers it
 * without asking a partition.
 */
const probeService: ServiceName = { namespace: 'slotcast', group: 'client', service: 'sign-of-life' };

/** For how long a server keeps the session of a broken connection if it does not say, in milliseconds. */
const graceMsUnsaid = 1000;
/** However little protects a lock, a sign of life is asked for no more often than this, and three are waited for, in milliseconds. */
const probeMsMin = 1000;
const probesPerProof = 3;

export function sendProbe(step: Step): void {
  const { serving, tables, inputs } = step;
  tables.probedAtMs = step.nowMs;
  if (serving === undefined) return;
  const id = step.noteRequest({ kind: 'probe' }, serving.socket, inputs.settings.requestTimeoutMs);
  step.effects.push({
    kind: 'send',
    socket: serving.socket,
    text: encodeRequest(id, 'service.unsubscribe', probeService),
  });
}

/** A request was answered. When it was sent counts, not when the answer was read: a client that was suspended reads late. */
export function noteProof({ tables, serving }: Step, { socket, sentAtMs }: InFlight): void {
  if (socket === serving?.socket && sentAtMs > tables.provenAtMs) tables.provenAtMs = sentAtMs;
}

export function graceOf({ tables }: Step): number {
  return tables.graceMs ?? graceMsUnsaid;
}

/**
 * Until when nobody else can hold the key, whatever has become of the session since it was last known to be alive: the server keeps it for the grace after its
 * connection has broken, and then the key for its lock delay.
 */
export function safeUntil(step: Step, claim: LockClaim): number {
  return step.tables.provenAtMs + safeMs(step, claim);
}

/** When the session has to prove again that it is alive, well before {@link safeUntil}. */
export function proofDueAt(step: Step, claim: LockClaim): number {
  const { provenAtMs, probedAtMs } = step.tables;
  return Math.max(provenAtMs, probedAtMs) + safeMs(step, claim) / probesPerProof;
}

/** While the key is held. */
export function wakeForProof(step: Step, claim: LockClaim): void {
  step.wakeForRetry(Math.min(proofDueAt(step, claim), safeUntil(step, claim)));
}

function safeMs(step: Step, { terms }: LockClaim): number {
  return Math.max(
    graceOf(step) + (terms.lockDelayMs ?? protocolLimits.lockDelayMsDefault),
    probesPerProof * probeMsMin,
  );
}
