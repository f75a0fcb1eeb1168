import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { exitCodes } from '../../src/cli/exit-codes.ts';
import { runCommand } from '../support/command.ts';

let folder: string;
let server: Server;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-cli-access-'));
  const settings = { port: 0, partitions: 1, logLevel: 'silent', warmUpMs: 0, dataDir: folder } as const;
  server = await startServer({ ...settings, accessControl: 'on' });
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

function run(tokenFile: string | undefined, ...args: string[]): ReturnType<typeof runCommand> {
  const token = tokenFile === undefined ? [] : ['--token-file', path.join(folder, tokenFile)];
  return runCommand([...args, '--server', server.address.url, ...token]);
}

test('with the first token others are made, which may do what their policies say, until they are revoked', async () => {
  const policy = { policy: 'orders-team', rules: [{ actions: ['read', 'register'], services: ['orders*'] }] };
  writeFileSync(path.join(folder, 'policy.json'), JSON.stringify(policy));
  const stored = await run('bootstrap-token', 'policy', 'put', path.join(folder, 'policy.json'));
  expect(stored).toMatchObject({ status: 0, out: 'stored orders-team with 1 rule\n' });
  const created = await run('bootstrap-token', 'token', 'create', 'orders', '--policy', 'orders-team', '--for', '90d');
  expect(created.out).toMatch(/^slotcast_[0-9a-f]{16}_[0-9a-f]{64}\n$/);
  writeFileSync(path.join(folder, 'orders.token'), created.out);

  expect((await run('orders.token', 'whoami')).out).toMatch(/^token:orders: orders-team, until \d{4}-/);
  // There are none, which it may know.
  expect((await run('orders.token', 'instances', 'orders')).status).toBe(exitCodes.notFound);
  const other = await run('orders.token', 'instances', 'payments');
  expect([other.status === 0, other.err]).toEqual([false, expect.stringContaining('forbidden')]);
  expect((await run('orders.token', 'switches')).err).toContain('no policy of the caller allows it');
  const nobody = await run(undefined, 'instances', 'orders');
  expect([nobody.status === 0, nobody.err]).toEqual([false, expect.stringContaining('unauthorized')]);

  const { out: list } = await run('bootstrap-token', 'token', 'list');
  expect(list).toMatch(/^ID +NAME +POLICIES +CREATED +EXPIRES\n/);
  const id = /^(\w{16}) +orders /m.exec(list)![1]!;
  expect(created.out).toContain(id);
  const rotated = await run('bootstrap-token', 'token', 'rotate', id, '--overlap', '1h', '--json');
  expect(JSON.parse(rotated.out)).toMatchObject({ name: 'orders', policies: ['orders-team'] });
  expect((await run('orders.token', 'whoami')).status).toBe(0);
  expect((await run('bootstrap-token', 'token', 'revoke', id)).out).toBe(`revoked ${id} of orders\n`);
  expect((await run('orders.token', 'whoami')).status).not.toBe(0);
  expect((await run('bootstrap-token', 'policy', 'list')).out).toMatch(
    /^orders-team +allow +read, register +services /m,
  );
  expect((await run('bootstrap-token', 'policy', 'delete', 'orders-team')).status).toBe(0);
  expect((await run('bootstrap-token', 'policy', 'list')).out).toBe('there is no policy but admin\n');
});

test('a token comes from the environment as well, and never from a command line', async () => {
  const token = readFileSync(path.join(folder, 'bootstrap-token'), 'utf8').trim();
  const args = ['whoami', '--server', server.address.url];
  expect((await runCommand(args, { SLOTCAST_TOKEN: token })).out).toBe('token:bootstrap: admin\n');
  const file = { SLOTCAST_TOKEN_FILE: path.join(folder, 'bootstrap-token') };
  expect((await runCommand(args, file)).out).toBe('token:bootstrap: admin\n');
  expect((await runCommand([...args, '--token', token])).status).toBe(2);
  const none = await runCommand([...args, '--token-file', path.join(folder, 'none')]);
  expect([none.status, none.err]).toEqual([2, expect.stringContaining('It cannot be read')]);
});

test.each([
  [['token', 'create', 'a', '--for', '400d'], 'up to 365d'],
  [['token', 'create', 'a b'], 'name'],
  [['policy', 'delete', 'admin'], 'allows everything'],
  [['token', 'revoke', '0123456789abcdef'], 'there is no such token'],
])('%j is refused, and says why', async (args, why) => {
  const { status, err } = await run('bootstrap-token', ...args);
  expect([status === 0, err]).toEqual([false, expect.stringContaining(why)]);
});
