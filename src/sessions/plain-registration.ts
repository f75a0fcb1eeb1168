import type { EncodedInstance } from '../protocol/instance-encoding.ts';
import { protocolLimits as limits } from '../protocol/limits.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { RequestId } from '../protocol/types.ts';

/** A valid request to register, and where its text ends. */
export interface PlainRegistration {
  readonly id: RequestId;
  /** The service's key. */
  readonly key: string;
  readonly instance: EncodedInstance;
  readonly end: number;
}

/** Printable ASCII that JSON need not escape. */
const plain = String.raw`[ !#-\[\]-~]`;
const name = '[A-Za-z0-9_.-]';
const entry = `"${plain}+":"${plain}*"`;

/** The whole request, some bounds unchecked. Every part ends at a character that it cannot hold, so that no text takes long. */
const pattern = new RegExp(
  [
    String.raw`\{"jsonrpc":"2\.0","id":(0|[1-9]\d{0,14}|"${plain}*"),"method":"instance\.register","params":\{`,
    `(?:"namespace":"(${name}+)",)?(?:"group":"(${name}+)",)?"service":"(${plain}+)",`,
    String.raw`"instance":(\{(?:"id":"(${plain}+)",)?"host":"([!#-\[\]-~]+)","port":([1-9]\d{0,4})`,
    String.raw`(?:,"weight":(0|[1-9]\d{0,4}))?(?:,"enabled":(true|false))?(?:,"zone":"(${plain}+)")?`,
    String.raw`(?:,"metadata":\{(${entry}(?:,${entry}){0,${limits.metadataEntriesMax - 1}})\})?\})\}\}`,
  ].join(''),
  'y',
);

type Captures = [
  match: string,
  id: string,
  namespace: string | undefined,
  group: string | undefined,
  service: string,
  instance: string,
  ownId: string | undefined,
  host: string,
  port: string,
  weight: string | undefined,
  enabled: string | undefined,
  zone: string | undefined,
  metadata: string | undefined,
];

/**
 * Reads a registration that stands at `start` of a frame's text and is written plainly: ASCII without escapes, no white space between tokens,
 * fields in the order in which the protocol lists them. That costs a tenth of parsing it, checking it against its schema and encoding it again,
 * and leaves hardly an object behind. Undefined: it is written otherwise, or is not valid, which the general way finds out.
 */
export function readPlainRegistration(text: string, start: number): PlainRegistration | undefined {
  pattern.lastIndex = start;
  const match = pattern.exec(text) as Captures | null;
  if (match === null) return undefined;
  const end = pattern.lastIndex;
  const [, idText, namespace, group, service, instance, ownId, host, port, weight, enabled, zone, metadata] = match;
  if (
    isLonger(namespace, limits.namespaceCharsMax) ||
    isLonger(group, limits.groupCharsMax) ||
    isLonger(service, limits.serviceBytesMax) ||
    isLonger(ownId, limits.instanceIdBytesMax) ||
    isLonger(host, limits.hostCharsMax) ||
    isLonger(zone, limits.zoneBytesMax) ||
    Number(port) > 65_535 ||
    Number(weight ?? 0) > limits.weightMax
  ) {
    return undefined;
  }
  const id = idText.startsWith('"') ? idText.slice(1, -1) : Number(idText);
  if (typeof id === 'string' && id.length > limits.requestIdCharsMax) return undefined;
  const sorted = metadata === undefined ? undefined : sortMetadata(metadata);
  if (metadata !== undefined && sorted === undefined) return undefined;
  const instanceId = ownId === undefined ? `${host}:${port}` : detach(ownId);
  const isCanonical = ownId !== undefined && weight !== undefined && enabled !== undefined && sorted === metadata;
  const fragment = isCanonical
    ? instance
    : `{"id":"${instanceId}","host":"${host}","port":${port},"weight":${weight ?? limits.weightDefault},"enabled":${enabled ?? 'true'}` +
      `${zone === undefined ? '' : `,"zone":"${zone}"`}${sorted === undefined ? '' : `,"metadata":{${sorted}}`}}`;
  const encoded = { id: instanceId, fragment, hasWeight: weight !== undefined };
  return { id, key: serviceKey({ namespace, group, service }), instance: encoded, end };
}

/** A part of a text keeps all of it alive, and ids are kept longer than frames: until their change has been pushed. */
function detach(part: string): string {
  return ` ${part}`.slice(1);
}

function isLonger(text: string | undefined, charsMax: number): boolean {
  return text !== undefined && text.length > charsMax;
}

/** Entries in the order of their keys; undefined if one is not valid or is special. */
function sortMetadata(entries: string): string | undefined {
  let bytes = 0;
  let isSorted = true;
  let last = '';
  for (let at = 0; at < entries.length;) {
    const key = keyAt(entries, at);
    const end = entryEnd(entries, at, key);
    if (key.length > limits.metadataKeyBytesMax || isSpecial(key)) return undefined;
    isSorted &&= key > last;
    last = key;
    // Without four quotes and a colon.
    bytes += end - at - 5;
    at = end + 1;
  }
  if (bytes > limits.metadataBytesMax) return undefined;
  return isSorted ? entries : sortEntries(entries);
}

/** Of two with one key the last counts, as in JSON. */
function sortEntries(entries: string): string {
  const texts = new Map<string, string>();
  for (let at = 0; at < entries.length;) {
    const key = keyAt(entries, at);
    const end = entryEnd(entries, at, key);
    texts.set(key, entries.slice(at, end));
    at = end + 1;
  }
  return [...texts.keys()]
    .sort()
    .map((key) => texts.get(key)!)
    .join(',');
}

/** Of `"key":"value"`, begun at `at`. */
function keyAt(entries: string, at: number): string {
  return entries.slice(at + 1, entries.indexOf('"', at + 1));
}

function entryEnd(entries: string, at: number, key: string): number {
  return entries.indexOf('"', at + key.length + 4) + 1;
}

/** Keys that an object treats in a way of its own: numbers come first, whatever their order. */
function isSpecial(key: string): boolean {
  const first = key.charCodeAt(0);
  if (first >= 0x30 && first <= 0x39) return true;
  return key === '__proto__' || key === 'constructor' || key === 'prototype';
}
