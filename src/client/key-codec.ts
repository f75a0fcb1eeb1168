import type {
  KeyChangeEvent,
  KeyEntry as WireEntry,
  KeyPutParams,
  KeyTransactOperation,
  KeyTransactResult,
} from '../protocol/types.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { OptionError } from './errors.ts';
import type { KeyEntry, KeyMeta, KeyOperation, KeyTransaction, KeyUpdate, KeyValue, KeyWrite } from './key-types.ts';

const flagsMax = 2n ** 64n - 1n;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What the wire has of a key, as users get it. */
export function decodeEntry(entry: WireEntry): KeyEntry {
  const value = decodeBase64(entry.value);
  return {
    ...decodeMeta(entry),
    value,
    get text(): string {
      return decoder.decode(value);
    },
  };
}

export function decodeMeta({
  key,
  flags,
  createVersion,
  modifyVersion,
  lockIndex,
  holder,
  fence,
}: Omit<WireEntry, 'value'>): KeyMeta {
  return {
    key,
    flags: BigInt(flags),
    createVersion,
    modifyVersion,
    lockIndex,
    ...(holder === undefined ? {} : { holder }),
    ...(fence === undefined ? {} : { fence }),
  };
}

export function decodeTransaction(result: KeyTransactResult): KeyTransaction {
  if (!result.applied) return result;
  const { applied, version } = result;
  const entries = result.entries.map((entry) => {
    if (entry === null) return undefined;
    return 'value' in entry ? decodeEntry(entry) : decodeMeta(entry);
  });
  return { applied, version, entries };
}

export function decodeChange(change: KeyChangeEvent): KeyUpdate {
  const { key, modifyVersion } = change;
  return { key, modifyVersion, entry: 'deleted' in change ? undefined : decodeEntry(change) };
}

export function encodeValue(value: KeyValue): string {
  if (typeof value === 'string') return encodeBase64(encoder.encode(value));
  if (value instanceof Uint8Array) return encodeBase64(value);
  throw new OptionError('value', 'a string or a Uint8Array');
}

/** Throws {@link OptionError}. */
export function encodeFlags(flags: bigint): string {
  if (typeof flags !== 'bigint' || flags < 0n || flags > flagsMax) {
    throw new OptionError('flags', `a bigint from 0 to ${flagsMax}`);
  }
  return flags.toString();
}

/** Throws {@link OptionError}. */
export function encodePut(key: string, value: KeyValue, write: KeyWrite): KeyPutParams {
  const { flags, cas, acquire, release, onEnd, lockDelayMs, ephemeral } = write;
  return {
    key,
    value: encodeValue(value),
    ...(flags === undefined ? {} : { flags: encodeFlags(flags) }),
    ...(cas === undefined ? {} : { cas }),
    ...(acquire === undefined ? {} : { acquire }),
    ...(release === undefined ? {} : { release }),
    ...(onEnd === undefined ? {} : { onEnd }),
    ...(lockDelayMs === undefined ? {} : { lockDelayMs }),
    ...(ephemeral === undefined ? {} : { ephemeral }),
  };
}

/** Throws {@link OptionError}. */
export function encodeOperation(operation: KeyOperation): KeyTransactOperation {
  if (operation.op !== 'put') return operation;
  const { op, key, value, ...write } = operation;
  return { op, ...encodePut(key, value, write) };
}
