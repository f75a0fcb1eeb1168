import type {
  KeyChangeResult,
  KeyDeleteResult,
  KeyEntry,
  KeyGetResult,
  KeyListResult,
  KeysChanged,
  KeyTransactResult,
  KeyWatchResult,
} from '../protocol/types.ts';
import type { KeyMethod } from './exchange-requests.ts';

export type KeyResult = KeyGetResult | KeyChangeResult | KeyDeleteResult | KeyListResult | KeyTransactResult;

type Fields = Readonly<Record<string, unknown>>;

/** Whether a result is what the method promises: its parts are decoded and compared here, not passed on. */
export function isKeyResult(method: KeyMethod, result: unknown): result is KeyResult {
  if (!isFields(result) || typeof result['version'] !== 'number') return false;
  const { entry, entries, keys, cursor, reason, failures, deleted } = result;
  switch (method) {
    case 'kv.get':
      return entry === undefined || isEntry(entry);
    case 'kv.put':
      return result['applied'] === true ? isMeta(entry) : typeof reason === 'string';
    case 'kv.delete':
      return result['applied'] === true ? isOptionalNumber(deleted) : typeof reason === 'string';
    case 'kv.list':
      return (
        (entries === undefined || (Array.isArray(entries) && entries.every(isEntry))) &&
        (keys === undefined || (Array.isArray(keys) && keys.every((key) => typeof key === 'string'))) &&
        (cursor === undefined || typeof cursor === 'string')
      );
    case 'kv.transact':
      return result['applied'] === true
        ? Array.isArray(entries) && entries.every((each) => each === null || isMeta(each))
        : Array.isArray(failures) && failures.every((each) => isFields(each) && typeof each['index'] === 'number');
    default:
      return method satisfies never;
  }
}

/** Whether a watch was answered as the method promises. */
export function isWatchResult(value: unknown): value is KeyWatchResult {
  return isFields(value) && typeof value['version'] === 'number' && isChanges(value['changes']);
}

export function isKeysChanged(value: unknown): value is KeysChanged {
  if (!isFields(value) || typeof value['version'] !== 'number') return false;
  const { key, prefix, changes, resync } = value;
  if (typeof key !== 'string' && typeof prefix !== 'string') return false;
  return resync === true || (changes !== undefined && isChanges(changes));
}

function isChanges(value: unknown): boolean {
  if (value === undefined) return true;
  return Array.isArray(value) && value.every((change) => isEntry(change) || isKeyDeletion(change));
}

function isKeyDeletion(value: unknown): boolean {
  if (!isFields(value) || value['deleted'] !== true) return false;
  return typeof value['key'] === 'string' && typeof value['modifyVersion'] === 'number';
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isOptionalNumber(value: unknown): boolean {
  return value === undefined || typeof value === 'number';
}

function isMeta(value: unknown): value is Omit<KeyEntry, 'value'> {
  if (!isFields(value)) return false;
  const { key, value: bytes, flags, createVersion, modifyVersion, lockIndex, holder, fence } = value;
  return (
    typeof key === 'string' &&
    (bytes === undefined || typeof bytes === 'string') &&
    typeof flags === 'string' &&
    /^\d{1,20}$/.test(flags) &&
    [createVersion, modifyVersion, lockIndex].every((number) => typeof number === 'number') &&
    (holder === undefined || typeof holder === 'string') &&
    isOptionalNumber(fence)
  );
}

function isEntry(value: unknown): value is KeyEntry {
  return isMeta(value) && typeof (value as Partial<KeyEntry>).value === 'string';
}
