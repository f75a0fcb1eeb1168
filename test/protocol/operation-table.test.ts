import { test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import type { HttpOperation } from '../../src/protocol/http-operations.ts';
import { expectTable } from '../support/document-table.ts';

test('docs/PROTOCOL.md lists every operation over HTTP, with what it takes and does, and no other', () => {
  expectTable(
    'docs/PROTOCOL.md',
    '| request | takes | does |',
    Object.values(httpOperations).map((operation) => [
      `\`${operation.method} ${operation.path}\``,
      describeParameters(operation),
      `${operation.summary}${operation.isLocal === true ? ' Loopback callers only.' : ''}`,
    ]),
  );
});

/** The names of what it takes; those that must be there come first. */
function describeParameters({ query, body }: HttpOperation): string {
  const input = (body ?? query) as { properties?: object; required?: readonly string[] } | undefined;
  const names = Object.keys(input?.properties ?? {});
  if (names.length === 0) return '';
  const required = names.filter((name) => input?.required?.includes(name));
  const optional = names.filter((name) => !required.includes(name));
  const parts = [quote(required), optional.length === 0 ? '' : `optional ${quote(optional)}`].filter(
    (part) => part !== '',
  );
  return `${body === undefined ? 'query' : 'body'}: ${parts.join('; ')}`;
}

function quote(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}
