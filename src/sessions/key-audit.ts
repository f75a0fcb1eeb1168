import type { AuditRecord } from '../audit/audit-record.ts';
import type { HostAudit } from '../audit/host-audit.ts';
import type { KeyOperation } from '../keys/key-operations.ts';
import type { KeyRow } from '../keys/key-row.ts';
import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import type { KeyAnswer } from './key-requests.ts';

export type KeyAct = Extract<AuditRecord['what'], 'key.put' | 'key.delete' | 'keys.delete' | 'keys.transact'>;

type Change = Extract<KeyOperation, { kind: 'put' | 'delete' }>;

/** Of the keys that a transaction changes, names of so many characters; of the rest, only how many. */
const nameCharactersMax = 3000;

/** Notes changes of keys, by their names and versions: never a value. Keys that come and go with their session are not noted. */
export class KeyAudit {
  readonly #audit: HostAudit | undefined;

  constructor(audit: HostAudit | undefined) {
    this.#audit = audit;
  }

  /** Why these must not be carried out, since they could not be noted. */
  refuse(operations: readonly KeyOperation[]): Failure | undefined {
    const refusal = this.#audit?.keyRefusal;
    return refusal !== undefined && operations.some((operation) => isChange(operation) && !isEphemeral(operation))
      ? refusal
      : undefined;
  }

  /** Why nothing under a prefix may be deleted. */
  get refusal(): Failure | undefined {
    return this.#audit?.keyRefusal;
  }

  /** `answer`: what came of the operations. */
  noteOperations(what: KeyAct, actor: Actor, operations: readonly KeyOperation[], answer: KeyAnswer): void {
    if (this.#audit === undefined || (answer.kind !== 'done' && !isUnknown(answer))) return;
    const isDone = answer.kind === 'done';
    const version = isDone ? answer.version : undefined;
    const rows = isDone ? answer.rows : [];
    const changes: Change[] = [];
    for (const [i, operation] of operations.entries())
      if (isChange(operation) && !(isEphemeral(operation) && isNew(rows[i]))) changes.push(operation);
    const [first] = changes;
    if (first === undefined) return;
    this.#note(
      what,
      actor,
      what === 'keys.transact' ? listChanges(changes, version) : describe(first, version),
      isDone,
    );
  }

  notePrefix(actor: Actor, prefix: string, deleted: number, isDone: boolean): void {
    if (deleted > 0 || !isDone) this.#note('keys.delete', actor, { prefix, deleted }, isDone);
  }

  #note(what: KeyAct, actor: Actor, target: object, isDone: boolean): void {
    this.#audit?.noteKeys({ actor, what, target, outcome: isDone ? 'done' : 'unknown' });
  }
}

/** Whoever was to carry it out, a partition or the store, has failed meanwhile: it may have been. */
export function isUnknown(answer: KeyAnswer): boolean {
  return answer.kind === 'refused' && answer.failure.code === 'internal';
}

function isChange(operation: KeyOperation): operation is Change {
  return operation.kind === 'put' || operation.kind === 'delete';
}

/** It goes with its session, and leaves nothing behind. */
function isEphemeral(operation: Change): boolean {
  return operation.kind === 'put' && operation.acquire?.onEnd === 'delete' && operation.acquire.lockDelayMs === 0;
}

/** It was not there before: one that was may have been there to stay. */
function isNew(row: KeyRow | undefined): boolean {
  return row !== undefined && row.createVersion === row.modifyVersion;
}

function describe(change: Change, version: number | undefined): object {
  const { key } = change;
  if (change.kind === 'put' && change.acquire !== undefined) return { key, version, lock: 'acquired' };
  return change.kind === 'put' && change.release === true ? { key, version, lock: 'released' } : { key, version };
}

function listChanges(changes: readonly Change[], version: number | undefined): object {
  const listed: object[] = [];
  let characters = 0;
  for (const change of changes) {
    characters += change.key.length;
    if (characters > nameCharactersMax) break;
    listed.push({ [change.kind]: describe(change, undefined) });
  }
  const more = changes.length - listed.length;
  return { changes: listed, ...(more === 0 ? {} : { more }), version };
}
