import fc from 'fast-check';
import { expect, test } from 'vitest';

import { escapeJson, escapeTerminal } from '../../src/runtime/terminal-escapes.ts';

const anyText = fc.string({ unit: 'binary', maxLength: 40 });
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

test('a text keeps what can be read, and shows what cannot as its number', () => {
  expect(escapeTerminal('café – 東京 C:\\a')).toBe('café – 東京 C:\\a');
  expect(escapeTerminal('\u001B[31m\u009B\u202E\u00A0\uFEFF\u{E0041}')).toBe(
    '\\u{1b}[31m\\u{9b}\\u{202e}\\u{a0}\\u{feff}\\u{e0041}',
  );
});

test('no text sends anything to a terminal, and two texts never look alike', () => {
  fc.assert(
    fc.property(anyText, anyText, (one, other) => {
      expect(escapeTerminal(one)).not.toMatch(unsafe);
      expect(escapeTerminal(one) === escapeTerminal(other)).toBe(one === other);
    }),
  );
  expect(escapeTerminal('\\u{1b}')).not.toBe(escapeTerminal('\u001B'));
});

test('JSON says the same afterwards', () => {
  fc.assert(
    fc.property(fc.jsonValue(), anyText, (value, text) => {
      const json = JSON.stringify({ [text]: value, text });
      expect(JSON.parse(escapeJson(json))).toEqual(JSON.parse(json));
      expect(escapeJson(json)).not.toMatch(unsafe);
    }),
  );
});
