import { isUtf8 } from 'node:buffer';

import type { Failure } from '../../protocol/errors.ts';
import { refuseLength } from '../../sessions/large-frame.ts';
import { pointTo } from '../../sessions/validation.ts';

/** A value that has been read, or why it could not be. */
export type Read = { readonly value: unknown } | { readonly failure: Failure };

/** Which parameters are no texts. */
export interface QueryTypes {
  readonly integers: ReadonlySet<string>;
  readonly booleans: ReadonlySet<string>;
  /** Given as `name[key]=value`, once for each key. */
  readonly maps: ReadonlySet<string>;
}

/** Query parameters as an object. None may be given twice. What is no text becomes what it is to be if it can; else it is refused where it is checked. */
export function readQuery(query: string, types: QueryTypes): Read {
  if (!isWellEncoded(query)) {
    return { failure: { code: 'parse_error', message: 'the query is not percent-encoded UTF-8' } };
  }
  // Names that callers choose: none may be taken for a property that objects have by themselves.
  const fields = new Map<string, unknown>();
  const maps = new Map<string, Map<string, string>>();
  for (const [name, text] of new URLSearchParams(query)) {
    const [, map = '', key = ''] = /^(\w+)\[(.*)\]$/s.exec(name) ?? [];
    const isEntry = types.maps.has(map);
    const entries: Map<string, unknown> = isEntry ? obtain(maps, map) : fields;
    const own = isEntry ? key : name;
    if (entries.has(own)) {
      return {
        failure: { code: 'invalid_params', message: 'a query parameter is given twice', field: pointTo(name) },
      };
    }
    entries.set(own, isEntry ? text : readText(name, text, types));
  }
  for (const [name, entries] of maps) if (!fields.has(name)) fields.set(name, Object.fromEntries(entries));
  return { value: Object.fromEntries(fields) };
}

function obtain(maps: Map<string, Map<string, string>>, name: string): Map<string, string> {
  const entries = maps.get(name) ?? new Map<string, string>();
  maps.set(name, entries);
  return entries;
}

function readText(name: string, text: string, { integers, booleans }: QueryTypes): unknown {
  if (integers.has(name) && /^\d{1,16}$/.test(text)) return Number(text);
  if (booleans.has(name) && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

/** URLSearchParams takes anything, and replaces what it cannot decode. Where a fragment begins some would end the query: no target has one. */
function isWellEncoded(query: string): boolean {
  if (query.includes('#')) return false;
  try {
    decodeURIComponent(query);
    return true;
  } catch {
    return false;
  }
}

/** A body that must be JSON in UTF-8. */
export function readBody(contentType: string, bytes: Buffer): Read {
  // Also what keeps a page of another Origin from posting a plain form here.
  if (!/^application\/json\s*(;|$)/i.test(contentType)) {
    return { failure: { code: 'invalid_request', message: 'the body must be application/json' } };
  }
  if (!isUtf8(bytes)) return { failure: { code: 'parse_error', message: 'the body is not UTF-8' } };
  const body = bytes.toString();
  const failure = refuseLength(body);
  if (failure !== undefined) return { failure };
  try {
    return { value: JSON.parse(body) };
  } catch {
    return { failure: { code: 'parse_error', message: 'the body is not JSON' } };
  }
}
