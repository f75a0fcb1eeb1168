import type { InstanceInput, ServiceFields } from '../protocol/types.ts';
import { ArchiveError } from './archive-error.ts';
import { readFields, readNumber, readText, readTexts } from './json-fields.ts';
import { matchPattern, parsePattern } from './text-pattern.ts';
import type { Findings, TextPattern } from './text-pattern.ts';

/** What a value must look like: a text, or JSON of which only what is named counts. */
type ValuePattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'text'; readonly pattern: TextPattern }
  | { readonly kind: 'json'; readonly fields: JsonPattern };

type JsonPattern = TextPattern | { readonly [name: string]: JsonPattern };

export interface TemplatedInstance extends ServiceFields {
  readonly instance: InstanceInput;
}

const arrow = '=>';

/**
 * Says where keys and values have instances: `/services/{service}/{host}:{port}`, or with a pattern of the value, `/services/{service}/{id} => {"Addr":"{host}:{port}"}`,
 * which may also be a text. Of a JSON value, `{metadata}` takes a whole object.
 */
export class InstanceTemplate {
  readonly #key: TextPattern;
  readonly #value: ValuePattern;

  /** @throws ArchiveError */
  constructor(template: string) {
    const at = template.indexOf(arrow);
    const value = at < 0 ? undefined : template.slice(at + arrow.length).trim();
    this.#key = parsePattern((at < 0 ? template : template.slice(0, at)).trim());
    this.#value = value === undefined ? { kind: 'any' } : parseValuePattern(value);
    const names = [...this.#key.names, ...listNames(this.#value)];
    for (const name of ['service', 'host', 'port'] as const)
      if (!names.includes(name))
        throw new ArchiveError(`the template does not say where the ${name} is: it lacks {${name}}`);
    const twice = names.find((name, i) => name !== '*' && names.indexOf(name) !== i);
    if (twice !== undefined) throw new ArchiveError(`the template has {${twice}} twice`);
  }

  /** `other`: it is no instance by its key. `unfit`: by its key it is one, but not by its value. */
  match(key: string, value: string): TemplatedInstance | 'other' | 'unfit' {
    const found = matchPattern(this.#key, key);
    if (found === undefined) return 'other';
    if (!matchValue(this.#value, value, found)) return 'unfit';
    return readInstance(found) ?? 'unfit';
  }
}

function parseValuePattern(text: string): ValuePattern {
  // A placeholder is in braces, too, but is no JSON.
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    if (/^\{\s*"/.test(text)) throw new ArchiveError('the pattern of the value in the template is not JSON');
    return { kind: 'text', pattern: parsePattern(text) };
  }
  if (readFields(json) === undefined)
    throw new ArchiveError('the pattern of the value in the template is no JSON object');
  return { kind: 'json', fields: parseJsonPattern(json) };
}

function parseJsonPattern(value: unknown): JsonPattern {
  if (typeof value === 'string') return parsePattern(value);
  const fields = readFields(value);
  if (fields === undefined) throw new ArchiveError('the JSON of the template may hold objects and texts only');
  return Object.fromEntries(Object.entries(fields).map(([name, each]) => [name, parseJsonPattern(each)]));
}

function isTextPattern(pattern: JsonPattern): pattern is TextPattern {
  return Array.isArray(pattern['literals']);
}

function listNames(value: ValuePattern): TextPattern['names'] {
  switch (value.kind) {
    case 'any':
      return [];
    case 'text':
      return value.pattern.names;
    case 'json':
      return listJsonNames(value.fields);
    default:
      value satisfies never;
      return [];
  }
}

function listJsonNames(pattern: JsonPattern): TextPattern['names'] {
  return isTextPattern(pattern) ? pattern.names : Object.values(pattern).flatMap(listJsonNames);
}

function matchValue(pattern: ValuePattern, value: string, found: Findings): boolean {
  switch (pattern.kind) {
    case 'any':
      return true;
    case 'text': {
      const more = matchPattern(pattern.pattern, value.trim());
      for (const [name, text] of more ?? []) found.set(name, text);
      return more !== undefined;
    }
    case 'json': {
      let json: unknown;
      try {
        json = JSON.parse(value);
      } catch {
        return false;
      }
      return matchJson(pattern.fields, json, found);
    }
    default:
      pattern satisfies never;
      return false;
  }
}

function matchJson(pattern: JsonPattern, value: unknown, found: Findings): boolean {
  if (!isTextPattern(pattern)) {
    const fields = readFields(value);
    return (
      fields !== undefined && Object.entries(pattern).every(([name, each]) => matchJson(each, fields[name], found))
    );
  }
  const [name] = pattern.names;
  // An instance may lack what it need not have; and metadata is an object.
  if (name === 'metadata' || value === undefined || value === null) {
    if (name !== undefined) found.set(name, value);
    return name !== undefined;
  }
  if (typeof value !== 'string' && typeof value !== 'number') return false;
  const more = matchPattern(pattern, String(value));
  for (const [key, text] of more ?? []) found.set(key, text);
  return more !== undefined;
}

function readInstance(found: Findings): TemplatedInstance | undefined {
  const text = (name: 'namespace' | 'group' | 'service' | 'id' | 'host' | 'zone'): string | undefined =>
    readText(found.get(name));
  const service = text('service');
  const host = text('host');
  const port = readNumber(found.get('port'));
  const weight = readNumber(found.get('weight'));
  if (service === undefined || host === undefined || port === undefined) return undefined;
  const { namespace, group, id, zone } = {
    namespace: text('namespace'),
    group: text('group'),
    id: text('id'),
    zone: text('zone'),
  };
  return {
    service,
    ...(namespace === undefined ? {} : { namespace }),
    ...(group === undefined ? {} : { group }),
    instance: {
      host,
      port,
      metadata: readTexts(found.get('metadata')),
      ...(id === undefined ? {} : { id }),
      ...(weight === undefined ? {} : { weight }),
      ...(zone === undefined ? {} : { zone }),
    },
  };
}
