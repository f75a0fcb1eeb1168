import type { IncomingMessage } from 'node:http';

import type { Failure } from '../../protocol/errors.ts';

/** A request's target, parsed. */
export interface Target {
  readonly path: string;
  readonly query: string;
}

/** A target in its usual form. */
export function readTarget({ url = '/' }: Pick<IncomingMessage, 'url'>): Target {
  const end = url.indexOf('?');
  return end === -1 ? { path: url, query: '' } : { path: url.slice(0, end), query: url.slice(end + 1) };
}

/** What comes before the one name in a path that may have any characters. */
const servicesPath = '/v1/services/';
const keysPath = '/v1/keys/';

/**
 * Whether a path may be ours here, and another to a proxy that lets paths through by name: one with a fragment, or with an escape that it does not need. Only the names of
 * services and keys need some, and those of services not for the segments that a proxy may resolve; see {@link refuseKeyPath}.
 */
export function isAmbiguousPath(path: string): boolean {
  if (!/[%#]/.test(path)) return false;
  if (path.includes('#')) return true;
  if (path.startsWith(keysPath)) return readSegments(path, keysPath) === undefined;
  return !path.startsWith(servicesPath) || (readSegments(path, servicesPath)?.some(isResolvable) ?? true);
}

/** Why the key that a path names cannot be reached by it: what a proxy makes of the path is another key, or another path. However it is encoded. */
export function refuseKeyPath(path: string): Failure | undefined {
  if (!path.startsWith(keysPath) || readSegments(path, keysPath)?.some(isResolvable) !== true) return undefined;
  const message =
    'a key with . or .. between slashes is reached over WebSocket or by POST /v1/transaction, not by a path';
  return { code: 'invalid_params', message, field: '/key' };
}

/** Of the name in a path; undefined: it is not percent-encoded UTF-8. */
function readSegments(path: string, start: string): string[] | undefined {
  try {
    return decodeURIComponent(path.slice(start.length)).split(/[/\\]/);
  } catch {
    return undefined;
  }
}

function isResolvable(segment: string): boolean {
  return segment === '.' || segment === '..';
}

/** RFC 9112, 3.2.2: the authority of a target that has one counts, whatever `Host` says. From then on the request looks as if it had come in the usual form. */
export function takeAuthority(request: Pick<IncomingMessage, 'url' | 'headers'>): void {
  const [, authority, rest = ''] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(request.url ?? '') ?? [];
  if (authority === undefined) return;
  request.headers.host = authority;
  request.url = rest.startsWith('/') ? rest : `/${rest}`;
}

/** What a proxy may have understood in another way; undefined: nothing. */
export function findAmbiguity({
  httpVersion,
  headers,
  rawHeaders,
}: Pick<IncomingMessage, 'httpVersion' | 'headers' | 'rawHeaders'>): string | undefined {
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (hosts > 1) return 'there is more than one Host header';
  if (headers.host === undefined && httpVersion !== '1.0') return 'the Host header is missing';
  const { 'transfer-encoding': coding } = headers;
  if (coding === undefined) return undefined;
  if (httpVersion === '1.0') return 'HTTP/1.0 has no Transfer-Encoding';
  return coding.toLowerCase() === 'chunked' ? undefined : 'the only Transfer-Encoding is chunked';
}

/** How a body is encoded in addition to being what its type says: compressed, for example; undefined: not at all, or there is none. */
export function findCoding({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const coding = (headers['content-encoding'] ?? '').trim();
  return !hasBody || coding === '' || coding.toLowerCase() === 'identity' ? undefined : coding;
}
