import type { Failure } from '../protocol/errors.ts';
import type { AuditRecord } from './audit-record.ts';

/** What main-thread parts need of the audit log. */
export interface AuditTrail {
  /** Why nothing may be done that must be noted; undefined: it may. */
  readonly refusal: Failure | undefined;
  /** Resolves when its line is on disk, or waits for a disk that refuses it. */
  note(record: AuditRecord): Promise<void>;
}

/**
 * Carries out an act, and notes it before it is answered. What is refused has changed nothing, and is not noted; `internal`: nobody knows whether it was carried out. `trail`
 * undefined: nothing is noted. `describe`: what is to be noted besides.
 */
export async function carryOutNoted<T extends object>(
  trail: AuditTrail | undefined,
  act: Pick<AuditRecord, 'actor' | 'what' | 'target'>,
  work: () => T | Failure | Promise<T | Failure>,
  describe?: (result: T) => Pick<AuditRecord, 'before' | 'after'>,
): Promise<T | Failure> {
  if (trail === undefined) return work();
  const { refusal } = trail;
  if (refusal !== undefined) return refusal;
  const result = await work();
  if (!isFailure(result)) await trail.note({ ...act, ...describe?.(result), outcome: 'done' });
  else if (result.code === 'internal') await trail.note({ ...act, outcome: 'unknown' });
  return result;
}

function isFailure(result: object): result is Failure {
  return 'code' in result && 'message' in result;
}
