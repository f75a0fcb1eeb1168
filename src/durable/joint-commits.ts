import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { JointPart, StoreRequest } from './commits.ts';

/** What one caller commits: alone, or as a part of a joint transaction. */
export interface CommitPart extends Pick<Extract<StoreRequest, { readonly kind: 'commit' }>, 'request' | 'writes'> {
  readonly caller: number;
  readonly bytes: number;
}

/** What follows for a joint transaction. */
export interface JointDecision {
  /** These are committed together or, if the transaction has failed, told so. */
  readonly parts: readonly CommitPart[];
  readonly isRefused: boolean;
  /** Why it would fail again; undefined: it may be tried again. */
  readonly failure?: Failure;
}

/** What a transaction reads must fit into an answer. */
export function refuseReads(bytes: number): Failure | undefined {
  const { keyPageBytesMax: max } = protocolLimits;
  if (bytes <= max) return undefined;
  const message = `what the transaction reads has more than ${max} bytes`;
  return { code: 'limit_exceeded', message, limit: 'keyPageBytesMax', max };
}

interface Waiting {
  /** Partitions whose part has not come. */
  readonly missing: Set<number>;
  readonly parts: CommitPart[];
  isRefused: boolean;
  readBytes: number;
  /** When it fails for want of a part, in milliseconds. */
  readonly deadlineMs: number;
}

/**
 * Puts joint transactions together. One is committed in the moment in which its last part comes, and only then; one that has failed is remembered until the parts
 * that are still to come have been told, or its time is over: a part that comes later waits for others in vain, and fails by its own time.
 */
export class JointCommits {
  readonly #timeoutMs: number;
  /** In the order of their deadlines. */
  readonly #waiting: Map<number, Waiting> = new Map();

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** `partition`: whose part it is. Undefined: others are awaited. */
  add(joint: JointPart, partition: number, part: CommitPart, nowMs: number): JointDecision | undefined {
    const waiting = this.#begin(joint, nowMs);
    if (!waiting.missing.delete(partition)) return { parts: [part], isRefused: true };
    waiting.parts.push(part);
    waiting.readBytes += joint.readBytes;
    if (joint.isRefused) waiting.isRefused = true;
    return this.#decide(joint.id, waiting);
  }

  /** Nothing more comes from a partition, nor does it wait for anything: what still waits fails if it has, or should have, a part of this one's. */
  close(partition: number, caller: number): JointDecision[] {
    const decisions: JointDecision[] = [];
    for (const [id, waiting] of this.#waiting) {
      const isConcerned = waiting.missing.delete(partition) || waiting.parts.some((part) => part.caller === caller);
      if (!isConcerned) continue;
      waiting.isRefused = true;
      const decision = this.#decide(id, waiting);
      if (decision !== undefined) decisions.push(decision);
    }
    return decisions;
  }

  /** Those whose time is over fail. */
  expire(nowMs: number): JointDecision[] {
    const decisions: JointDecision[] = [];
    for (const [id, { deadlineMs, parts }] of this.#waiting) {
      if (deadlineMs > nowMs) break;
      this.#waiting.delete(id);
      decisions.push({ parts, isRefused: true });
    }
    return decisions;
  }

  #begin({ id, partitions }: JointPart, nowMs: number): Waiting {
    let waiting = this.#waiting.get(id);
    if (waiting === undefined) {
      const deadlineMs = nowMs + this.#timeoutMs;
      waiting = { missing: new Set(partitions), parts: [], isRefused: false, readBytes: 0, deadlineMs };
      this.#waiting.set(id, waiting);
    }
    return waiting;
  }

  #decide(id: number, waiting: Waiting): JointDecision | undefined {
    const { missing, isRefused } = waiting;
    if (missing.size === 0) this.#waiting.delete(id);
    else if (!isRefused) return undefined;
    const parts = waiting.parts.splice(0);
    if (parts.length === 0) return undefined;
    const failure = isRefused ? undefined : refuseReads(waiting.readBytes);
    return failure === undefined ? { parts, isRefused } : { parts, isRefused: true, failure };
  }
}
