import { isUtf8 } from 'node:buffer';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { readBody, readQuery } from '../../src/edges/http/request-reading.ts';
import type { QueryTypes } from '../../src/edges/http/request-reading.ts';
import { protocolLimits } from '../../src/protocol/limits.ts';

const types: QueryTypes = {
  integers: new Set(['limit', 'index']),
  booleans: new Set(['enabledOnly']),
  maps: new Set(['selector']),
};
/** Names that objects have by themselves, and that have a type here, are as likely as others. */
const anyName = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'selector', 'selector[', 'x[y]', 'limit', 'enabledOnly', ''),
);
const anyText = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('true', 'false', '0', '17', '1e3', '%', '+', '&', '=', '#'),
);

function decode(text: string): string {
  return decodeURIComponent(text.replaceAll('+', '%20'));
}

/** What a query says, by the words of RFC 3986 and of forms: pairs, `+` for a blank, percent escapes; undefined: it is not in UTF-8, or has a fragment. */
function splitQuery(query: string): [string, string][] | undefined {
  if (query.includes('#')) return undefined;
  try {
    return query
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => {
        const end = pair.indexOf('=');
        return end === -1 ? [decode(pair), ''] : [decode(pair.slice(0, end)), decode(pair.slice(end + 1))];
      });
  } catch {
    return undefined;
  }
}

test('[WP3] texts in a query come back as they were, whatever they are called', () => {
  const untyped: QueryTypes = { integers: new Set(), booleans: new Set(), maps: new Set() };
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(anyName, anyText), { selector: ([name]) => name }), (entries) => {
      const read = readQuery(new URLSearchParams(entries).toString(), untyped);
      expect(read).toEqual({ value: Object.fromEntries(entries) });
      expect(Object.keys((read as { value: object }).value).sort()).toEqual(entries.map(([name]) => name).sort());
    }),
  );
});

test('[WP3] whole numbers, truth values and maps come back as such', () => {
  const anySelector = fc.uniqueArray(fc.tuple(anyName, anyText), { selector: ([name]) => name, minLength: 1 });
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.boolean(), anySelector, (limit, enabledOnly, selector) => {
      const query = new URLSearchParams([
        ['limit', String(limit)],
        ['enabledOnly', String(enabledOnly)],
        ...selector.map(([key, value]): [string, string] => [`selector[${key}]`, value]),
      ]);
      expect(readQuery(query.toString(), types)).toEqual({
        value: { limit, enabledOnly, selector: Object.fromEntries(selector) },
      });
    }),
  );
});

test('[WP3] what is given as a whole number or a truth value and is none stays a text, to be refused', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const { value } = readQuery(
        new URLSearchParams([
          ['limit', text],
          ['enabledOnly', text],
        ]).toString(),
        types,
      ) as {
        value: Record<string, unknown>;
      };
      expect(value.limit).toBe(/^[0-9]{1,16}$/.test(text) ? Number(text) : text);
      expect(value.enabledOnly).toBe(text === 'true' ? true : text === 'false' ? false : text);
    }),
  );
});

test('[WP3] any query is read or refused: what is not percent-encoded UTF-8, and what is given twice, however it is written', () => {
  const anyPart = fc.constantFrom(
    '',
    'a',
    '%61',
    'b',
    '+',
    '%20',
    '%C3%A9',
    '%c3%a9',
    '~',
    '%7e',
    '/',
    '[',
    'selector[a]',
    'selector%5Ba%5D',
    '%00',
  );
  const anyPair = fc.array(
    fc.oneof({ weight: 3, arbitrary: anyPart }, { weight: 1, arbitrary: fc.constantFrom('=', '&') }),
    { maxLength: 3 },
  );
  const anyFault = fc.oneof(
    { weight: 9, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.oneof(fc.string(), fc.constantFrom('%', '#', '%ff', '%c3')) },
  );
  const anyQuery = fc
    .tuple(fc.array(anyPair, { maxLength: 6 }), anyFault)
    .map(([pairs, fault]) => pairs.map((parts) => parts.join('')).join('&') + fault);
  let refusals = 0;
  fc.assert(
    fc.property(anyQuery, (query) => {
      const read = readQuery(query, types);
      const pairs = splitQuery(query);
      if (pairs === undefined) {
        expect(read).toMatchObject({ failure: { code: 'parse_error' } });
        return;
      }
      const twice = pairs.find(([name], i) => pairs.findIndex(([other]) => other === name) < i)?.[0];
      if (twice === undefined) {
        expect(read).toHaveProperty('value');
        return;
      }
      refusals += 1;
      expect(read).toMatchObject({ failure: { code: 'invalid_params' } });
      // RFC 6901: which one, whatever is in its name.
      const { field = '' } = (read as { failure: { field?: string } }).failure;
      const shown = field.slice(1).replaceAll('~1', '/').replaceAll('~0', '~');
      expect(field).toMatch(/^\/[^/]*$/);
      expect(twice.length <= 64 ? shown : shown.length).toBe(twice.length <= 64 ? twice : 65);
    }),
    { numRuns: 1000 },
  );
  expect(refusals).toBeGreaterThan(0);
});

test('[WP3] a body comes back as what it was made of, whatever stands beside its type', () => {
  const anyType = fc.constantFrom(
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json ; a=b',
  );
  fc.assert(
    fc.property(anyType, fc.jsonValue(), fc.nat(3), (type, value, indent) => {
      expect(readBody(type, Buffer.from(JSON.stringify(value, undefined, indent)))).toEqual({
        value: JSON.parse(JSON.stringify(value)) as unknown,
      });
    }),
  );
});

test('[WP3] any bytes are read or refused, and only what is JSON in UTF-8 is read', () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc.json().map((text) => Buffer.from(text, 'latin1')),
    fc.json().map((text) => Buffer.from(`\ufeff${text}`)),
    fc.json().map((text) => Buffer.from(text).subarray(1)),
  );
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const read = readBody('application/json', bytes);
      if ('failure' in read) expect(read.failure.code).toBe('parse_error');
      const text = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true }).decode(bytes);
      let isJson = isUtf8(bytes);
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      expect('value' in read).toBe(isJson);
    }),
    { numRuns: 500 },
  );
});

test('[WP3] a body of another type is refused, whatever is in it', () => {
  const anyOther = fc
    .oneof(
      fc.string(),
      fc.constantFrom(
        '',
        'text/plain',
        'application/jsonx',
        'application/json, text/plain',
        'text/json',
        'application/json\u00a0x',
      ),
    )
    .filter((type) => !/^application\/json(?:[\t ]*(?:;.*)?)$/is.test(type));
  fc.assert(
    fc.property(anyOther, (type) => {
      expect(readBody(type, Buffer.from('{}'))).toMatchObject({ failure: { code: 'invalid_request' } });
    }),
  );
});

function encodeList(length: number): Buffer {
  return Buffer.from(`[${'0,'.repeat(length)}0]`);
}

test('[LI1] a body of more parts than any valid one is refused before it is taken apart', () => {
  expect(readBody('application/json', encodeList(1000))).toHaveProperty('value');
  expect(readBody('application/json', encodeList(protocolLimits.requestWeightMax))).toMatchObject({
    failure: { code: 'invalid_request' },
  });
});
