import { encodeRequest } from './frames.ts';
import type { LockEntry, LockPhase } from './lock-entries.ts';
import {
  advance,
  check,
  finishRelease,
  lose,
  releaseOf,
  retryAfter,
  retryBounds,
  scheduleCheck,
  sendRelease,
  watchKey,
} from './locks.ts';
import { graceOf, proofDueAt, safeUntil, sendProbe, wakeForProof } from './proof.ts';
import type { Step } from './step.ts';
import type { LockNews } from './watches.ts';

/** What watches say of the keys of locks. */
export function noticeLocks(step: Step, all: readonly LockNews[]): void {
  for (const { key, news } of all) {
    const entry = step.tables.locks.get(key);
    if (entry === undefined) continue;
    if (news === 'refused') {
      entry.watcher = undefined;
      step.tables.isWatchingRefused = true;
    }
    notice(step, entry, news);
  }
}

function notice(step: Step, entry: LockEntry, news: LockNews['news']): void {
  const { phase } = entry;
  const last = typeof news === 'string' ? undefined : news.changes?.at(-1);
  // Without it, something may have been missed.
  const isUnheld = last === undefined || 'deleted' in last || last.holder === undefined;
  if (phase.kind === 'contended' && isUnheld) {
    // Not all who wait at once.
    const waitMs = Math.round(step.inputs.random * retryBounds.backoffMinMs);
    retryAfter(step, entry, { contention: phase.contention, mayHold: phase.mayHold, waitMs });
  } else if (phase.kind === 'held') {
    if (news === 'refused') {
      // From now on it is looked at in place of being told.
      if (phase.check === undefined) scheduleCheck(step, entry, phase);
    } else if (last === undefined) check(step, entry, phase);
    else if (last.modifyVersion > phase.fence && ('deleted' in last || last.fence !== phase.fence)) {
      lose(step, entry, 'released');
    }
  }
}

/** The session is lost, or another takes its place: what was asked on it is asked again. */
export function resetLocks(step: Step): void {
  for (const entry of step.tables.locks.values()) {
    const { phase } = entry;
    switch (phase.kind) {
      case 'acquiring': {
        const mayHold = phase.request.isSent ? phase.wait.claim : phase.mayHold;
        entry.phase = { kind: 'free', mayHold, contention: phase.contention };
        break;
      }
      case 'contended':
        entry.phase = { kind: 'free', mayHold: phase.mayHold, contention: phase.contention };
        break;
      case 'held': {
        const { claim, fence, version } = phase;
        // It may have been gone for long before that was noticed.
        const lostAtMs = Math.min(step.nowMs + (claim.terms.lostAfterMs ?? graceOf(step)), safeUntil(step, claim));
        entry.phase = { kind: 'cutOff', claim, fence, version, lostAtMs };
        step.wakeForRetry(lostAtMs);
        break;
      }
      case 'releasing':
        entry.phase = { ...phase, request: undefined, retryAtMs: undefined };
        break;
      case 'free':
      case 'cutOff':
        break;
      default:
        phase satisfies never;
    }
  }
}

/** There is a session: one that may hold what the one before held (`isHeir`), or one that holds nothing. */
export function resumeLocks(step: Step, isHeir: boolean): void {
  for (const entry of step.tables.locks.values()) {
    const { phase } = entry;
    if (phase.kind === 'free') {
      if (!isHeir) entry.phase = { ...phase, mayHold: undefined };
      advance(step, entry);
    } else if (phase.kind === 'releasing') {
      if (isHeir) sendRelease(step, entry);
      else finishRelease(step, entry);
    } else if (phase.kind === 'cutOff') {
      if (isHeir) {
        watchKey(step, entry, phase.version);
        check(step, entry, phase);
      } else lose(step, entry, 'session');
    }
  }
}

export function handleLockTimers(step: Step): void {
  for (const entry of step.tables.locks.values()) {
    const { phase } = entry;
    if (phase.kind === 'held' && !prove(step, entry, phase)) continue;
    const dueAtMs = dueOf(phase);
    if (dueAtMs === undefined) continue;
    if (dueAtMs > step.nowMs) {
      step.wakeForRetry(dueAtMs);
    } else if (phase.kind === 'contended') {
      entry.phase = { kind: 'free', mayHold: phase.mayHold, contention: phase.contention };
      advance(step, entry);
    } else if (phase.kind === 'held') {
      watchKey(step, entry, phase.version);
      check(step, entry, phase);
    } else if (phase.kind === 'cutOff') lose(step, entry, 'connection');
    else if (phase.kind === 'releasing') sendRelease(step, entry);
  }
}

/** A half-open connection is noticed late, or not at all: what is held is given up before another may hold it. False: it has been. */
function prove(step: Step, entry: LockEntry, { claim }: Extract<LockPhase, { kind: 'held' }>): boolean {
  if (safeUntil(step, claim) <= step.nowMs) {
    lose(step, entry, 'connection');
    return false;
  }
  if (proofDueAt(step, claim) <= step.nowMs) sendProbe(step);
  wakeForProof(step, claim);
  return true;
}

function dueOf(phase: LockPhase): number | undefined {
  switch (phase.kind) {
    case 'contended':
    case 'releasing':
      return phase.retryAtMs;
    case 'held':
      return phase.checkAtMs === Infinity ? undefined : phase.checkAtMs;
    case 'cutOff':
      return phase.lostAtMs;
    case 'free':
    case 'acquiring':
      return undefined;
    default:
      return phase satisfies never;
  }
}

/**
 * The client is being closed, which ends its session. What it holds is released before that: a release has no lock delay, as the end of a session has.
 */
export function releaseAllLocks(step: Step): void {
  const { serving, tables } = step;
  for (const { phase } of tables.locks.values()) {
    if (phase.kind === 'held' || phase.kind === 'cutOff') {
      step.effects.push({ kind: 'lockLost', claim: phase.claim, cause: 'closed' });
    }
    if (serving === undefined || phase.kind !== 'held') continue;
    const { claim, version } = phase;
    const { value, flags } = claim.terms;
    const { method, params } = releaseOf({ claim, content: { value, flags, version } });
    const text = encodeRequest(tables.nextRequest, method, params);
    tables.nextRequest += 1;
    step.effects.push({ kind: 'send', socket: serving.socket, text });
  }
  tables.locks.clear();
}
