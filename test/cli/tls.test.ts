import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { connect } from 'slotcast/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';

import { runCommand, RunningCommand } from '../support/command.ts';
import { CertificateFolder, issueClient, issueServer } from '../support/test-certificates.ts';

let folder: CertificateFolder;
let server: Server;
let trust: string[];
let cert: string;
let key: string;

beforeAll(async () => {
  folder = new CertificateFolder();
  const client = issueClient(folder.authority, 'orders');
  cert = folder.write('orders.crt', client.certificate);
  key = folder.write('orders.key', client.key);
  server = await startServer({
    port: 0,
    partitions: 1,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
    inMemory: true,
    ...folder.settings,
    tlsCa: folder.ca,
    tlsClientCertificate: 'require',
  });
  trust = ['--server', `wss://127.0.0.1:${server.address.port}`, '--ca', folder.ca, '--cert', cert, '--key', key];
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

describe('commands over TLS', () => {
  test.each([
    [['kv', 'put', 'a', '1'], ''],
    [['kv', 'get', 'a'], '1'],
    [['services'], ''],
    [['ping', '--count', '1'], 'ms'],
    [['stats'], ''],
    [['partitions'], ''],
    [['sessions'], ''],
    [['switches'], ''],
    [['guard'], ''],
  ])('%j', async (args, words) => {
    const { status, out, err } = await runCommand([...args, ...trust]);
    expect([status, err]).toEqual([0, '']);
    expect(out).toContain(words);
  });

  test('export and backup', async () => {
    const { status, out } = await runCommand(['export', ...trust]);
    expect(status).toBe(0);
    expect(out).toContain('"key":"a"');
    const file = `${folder.path}/registry.backup`;
    const backup = await runCommand(['backup', file, ...trust]);
    expect([backup.status, backup.err]).toEqual([0, '']);
  });

  test('doctor looks at sessions and HTTP, and at the certificate', async () => {
    const { status, out } = await runCommand(['doctor', ...trust, '--json']);
    const { findings } = JSON.parse(out) as { readonly findings: readonly { check: string; status: string }[] };
    expect(findings).toContainEqual(expect.objectContaining({ check: 'reachability', status: 'ok' }));
    expect(findings).toContainEqual(expect.objectContaining({ check: 'certificate', status: 'ok' }));
    expect([0, 6]).toContain(status);
  });

  test('an instance stays registered, and the environment says how, too', async () => {
    const environment = {
      SLOTCAST_SERVER: `https://127.0.0.1:${server.address.port}`,
      SLOTCAST_CA: folder.ca,
      SLOTCAST_CERT: cert,
      SLOTCAST_KEY: key,
      SLOTCAST_SERVER_NAME: 'localhost',
    };
    const registering = new RunningCommand(['register', 'shop', '127.0.0.1:80'], environment);
    await registering.waitFor(/registered/);
    const { out } = await runCommand(['instances', 'shop'], environment);
    expect(out).toContain('127.0.0.1:80');
    registering.signal('SIGINT');
    expect(await registering.exited).toBe(0);
  });

  test.each<[what: string, (own: string[]) => string[], words: string, status: number]>([
    ['no authority', (own) => own.toSpliced(2, 2), 'self-signed certificate in certificate chain', 4],
    ['another name', (own) => [...own, '--server-name', 'other.example'], 'altnames', 4],
    ['a certificate without its key', (own) => own.toSpliced(6, 2), '--cert and --key belong together', 2],
    ['a file that is not there', (own) => own.toSpliced(3, 1, '/nowhere/ca.crt'), 'It cannot be read: ENOENT.', 2],
    ['a file of something else', (own) => own.toSpliced(3, 1, '/etc/passwd'), 'It must be a file in PEM form.', 2],
    ['a server in the clear', (own) => own.toSpliced(1, 1, 'ws://127.0.0.1:1'), 'are for wss: and https: URLs', 2],
  ])('%s is said: %#', async (_, change, words, wanted) => {
    const { status, err } = await runCommand(['services', '--timeout-ms', '700', ...change(trust)]);
    expect(err).toContain(words);
    expect(status).toBe(wanted);
  });

  test('over HTTP an authority that is not known is said at once', async () => {
    const { status, err } = await runCommand(['stats', ...trust.toSpliced(2, 2)]);
    expect(err).toContain('SELF_SIGNED_CERT_IN_CHAIN');
    expect(status).toBe(4);
  });

  test('one that speaks TLS, asked in the clear, and one that does not, asked over TLS, are told apart from nobody', async () => {
    const inTheClear = trust[1]!.replace('wss', 'ws');
    for (const command of ['services', 'stats']) {
      const { status, err } = await runCommand([command, '--server', inTheClear, '--timeout-ms', '700']);
      expect(err).toContain('does it speak TLS? Then the URL begins with wss: or https:');
      expect(status).toBe(4);
    }
    const plain = await startServer({ port: 0, partitions: 1, logLevel: 'silent', warmUpMs: 0, transport: 'node' });
    for (const command of ['services', 'stats']) {
      const own = trust.toSpliced(1, 1, `wss://127.0.0.1:${plain.address.port}`);
      const { status, err } = await runCommand([command, ...own, '--timeout-ms', '700']);
      expect(err).toContain('it may not speak TLS');
      expect(status).toBe(4);
    }
    await plain.stop();
  });

  test('start says what is wrong with its files, and so does start --check', async () => {
    const other = folder.write('other.key', issueServer(folder.authority).key);
    const files = ['--tls-cert', folder.settings.tlsCert, '--tls-key', other, '--in-memory', '--port', '0'];
    for (const args of [['start'], ['start', '--check']]) {
      const { status, err, out } = await runCommand([...args, ...files]);
      expect(err).toContain(`tlsKey: ${other}: it is not the key of the first certificate`);
      expect(status).toBe(2);
      expect(err + out).not.toContain('BEGIN');
    }
  });

  test('start says wss: and https:, and why sockets are those of Node', async () => {
    const { tlsCert, tlsKey } = folder.settings;
    const files = ['--tls-cert', tlsCert, '--tls-key', tlsKey, '--in-memory', '--port', '0', '--partitions', '1'];
    const command = new RunningCommand(['start', ...files]);
    const [line] = await command.waitFor(/listens on .*/);
    expect(line).toMatch(/wss:\/\/\S+ and https:\/\//);
    command.signal('SIGINT');
    expect(await command.exited).toBe(0);
    const checked = await runCommand(['start', '--check', ...files]);
    expect(checked.out).toContain('sockets are held by node, as always with TLS');
    expect(checked.out).toContain('tlsCert is good until');
    const { err } = await runCommand(['start', ...files, '--transport', 'uws']);
    expect(err).toContain('transport: uws cannot take a new certificate while it runs');
  });
});

describe('the SDK over TLS', () => {
  test('shows its certificate, and works', async () => {
    const { certificate, key: own } = issueClient(folder.authority, 'orders');
    for (const more of [{}, { WebSocket }]) {
      const client = connect({
        servers: [server.address.url],
        tls: { ca: folder.trust, cert: certificate, key: own, serverName: 'localhost' },
        ...more,
      });
      await client.whenConnected();
      expect(client.isConnected).toBe(true);
      await client.close();
    }
  });

  test('does not connect without what is required', async () => {
    const client = connect({ servers: [server.address.url], tls: { ca: folder.trust } });
    await expect(client.whenConnected({ timeoutMs: 500 })).rejects.toThrow('TLS: tlsv13 alert certificate required');
    await client.close();
  });

  test.each<[words: string, options: object]>([
    ['option tls must be left out', { tls: {}, WebSocket: class extends EventTarget {} }],
    ['option tls must be given with wss: URLs only', { tls: {}, servers: ['ws://127.0.0.1:1'] }],
    ['option tls must be given both cert and key', { tls: { cert: 'x' } }],
    ['option tls.ca must be a text', { tls: { ca: Buffer.from('x') } }],
  ])('is refused: %s', (words, options) => {
    expect(() => connect({ servers: [server.address.url], ...options })).toThrow(words);
  });
});
