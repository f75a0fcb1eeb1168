import { isIP, isIPv6 } from 'node:net';
import { hostname } from 'node:os';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { CallerCheck } from '../../src/edges/http/caller-check.ts';
import type { Caller } from '../../src/edges/http/caller-check.ts';

const config = {
  host: 'bound.example',
  allowedHosts: ['Registry.Example', '.inner.example'],
  allowedOrigins: ['https://console.example', 'http://other.example:8080'],
  administrationOrigins: ['https://operator.example'],
};
const check = new CallerCheck({ config });

const anyLabel = fc.oneof(
  fc.constantFrom('a', 'registry', 'inner', 'example', 'localhost', 'bound', 'evil', 'console', 'EXAMPLE', 'xn--nxa'),
  fc.constantFrom('127', '0', '1', '0x7f', '1_2', '-a-', hostname().toLowerCase()),
);
/** As it stands in URLs. */
const anyName = fc.oneof(
  fc.array(anyLabel, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
  fc.constantFrom('registry.example', 'x.inner.example', 'inner.example', 'bound.example', 'localhost', 'a.localhost'),
);
const anyPort = fc.oneof(
  fc.constant(''),
  fc.constant(':80'),
  fc.nat(65_535).map((port) => `:${port}`),
);
/** Where an attacker may put what. */
const anyOddity = fc.oneof(
  { weight: 4, arbitrary: fc.constant('') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '.',
      '..',
      '@',
      'user@',
      ':',
      '/',
      '?',
      '#',
      '\\',
      ' ',
      '\t',
      ',',
      '%00',
      '%2e',
      '[',
      ']',
      '\u00e9',
      ':x',
    ),
  },
);
const anyHost = fc.tuple(anyOddity, anyName, anyOddity, anyPort, anyOddity).map((parts) => parts.join(''));
const anyLetterCase = fc.func(fc.boolean());

/** The rule of docs/PROTOCOL.md: an address, a name without a dot or below `localhost`, or one of the list, also as absolute names end. */
function isOwnName(name: string): boolean {
  const relative = name.toLowerCase().replace(/\.$/, '');
  if (isIP(relative) !== 0 || (relative.startsWith('[') && isIPv6(relative.slice(1, -1)))) return true;
  const labels = relative.split('.');
  if (labels.length === 1 || labels.at(-1) === 'localhost') return true;
  if (['registry.example', 'bound.example', hostname().toLowerCase()].includes(relative)) return true;
  return labels.length > 2 && labels.slice(-2).join('.') === 'inner.example';
}

function callFrom(origin: string, host: string | undefined, isLocal = false): Caller {
  return { origin, host, isLocal };
}

/** By the parser of browsers: which host a URL with this authority leads to; undefined: none. */
function resolveHost(host: string): URL | undefined {
  try {
    return new URL(`http://${host}/`);
  } catch {
    return undefined;
  }
}

test('[HT2] whatever stands in Host: it is let through only if a browser that sends it went to a name of this server', () => {
  let accepted = 0;
  let refused = 0;
  fc.assert(
    fc.property(anyHost, (host) => {
      const failure = check.refuse(callFrom('', host));
      if (failure !== undefined) {
        refused += 1;
        expect(['invalid_request', 'forbidden']).toContain(failure.code);
        return;
      }
      accepted += 1;
      const url = resolveHost(host);
      // What no browser can go to, none can be misled by.
      if (url === undefined) return;
      expect([url.username, url.password, url.pathname, url.search, url.hash]).toEqual(['', '', '/', '', '']);
      expect([host, isOwnName(url.hostname)]).toEqual([host, true]);
    }),
    { numRuns: 3000 },
  );
  expect(accepted).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(100);
});

test('[HT2] a name by itself, with a port, in capitals or with a dot at its end is judged by the same rule, and is never malformed', () => {
  fc.assert(
    fc.property(anyName, anyPort, fc.boolean(), anyLetterCase, (name, port, isAbsolute, isUpper) => {
      const dot = isAbsolute && !name.startsWith('[') ? '.' : '';
      const cased = Array.from(name, (letter, i) => (isUpper(i) ? letter.toUpperCase() : letter)).join('');
      const failure = check.refuse(callFrom('', `${cased}${dot}${port}`));
      expect(failure?.code).toBe(isOwnName(name) ? undefined : 'forbidden');
    }),
    { numRuns: 1000 },
  );
});

test('[HT2] what is no host and port is refused as such', () => {
  for (const host of [
    '',
    '.',
    ':80',
    'a:',
    'a:b',
    'a:123456',
    'u@a',
    'a/b',
    'a b',
    'a,b',
    '[::1',
    '::1',
    '[::1]x',
    '[a]b',
    'é',
    'a%2e',
  ]) {
    expect([host, check.refuse(callFrom('', host))?.code]).toEqual([host, 'invalid_request']);
  }
});

test('[HT2] pages may call that are listed, or that this server itself has served: of the same host and port, by whatever scheme of HTTP', () => {
  const ownHosts = fc.constantFrom('registry.example', 'localhost:7071', '127.0.0.1:7071', '[::1]:7071', 'registry');
  const anyScheme = fc.constantFrom('http', 'https', 'HTTP', 'ftp', 'chrome-extension', 'file');
  const anyOrigin = fc.oneof(
    fc.tuple(anyScheme, fc.oneof(ownHosts, anyHost)).map(([scheme, host]) => `${scheme}://${host}`),
    fc.constantFrom('null', '*', '', ...config.allowedOrigins, ...config.administrationOrigins),
    fc.constantFrom(
      'https://console.example/',
      'https://CONSOLE.example',
      'https://console.example:443',
      'http://console.example',
    ),
    fc.string(),
  );
  fc.assert(
    fc.property(anyOrigin, ownHosts, fc.boolean(), (origin, host, isLocal) => {
      const caller = callFrom(origin, host, isLocal);
      const isOwn = origin === `http://${host}` || origin === `https://${host}`;
      const isOperator = origin === '' || isOwn || config.administrationOrigins.includes(origin);
      const isCaller = isOperator || config.allowedOrigins.includes(origin);
      expect(check.refuse(caller)?.code).toBe(isCaller ? undefined : 'forbidden');
      expect(check.refuseAdministration(caller)?.code).toBe(isLocal && isOperator ? undefined : 'forbidden');
      // As browsers write them: then it is the origin of the page that has this host, and no other.
      if (isOwn) expect(new URL(origin).host).toBe(new URL(`http://${host}`).host);
      expect(check.isCrossOriginAllowed(origin)).toBe(
        [...config.allowedOrigins, ...config.administrationOrigins].includes(origin),
      );
    }),
    { numRuns: 1000 },
  );
});

test('[HT2] without a Host no page is the server’s own; `*` lets all call, and administer only where it stands', () => {
  for (const [allowedOrigins, administrationOrigins, mayAdminister] of [
    [['*'], [], false],
    [[], ['*'], true],
  ] as const) {
    const open = new CallerCheck({ config: { ...config, allowedHosts: ['*'], allowedOrigins, administrationOrigins } });
    fc.assert(
      fc.property(fc.webUrl(), (url) => {
        const { origin, host } = new URL(url);
        expect(check.refuse(callFrom(origin, undefined))?.code).toBe('forbidden');
        expect(open.refuse(callFrom(origin, undefined))).toBeUndefined();
        expect(open.refuse(callFrom('', host))).toBeUndefined();
        const failure = open.refuseAdministration(callFrom(origin, 'registry', true));
        expect(failure?.code).toBe(mayAdminister ? undefined : 'forbidden');
        expect(open.refuseAdministration(callFrom('', 'registry', false))?.code).toBe('forbidden');
      }),
    );
  }
});
