import type { DurableWrite } from '../durable/commits.ts';
import type { KeyOperation, KeyTransaction, Unmet, UnmetReason } from './key-operations.ts';
import { encodeContent, storeKeyOf, weighRow } from './key-row.ts';
import type { KeyRow } from './key-row.ts';

/** A row that the transaction itself wrote: its version is not known before the commit. */
export const versionPending = -1;

/** What a transaction is judged by. */
export interface CommittedKeys {
  readonly read: (key: string) => KeyRow | undefined;
  /** Whether the lock delay of its last holder is not over. */
  readonly isDelayed: (key: string) => boolean;
}

/** A key as a transaction leaves it; undefined: deleted. */
export type Changes = ReadonlyMap<string, KeyRow | undefined>;

/** What a transaction would do. Rows and changes that it wrote have {@link versionPending}. */
export type Evaluation =
  | { readonly kind: 'unmet'; readonly unmet: readonly Unmet[] }
  | { readonly kind: 'met'; readonly rows: readonly (KeyRow | undefined)[]; readonly changes: Changes };

/** Says what a transaction would do; does nothing. Every operation is looked at, so a caller learns of all that does not hold. */
export function evaluate({ holder, operations }: KeyTransaction, committed: CommittedKeys): Evaluation {
  const written = new Map<string, KeyRow | undefined>();
  const unmet: Unmet[] = [];
  const rows = operations.map((operation, index) => {
    const { key } = operation;
    const before = written.has(key) ? written.get(key) : committed.read(key);
    const reason = judge(operation, before, holder, committed);
    if (reason !== undefined) {
      unmet.push({ index, reason });
      return undefined;
    }
    const after = carryOut(operation, before, holder);
    if (after !== before) written.set(key, after);
    return after;
  });
  if (unmet.length > 0) return { kind: 'unmet', unmet };
  for (const [key, row] of written) if (row === undefined && committed.read(key) === undefined) written.delete(key);
  return { kind: 'met', rows, changes: written };
}

function judge(
  operation: KeyOperation,
  before: KeyRow | undefined,
  holder: string,
  { isDelayed }: CommittedKeys,
): UnmetReason | undefined {
  switch (operation.kind) {
    case 'get':
      return undefined;
    case 'put': {
      const { key, ifVersion, acquire, release } = operation;
      if (ifVersion !== undefined && ifVersion !== (before?.modifyVersion ?? 0)) return 'version';
      if (acquire !== undefined && holder === '') return 'not_held';
      if (acquire !== undefined && before?.holder !== holder) {
        if (before !== undefined && before.holder !== '') return 'held';
        if (isDelayed(key)) return 'delayed';
      }
      return release === true && !isHeldBy(before, holder) ? 'not_held' : undefined;
    }
    case 'delete': {
      const { ifVersion } = operation;
      return before !== undefined && ifVersion !== undefined && ifVersion !== before.modifyVersion
        ? 'version'
        : undefined;
    }
    case 'check': {
      const { version, isHeld } = operation;
      if (version !== undefined && version !== (before?.modifyVersion ?? 0)) return 'version';
      return isHeld === true && !isHeldBy(before, holder) ? 'not_held' : undefined;
    }
    default:
      return operation satisfies never;
  }
}

function isHeldBy(row: KeyRow | undefined, holder: string): boolean {
  return holder !== '' && row?.holder === holder;
}

/** The key afterwards: the same object if nothing changes. */
function carryOut(operation: KeyOperation, before: KeyRow | undefined, holder: string): KeyRow | undefined {
  switch (operation.kind) {
    case 'get':
    case 'check':
      return before;
    case 'delete':
      return undefined;
    case 'put':
      return writeRow(operation, before, holder);
    default:
      return operation satisfies never;
  }
}

function writeRow(
  { key, value, flags, acquire, release }: Extract<KeyOperation, { kind: 'put' }>,
  before: KeyRow | undefined,
  holder: string,
): KeyRow {
  const isAcquired = acquire !== undefined && before?.holder !== holder;
  const lock = {
    lockIndex: (before?.lockIndex ?? 0) + (isAcquired ? 1 : 0),
    fence: isAcquired ? 0 : (before?.fence ?? 0),
    holder: acquire === undefined ? (before?.holder ?? '') : holder,
    onEnd: acquire?.onEnd ?? before?.onEnd ?? 'release',
    lockDelayMs: acquire?.lockDelayMs ?? before?.lockDelayMs ?? 0,
  };
  const after = { key, value, flags, ...(release === true ? releaseLock(lock) : lock) };
  if (before !== undefined && isSameContent(before, after)) return before;
  return { ...after, createVersion: before?.createVersion ?? 0, modifyVersion: versionPending };
}

/** What a row's lock is once nobody holds it; how often it was acquired stays. */
export function releaseLock({ lockIndex }: Pick<KeyRow, 'lockIndex'>): LockFields {
  return { lockIndex, fence: 0, holder: '', onEnd: 'release', lockDelayMs: 0 };
}

type LockFields = Pick<KeyRow, 'lockIndex' | 'fence' | 'holder' | 'onEnd' | 'lockDelayMs'>;

function isSameContent(a: KeyRow, b: Omit<KeyRow, 'createVersion' | 'modifyVersion'>): boolean {
  return (
    a.value === b.value &&
    a.flags === b.flags &&
    a.holder === b.holder &&
    a.onEnd === b.onEnd &&
    a.lockDelayMs === b.lockDelayMs
  );
}

/** What the store is asked to write. */
export function toWrites(changes: Changes): DurableWrite[] {
  return Array.from(changes, ([key, row]) => ({
    table: 'keys',
    key: storeKeyOf(key),
    payload: row === undefined ? undefined : encodeContent(row),
    createVersion: row?.createVersion ?? 0,
  }));
}

/** A row as it is once its commit has a version. */
export function stampRow(row: KeyRow, version: number): KeyRow {
  if (row.modifyVersion !== versionPending) return row;
  const createVersion = row.createVersion === 0 ? version : row.createVersion;
  const fence = row.holder !== '' && row.fence === 0 ? version : row.fence;
  return { ...row, createVersion, modifyVersion: version, fence };
}

/** How many keys, and bytes by {@link weighRow}, there are more afterwards. */
export function measureGrowth(
  changes: Changes,
  read: (key: string) => KeyRow | undefined,
): { readonly keys: number; readonly bytes: number } {
  let keys = 0;
  let bytes = 0;
  for (const [key, row] of changes) {
    const before = read(key);
    keys += (row === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    bytes += (row === undefined ? 0 : weighRow(row)) - (before === undefined ? 0 : weighRow(before));
  }
  return { keys, bytes };
}
