import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { runCommand, RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';
import { RawClient } from '../support/raw-client.ts';

let server: Server;
let provider: RawClient;

beforeAll(async () => {
  server = await startServer({ port: 0, partitions: 2, logLevel: 'silent', warmUpMs: 0 });
  provider = await RawClient.open(server.address.url);
  const instance = { host: '10.0.0.1', port: 80, metadata: { version: '2' }, zone: 'a' };
  await provider.request('instance.register', { service: 'orders', instance });
  await provider.request('instance.register', { namespace: 'other', group: 'G', service: 'stock', instance });
});
afterAll(async () => {
  provider.close();
  await server.stop();
});

function run(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand([...args, '--server', `ws://127.0.0.1:${server.address.port}`]);
}

function spawn(...args: string[]): RunningCommand {
  return new RunningCommand([...args, '--server', `ws://127.0.0.1:${server.address.port}`]);
}

test('services lists services as a table', async () => {
  const { status, out } = await run('services');
  expect(status).toBe(0);
  expect(out).toBe(
    [
      'NAMESPACE  GROUP    SERVICE  INSTANCES',
      'other      G        stock    1',
      'public     DEFAULT  orders   1',
      '',
    ].join('\n'),
  );
});

test('services --json prints one object, filtered as asked', async () => {
  const { out } = await run('services', '--json', '--namespace', 'other', '--prefix', 'st');
  expect(JSON.parse(out)).toEqual({ services: [{ namespace: 'other', group: 'G', service: 'stock', instances: 1 }] });
});

test.each([
  [['services', '--output', 'json'], '{"services":[{"namespace":"other"'],
  [
    ['services', '--output', 'yaml'],
    'services:\n  - namespace: other\n    group: G\n    service: stock\n    instances: 1\n',
  ],
  [['services', '--output', 'csv'], 'namespace,group,service,instances\nother,G,stock,1\npublic,DEFAULT,orders,1\n'],
  [['services', '--output', 'wide'], 'NAMESPACE  GROUP    SERVICE  INSTANCES\n'],
  [['instances', 'orders', '--output', 'csv'], 'id,host,port,weight,enabled,zone,metadata\n'],
  [['sessions', '--output', 'wide'], 'THREAD  REQUESTS  TTL\n'],
  [['sessions', '--output', 'csv'], 'session,thread,state,address,'],
  [['switches', '--output', 'yaml'], 'switches: []\n'],
  [['partitions', '--output', 'csv'], 'partition,state,slots,requestsInFlight\n0,ready,'],
  [['kv', 'list', '--output', 'yaml'], 'keys: []\n'],
])('%j', async (args, expected) => {
  const { status, out, err } = await run(...args);
  expect([status, err]).toEqual([0, '']);
  expect(out).toContain(expected);
});

test('two formats at once are refused', async () => {
  const { status, err } = await run('services', '--json', '--output', 'csv');
  expect([status, err]).toEqual([2, 'slotcast: Either --json or --output csv.\n']);
});

test('services asks for page after page', async () => {
  const many = await RawClient.open(server.address.url);
  await Promise.all(
    Array.from({ length: 1100 }, (_, i) =>
      many.request('instance.register', { namespace: 'many', service: `s${i}`, instance: { host: 'h', port: 1 } }),
    ),
  );
  const { out } = await run('services', '--json', '--namespace', 'many');
  expect((JSON.parse(out) as { services: unknown[] }).services).toHaveLength(1100);
  many.close();
  await many.closed;
});

test('instances lists instances, as a table or as JSON', async () => {
  const table = await run('instances', 'orders');
  expect(table.out).toContain('10.0.0.1:80  10.0.0.1:80  100     yes      passing  no          a     version=2');
  const json = await run('instances', 'stock', '--namespace', 'other', '--group', 'G', '--json');
  expect(JSON.parse(json.out)).toMatchObject({
    version: expect.any(Number),
    instances: [{ id: '10.0.0.1:80', zone: 'a' }],
  });
});

test('instances of a service that has none ends with status 3', async () => {
  expect(await run('instances', 'nothing')).toEqual({ status: 3, out: '', err: 'nothing has no instances\n' });
  const { status, out } = await run('instances', 'nothing', '--json');
  expect(JSON.parse(out)).toMatchObject({ instances: [] });
  expect(status).toBe(3);
});

test('watch prints what there is, and then each change, until it is interrupted', async () => {
  const watch = spawn('watch', 'orders');
  await watch.waitFor(/^\+ 10\.0\.0\.1:80 weight 100\n= 1 instance\n/);
  await provider.request('instance.register', {
    service: 'orders',
    instance: { host: '10.0.0.2', port: 80, weight: 5 },
  });
  await watch.waitFor(/\+ 10\.0\.0\.2:80 weight 5\n= 2 instances\n/);
  await provider.request('instance.deregister', { service: 'orders', id: '10.0.0.2:80' });
  await watch.waitFor(/- 10\.0\.0\.2:80 weight 5\n= 1 instance\n/);
  watch.signal('SIGINT');
  expect(await watch.exited).toBe(0);
});

test('instances and watch show what a filter lets through', async () => {
  for (const [port, rest] of [
    [81, { zone: 'b', metadata: { tier: 'gold' } }],
    [82, { zone: 'b', enabled: false, metadata: { tier: 'gold' } }],
    [83, { zone: 'b' }],
  ] as const) {
    await provider.request('instance.register', { service: 'filtered', instance: { host: 'h', port, ...rest } });
  }
  const { out } = await run(
    'instances',
    'filtered',
    '--json',
    '--zone',
    'b',
    '--enabled-only',
    '--select',
    'tier=gold',
  );
  expect((JSON.parse(out) as { instances: { id: string }[] }).instances.map(({ id }) => id)).toEqual(['h:81']);
  const watch = spawn('watch', 'filtered', '--select', 'tier=gold', '--enabled-only');
  await watch.waitFor(/^\+ h:81 weight 100.*\n= 1 instance\n/);
  await provider.request('instance.register', {
    service: 'filtered',
    instance: { host: 'h', port: 81, enabled: false },
  });
  await watch.waitFor(/- h:81 .*\n= 0 instances\n/);
  watch.signal('SIGINT');
  expect(await watch.exited).toBe(0);
  for (const id of ['h:81', 'h:82', 'h:83']) {
    await provider.request('instance.deregister', { service: 'filtered', id });
  }
});

test('watch --json prints an object a line', async () => {
  const watch = spawn('watch', 'orders', '--json');
  await watch.waitFor(/\n/);
  expect(JSON.parse(watch.out)).toMatchObject({
    version: expect.any(Number),
    put: [{ id: '10.0.0.1:80' }],
    removed: [],
    isStale: false,
  });
  watch.signal('SIGTERM');
  expect(await watch.exited).toBe(0);
});

test('watch --prefix follows all services that begin so, also those that come later, and --timestamps says when', async () => {
  const instance = { host: 'h', port: 1 };
  await provider.request('instance.register', { service: 'pre-a', instance });
  const watch = spawn('watch', 'pre-', '--prefix', '--timestamps');
  const at = String.raw`\d{4}-\d\d-\d\dT[\d:.]+Z`;
  await watch.waitFor(new RegExp(`^${at} pre-a \\+ h:1 weight 100\n${at} pre-a = 1 instance\n`));
  await provider.request('instance.register', { service: 'other-b', instance });
  await provider.request('instance.register', { service: 'pre-b', instance });
  await watch.waitFor(/ pre-b \+ h:1 weight 100\n/);
  await provider.request('instance.deregister', { service: 'pre-a', id: 'h:1' });
  await watch.waitFor(/ pre-a - h:1 weight 100\n.* pre-a = 0 instances\n/);
  await provider.request('instance.register', { service: 'pre-a', instance });
  await watch.waitFor(/ pre-a = 0 instances\n.* pre-a \+ h:1/);
  watch.signal('SIGINT');
  expect(await watch.exited).toBe(0);
  expect(watch.out).not.toContain('other-b');
  const json = spawn('watch', 'pre-', '--prefix', '--json', '--timestamps');
  await json.waitFor(/\n/);
  expect(JSON.parse(json.out.split('\n')[0]!)).toMatchObject({ service: 'pre-a', at: expect.stringContaining('T') });
  json.signal('SIGINT');
  expect(await json.exited).toBe(0);
  for (const [service, id] of [
    ['pre-a', 'h:1'],
    ['pre-b', 'h:1'],
    ['other-b', 'h:1'],
  ])
    await provider.request('instance.deregister', { service, id });
});

test('watch --prefix of a registry that is not there ends with status 4', async () => {
  const { status } = await runCommand(['watch', 'a', '--prefix', '--server', '127.0.0.1:1', '--timeout-ms', '300']);
  expect(status).toBe(4);
});

/** Instances of the service `wrapped`. */
async function readWrapped(): Promise<number> {
  const { instances } = (await provider.request('service.query', { service: 'wrapped' })) as { instances: unknown[] };
  return instances.length;
}

test('register holds a registration as long as a command runs, and ends with its status', async () => {
  const script = 'echo started; read line; echo "$line"; exit 7';
  const register = new RunningCommand(
    ['register', 'wrapped', '127.0.0.1:9', '--server', server.address.url, '--', 'sh', '-c', script],
    {},
    { stdin: 'pipe' },
  );
  await register.waitFor(/^started\n/);
  expect(await readWrapped()).toBe(1);
  register.process.stdin!.end('typed\n');
  expect(await register.exited).toBe(7);
  // Its output is its own.
  expect(register.out).toBe('started\ntyped\n');
  expect(register.err).toContain(
    'registered 127.0.0.1:9 in wrapped until the command ends\nderegistered 127.0.0.1:9\n',
  );
  expect(await readWrapped()).toBe(0);
});

test.each([
  ['SIGTERM', 'trap "exit 9" TERM; echo started; while :; do sleep 0.05; done', 9],
  ['SIGTERM', 'echo started; exec sleep 60', 143],
  ['SIGINT', 'trap "exit 8" INT; echo started; while :; do sleep 0.05; done', 8],
] as const)('%s is passed on to the command of register, and deregisters: %s', async (signal, script, expected) => {
  const register = spawnWrapped('sh', '-c', script);
  await register.waitFor(/^started\n/);
  register.signal(signal);
  expect(await register.exited).toBe(expected);
  expect(register.err).toContain('deregistered 127.0.0.1:9');
  expect(await readWrapped()).toBe(0);
});

test('a second signal ends a command of register that does not end, deregistered at the first', async () => {
  const register = spawnWrapped('sh', '-c', 'trap "" TERM; echo started; while :; do sleep 0.05; done');
  await register.waitFor(/^started\n/);
  register.signal('SIGTERM');
  await register.waitForError(/deregistered 127\.0\.0\.1:9/);
  expect(await readWrapped()).toBe(0);
  register.signal('SIGTERM');
  expect(await register.exited).toBe(143);
});

function spawnWrapped(...command: string[]): RunningCommand {
  return new RunningCommand(['register', 'wrapped', '127.0.0.1:9', '--server', server.address.url, '--', ...command]);
}

test('a command of register is not run without a registry, but with --wait', async () => {
  const args = ['register', 'wrapped', '127.0.0.1:9', '--server', '127.0.0.1:1', '--timeout-ms', '300'];
  expect(await runCommand([...args, '--', 'echo', 'ran'])).toMatchObject({ status: 4, out: '' });
  expect(await runCommand([...args, '--wait', '--', 'sh', '-c', 'echo ran; exit 5'])).toMatchObject({
    status: 5,
    out: 'ran\n',
  });
  expect((await runCommand([...args, '--persistent', '--', 'true'])).status).toBe(2);
});

test('a command of register that is not there is a failure, and nothing stays registered', async () => {
  const register = spawnWrapped('/nowhere/program');
  expect(await register.exited).toBe(1);
  expect(register.err).toContain('slotcast: cannot run /nowhere/program: there is no such program (ENOENT)\n');
  expect(await readWrapped()).toBe(0);
});

test('register holds an instance until it is interrupted', async () => {
  const register = spawn(
    'register',
    'held',
    '[::1]:8080',
    '--meta',
    'a=b',
    '--meta',
    'c=d=e',
    '--weight',
    '7',
    '--zone',
    'z',
    '--disabled',
    '--id',
    'mine',
  );
  await register.waitFor(/^registered mine in held/);
  expect(await provider.request('service.query', { service: 'held' })).toMatchObject({
    instances: [
      { id: 'mine', host: '::1', port: 8080, weight: 7, enabled: false, zone: 'z', metadata: { a: 'b', c: 'd=e' } },
    ],
  });
  register.signal('SIGINT');
  expect(await register.exited).toBe(0);
  expect(register.out).toContain('deregistered mine');
  expect(await provider.request('service.query', { service: 'held' })).toMatchObject({ instances: [] });
});

test('with --wait, register and watch begin before their registry does, and can be interrupted meanwhile', async () => {
  const port = await findFreePort();
  const flags = ['--wait', '--json', '--server', `127.0.0.1:${port}`];
  const early = new RunningCommand(['register', 'late', '127.0.0.1:3', ...flags]);
  await early.waitFor(/"event":"waiting"/);
  early.signal('SIGTERM');
  expect(await early.exited).toBe(0);
  expect(early.out).not.toContain('"event":"registered"');
  const register = new RunningCommand(['register', 'late', '127.0.0.1:1', ...flags, '--timeout-ms', '200']);
  const watch = new RunningCommand(['watch', 'late', ...flags]);
  await Promise.all([register.waitFor(/"event":"waiting"/), watch.waitForError(/waiting for a registry/)]);
  const server = await startServer({
    port,
    partitions: 1,
    logLevel: 'silent',
    drainTimeoutMs: 0,
    reconnectSpreadMs: 0,
  });
  await Promise.all([register.waitFor(/"event":"registered"/), watch.waitFor(/"id":"127\.0\.0\.1:1"/)]);
  // What is worth how much is told to programs, too: once cut off, the list is stale.
  await server.stop();
  await watch.waitFor(/"put":\[\].*"isStale":true,"unconfirmed":\[\]/);
  for (const command of [register, watch]) {
    command.signal('SIGINT');
    expect(await command.exited).toBe(0);
  }
});

test('register says when it loses the registry and when it is back', async () => {
  // Chosen beforehand: the system does not let a port that it chose itself be taken again at once.
  const port = await findFreePort();
  const settings = { port, partitions: 1, logLevel: 'silent', drainTimeoutMs: 0, reconnectSpreadMs: 0 } as const;
  const first = await startServer(settings);
  const register = new RunningCommand([
    'register',
    'held',
    '127.0.0.1:1',
    '--json',
    '--server',
    `ws://127.0.0.1:${port}`,
  ]);
  await register.waitFor(/"event":"registered"/);
  await first.stop();
  await register.waitFor(/"event":"lost"/);
  const second = await startServer(settings);
  await register.waitFor(/"event":"regained"/);
  register.signal('SIGINT');
  expect(await register.exited).toBe(0);
  await second.stop();
});

test.each([
  [['instances'], "missing required argument 'service'"],
  [['watch', 'orders', '--select', 'gold'], 'It must be KEY=VALUE'],
  [['nonsense'], "unknown command 'nonsense'"],
  [['register', 'a', 'nohost'], 'It must be HOST:PORT'],
  [['register', 'a', 'h:0'], 'with a port from 1 to 65535'],
  [['register', 'a', 'h:1', '--meta', 'x'], 'It must be KEY=VALUE'],
  [['register', 'a', 'h:1', '--weight', 'x'], 'It must be a whole number'],
  ...['nonsense', 'ws://', 'ftp://h:1', ' , ', 'h:99999', 'a b:1', '::1:80'].map((server): [string[], string] => [
    ['services', '--server', server],
    "option '--server <url>' argument",
  ]),
  [['partitions', '--server', 'http://user:secret@h:1'], 'must not hold a user name'],
  [['partitions', '--timeout-ms', '0'], "option '--timeout-ms <ms>' argument '0' is invalid"],
])('%j is refused with status 2', async (args, message) => {
  const { status, err } = await runCommand(args);
  expect(err).toContain(message);
  expect(status).toBe(2);
});

test('what the registry refuses ends with status 1 and its code', async () => {
  const { status, err } = await run('register', 'a', 'h:1', '--weight', '10001');
  expect(err).toContain('invalid_params');
  expect(status).toBe(1);
});

test('a registry that cannot be reached ends with status 4', async () => {
  const { status, err } = await runCommand(['services', '--server', 'ws://127.0.0.1:1', '--timeout-ms', '300']);
  expect(err).toContain('not connected within 300 ms');
  expect(status).toBe(4);
});

test.each([
  (port: number) => `ws://127.0.0.1:${port}`,
  (port: number) => `http://127.0.0.1:${port}/`,
  (port: number) => `ws://127.0.0.1:${port}/v1/session`,
  (port: number) => `127.0.0.1:${port}`,
  (port: number) => `localhost:${port}`,
  (port: number) => `127.0.0.1:1, 127.0.0.1:${port}`,
])('the registry may be named in the environment, as %s', async (name) => {
  const { status, err } = await runCommand(['services'], { SLOTCAST_SERVER: name(server.address.port) });
  expect([status, err]).toEqual([0, '']);
});

test('a wrong name in the environment is refused by the name of the variable, and the flag', async () => {
  const { status, err } = await runCommand(['services'], { SLOTCAST_SERVER: 'nonsense' });
  expect(err).toContain("option '--server <url>' value 'nonsense' from env 'SLOTCAST_SERVER' is invalid");
  expect(status).toBe(2);
});

test('what the registry refuses is worded with its code once', async () => {
  const { err } = await run('register', 'a', 'h:1', '--weight', '10001');
  expect(err.match(/invalid_params/g)).toHaveLength(1);
});

test('a registration that is refused later is said to be', async () => {
  const port = await findFreePort();
  const settings = { port, partitions: 1, logLevel: 'silent', drainTimeoutMs: 0, reconnectSpreadMs: 0 } as const;
  const first = await startServer(settings);
  const commands = [1, 2].map(
    (n) => new RunningCommand(['register', 'held', `127.0.0.1:${n}`, '--server', `127.0.0.1:${port}`]),
  );
  await Promise.all(commands.map((command) => command.waitFor(/^registered 127\.0\.0\.1:\d in held/)));
  await first.stop();
  // It has room for one of them.
  const second = await startServer({ ...settings, instancesPerServiceMax: 1 });
  const refused = /the registration of 127\.0\.0\.1:\d was refused \(limit_exceeded: .*\); trying again\n/;
  await Promise.any(commands.map((command) => command.waitFor(refused)));
  for (const command of commands) command.signal('SIGTERM');
  expect(await Promise.all(commands.map(({ exited }) => exited))).toEqual([0, 0]);
  // It is tried again all the time, and said once.
  expect(commands.flatMap(({ out }) => out.match(/was refused/g) ?? [])).toHaveLength(1);
  await second.stop();
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'register that waits for a registry ends at once by %s',
  async (signal) => {
    const args = ['register', 'a', 'h:1', '--server', '127.0.0.1:1', '--timeout-ms', '1000000'];
    const register = new RunningCommand(args, { NODE_DEBUG: 'net' });
    // It tries to connect: whatever it does about signals, it has done.
    await register.waitForError(/ECONNREFUSED|connect/);
    register.signal(signal);
    expect(await register.exited).toBe(0);
  },
);

test('SIGHUP, which a closed terminal sends, deregisters in order', async () => {
  const register = spawn('register', 'hung', '127.0.0.1:1');
  await register.waitFor(/^registered/);
  register.signal('SIGHUP');
  expect(await register.exited).toBe(0);
  expect(register.out).toContain('deregistered 127.0.0.1:1');
});

test('what somebody stored cannot reach the terminal, nor pass for a row of its own', async () => {
  const client = await RawClient.open(server.address.url);
  const service = 'pay\u200Bments\u2028a  9';
  await client.request('instance.register', {
    service,
    instance: {
      host: 'h',
      port: 1,
      id: 'a\u202Eb 10.0.0.9:1 weight 100',
      metadata: { k: 'v\u001B]0;owned\u0007\r', next: 'v\nh:2  h:2      100     yes', c1: '\u009B31m', a: 'b c=d' },
    },
  });
  const watch = spawn('watch', service);
  await watch.waitFor(/= 1 instance/);
  watch.signal('SIGINT');
  await watch.exited;
  const shown = [watch.out];
  for (const args of [['services'], ['services', '--json'], ['instances', service], ['instances', service, '--json']]) {
    const { out } = await run(...args);
    shown.push(out);
    if (args.includes('--json')) expect(() => JSON.parse(out) as unknown).not.toThrow();
  }
  // Line feeds end lines that the command has written.
  expect(shown.join('')).not.toMatch(/[^\n\P{Cc}]|[\p{Cf}\p{Zl}\p{Zp}]/u);
  expect(shown[0]).toBe('+ "a\\\\u{202e}b 10.0.0.9:1 weight 100" at h:1 weight 100\n= 1 instance\n');
  expect(shown[1]).toContain('"pay\\\\u{200b}ments\\\\u{2028}a  9"  1\n');
  expect(shown[3]?.trimEnd().split('\n')).toHaveLength(2);
  client.terminate();
});

test.each([['--help'], ['start', '--help'], ['watch', '--help'], ['--version']])('%s is no error', async (...args) => {
  const { status, out } = await runCommand(args);
  expect(status).toBe(0);
  expect(out).not.toBe('');
});
