import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { fileURLToPath } from 'node:url';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import { protocolVersion, sessionPath, subprotocol } from '../../src/protocol/limits.ts';
import { methodSchemas, notificationSchemas } from '../../src/protocol/schemas.ts';
import { Names, readExchanges } from '../support/document-exchanges.ts';
import type { Step } from '../support/document-exchanges.ts';
import { ExchangeClient } from '../support/exchange-client.ts';
import { ioThreads } from '../support/io-threads.ts';

const markdown = readFileSync(fileURLToPath(new URL('../../docs/PROTOCOL.md', import.meta.url)), 'utf8');

describe('docs/PROTOCOL.md', () => {
  let server: Server;
  let stopped: Promise<void> | undefined;
  const clients = new Map<string, ExchangeClient>();
  const names = new Names();

  beforeAll(async () => {
    server = await startServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0 });
  });
  afterAll(async () => {
    await (stopped ?? server.stop());
  });

  function find(name: string): ExchangeClient {
    const client = clients.get(name);
    if (client === undefined) throw new Error(`${name} is not connected`);
    return client;
  }

  async function openClient(name: string, path: string): Promise<void> {
    const client = new ExchangeClient(`ws://127.0.0.1:${server.address.port}${path}`);
    clients.set(name, client);
    await client.opened();
  }

  function call(method: string, path: string, body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const { httpPort: port } = server.address;
      const headers =
        body === '' ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
      const asked = request({ host: '127.0.0.1', port, method, path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      asked.on('error', reject);
      asked.end(body);
    });
  }

  async function walk(step: Step): Promise<void> {
    switch (step.kind) {
      case 'open':
        await openClient(step.client, step.path);
        return;
      case 'send':
        find(step.client).socket.send(names.fill(step.frame));
        return;
      case 'sendBinary':
        find(step.client).socket.send(Buffer.from(step.hex, 'hex'));
        return;
      case 'receive':
        expectMatch(step.frame, await find(step.client).nextFrame());
        return;
      case 'close':
        find(step.client).socket.close(step.code);
        return;
      case 'break':
        find(step.client).socket.terminate();
        return;
      case 'closed':
        expect(await find(step.client).closed()).toBe(step.code);
        return;
      case 'stop':
        stopped = server.stop();
        return;
      case 'call': {
        const { status, text } = await call(step.method, names.fill(step.path, 'bare'), names.fill(step.body));
        expectMatch(step.answer, text);
        expect(status).toBe(step.status);
        return;
      }
      default:
        step satisfies never;
    }
  }

  function expectMatch(expected: string, actual: string): void {
    const isMatch = actual.startsWith('closed') ? false : names.matches(expected, JSON.parse(actual));
    expect(isMatch ? expected : actual).toBe(expected);
  }

  test('[WP2, PU1, SE1, SE2, SE4, SE5] every exchange is what a server answers, in order', async () => {
    const steps = readExchanges(markdown);
    expect(steps.length).toBeGreaterThan(80);
    for (const { line, text, step } of steps) {
      await walk(step).catch((error: unknown) => {
        throw new Error(`docs/PROTOCOL.md:${line}: ${text}\n${String(error)}`, { cause: error });
      });
    }
    expect([...clients.values()].flatMap(({ unread }) => unread)).toEqual([]);
    for (const versions of names.sequences) {
      expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
    }
  });

  test('every method and every notification has a section and an exchange', () => {
    const sections = [...markdown.matchAll(/^### `([\w.]+)`$/gm)].map(([, name = '']) => name);
    expect(sections.sort()).toEqual([...Object.keys(methodSchemas), ...Object.keys(notificationSchemas)].sort());
    const frames = readExchanges(markdown).map(({ text }) => text);
    for (const name of sections) expect(frames.filter((text) => text.includes(`"method":"${name}"`))).not.toEqual([]);
  });

  test('every param of every method is named in its section', () => {
    for (const [method, { params }] of Object.entries(methodSchemas)) {
      const [, section = ''] = markdown.split(`### \`${method}\`\n`);
      const [text = ''] = section.split('\n##');
      const own = Object.keys(params.properties as object).filter(
        (name) => !['namespace', 'group', 'service', 'instance'].includes(name) || method === 'service.list',
      );
      for (const name of own)
        expect({ method, name, isNamed: new RegExp(`["\`]${name}["\`]`).test(text) }).toEqual({
          method,
          name,
          isNamed: true,
        });
    }
  });

  test('every HTTP operation is listed, and no other', () => {
    const listed = [...markdown.matchAll(/^\| `(GET|PUT|POST|DELETE) (\S+)` \|/gm)].map(
      ([, method, path]) => `${method} ${path}`,
    );
    expect(listed.sort()).toEqual(
      Object.values(httpOperations)
        .map(({ method, path }) => `${method} ${path}`)
        .sort(),
    );
  });

  test('path, subprotocol and version are those of the code', () => {
    expect(markdown).toContain(`\`${sessionPath}\``);
    expect(markdown).toContain(`\`${subprotocol}\``);
    expect(markdown).toMatch(new RegExp(`^# The wire protocol, version ${protocolVersion}$`, 'm'));
  });

  test('every link within the page leads somewhere', () => {
    const anchors = new Set(
      [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
        title
          .toLowerCase()
          .replaceAll(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      ),
    );
    const links = [...markdown.matchAll(/\]\(#([^)]*)\)/g)].map(([, link]) => link);
    expect(links.filter((link) => !anchors.has(link ?? ''))).toEqual([]);
  });
});
