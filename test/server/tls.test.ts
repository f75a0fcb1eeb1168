import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { startFaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import { canSharePorts } from '../../src/transport/port-sharer.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { CertificateFolder, issueClient, issueServer, validFor } from '../support/test-certificates.ts';
import { askOverTls, callOverTls, openOverTls, shakeHands } from '../support/tls-calls.ts';
import type { TlsCaller } from '../support/tls-calls.ts';

type ServerConfig = NonNullable<Parameters<typeof startServer>[0]>;

let folder: CertificateFolder;
let server: Server | undefined;
beforeEach(() => {
  folder = new CertificateFolder();
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  folder.remove();
});

async function start(settings: ServerConfig = {}): Promise<Server> {
  server = await startServer({
    port: 0,
    partitions: 1,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
    ...folder.settings,
    ...settings,
  });
  return server;
}

function caller(more: Partial<TlsCaller> = {}): TlsCaller {
  return { ca: folder.trust, ...more };
}

async function readMetric(name: string, by: TlsCaller = caller()): Promise<number> {
  const { text } = await callOverTls(`${server!.address.httpUrl}/metrics`, by);
  const line = text.split('\n').find((each) => each.startsWith(name));
  return Number(line?.split(' ')[1]);
}

async function readExpiryInDays(setting: string): Promise<number> {
  const expiryS = await readMetric(`slotcast_tls_certificate_expiry_seconds{setting="${setting}"}`);
  return Math.round((expiryS - Date.now() / 1000) / 86_400);
}

/** Both doors: the port of sessions answers these, too. */
function healthUrls({ address }: Server): string[] {
  return [address.port, address.httpPort].map((port) => `https://127.0.0.1:${port}/health/live`);
}

describe('both ports', () => {
  test('[TL1] speak TLS, and say so in their URLs', async () => {
    const { address } = await start();
    expect(address.url).toMatch(/^wss:/);
    expect(address.httpUrl).toMatch(/^https:/);
    for (const url of healthUrls(server!)) expect((await callOverTls(url, caller())).status).toBe(200);
    const socket = await openOverTls(address.url, caller());
    expect(await askOverTls(socket, 'session.open', { client: 'test' })).toMatchObject({ heartbeatMs: 5000 });
    socket.terminate();
    const { text } = await callOverTls(`https://127.0.0.1:${address.port}/metrics`, caller());
    expect(JSON.parse(text)).toMatchObject({
      error: { code: 'misdirected', message: expect.stringContaining('https://'), httpPort: address.httpPort },
    });
  });

  test('are not trusted by who does not know their authority, or looks for another name', async () => {
    await start();
    const stranger = new CertificateAuthority('another authority', validFor(1)).issued.certificate;
    for (const url of healthUrls(server!)) {
      await expect(callOverTls(url, { ca: stranger })).rejects.toThrow('unable to verify the first certificate');
      await expect(callOverTls(url, caller({ servername: 'other.example' }))).rejects.toThrow('altnames');
    }
  });

  test('[TL1] refuse TLS 1.1, and take TLS 1.2 and 1.3', async () => {
    const { address } = await start();
    for (const port of [address.port, address.httpPort!]) {
      const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
      const failures = await readMetric('slotcast_tls_handshake_failures_total');
      await expect(shakeHands(port, { ca: folder.trust, ...old })).rejects.toThrow('protocol version');
      await expect.poll(() => readMetric('slotcast_tls_handshake_failures_total')).toBe(failures + 1);
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const socket = await shakeHands(port, { ca: folder.trust, minVersion: version, maxVersion: version });
        expect(socket.getProtocol()).toBe(version);
        socket.destroy();
      }
    }
  });

  test('[TL1] close what is not TLS at once, and count it', async () => {
    const { address } = await start();
    for (const port of [address.port, address.httpPort!]) {
      const socket = await RawSocket.connect(port);
      socket.write('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n');
      await socket.ended;
      expect(socket.unread.toString('latin1')).not.toContain('HTTP/1.1 200');
    }
    await expect.poll(() => readMetric('slotcast_tls_handshake_failures_total')).toBe(2);
  });

  test('without TLS close what begins with it', async () => {
    const { address } = await start({ tlsCert: '', tlsKey: '', transport: 'node' });
    for (const port of [address.port, address.httpPort!]) await expect(shakeHands(port, {})).rejects.toThrow();
    expect((await fetch(`${address.httpUrl}/health/live`)).status).toBe(200);
  });

  test('cut a handshake that does not end after httpHeadTimeoutMs, and keep no descriptor', async () => {
    const { address } = await start({ httpHeadTimeoutMs: 300 });
    await callOverTls(healthUrls(server!)[1]!, caller());
    const before = readdirSync('/proc/self/fd').length;
    for (const port of [address.port, address.httpPort!]) {
      const startedMs = performance.now();
      const socket = connect({ port, host: '127.0.0.1' });
      socket.on('error', () => undefined);
      // The head of a record whose rest does not come.
      socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
      await once(socket, 'close');
      const tookMs = performance.now() - startedMs;
      expect(tookMs).toBeGreaterThan(250);
      // Other timeouts of HTTP are of ten seconds and more.
      expect(tookMs).toBeLessThan(8000);
    }
    await expect.poll(() => readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
    expect(await readMetric('slotcast_tls_handshake_failures_total')).toBe(2);
  });

  test('[LI1] have tlsHandshakesMax of them under way, and close further connections', async () => {
    const { address } = await start({ tlsHandshakesMax: 2 });
    for (const port of [address.port, address.httpPort!]) {
      const slow = [await RawSocket.connect(port), await RawSocket.connect(port)];
      for (const socket of slow) socket.write(Buffer.from([0x16]));
      await expect(shakeHands(port, { ca: folder.trust })).rejects.toThrow();
      for (const socket of slow) socket.destroy();
      await expect
        .poll(() =>
          shakeHands(port, { ca: folder.trust }).then(
            (socket) => socket.destroy().destroyed,
            () => false,
          ),
        )
        .toBe(true);
    }
    expect(await readMetric('slotcast_limits_met_total{limit="tlsHandshakesMax"}')).toBeGreaterThanOrEqual(2);
  });
});

test('the console may open sessions over TLS alone, and pages of its address may come', async () => {
  const { address } = await start();
  const { status, headers } = await callOverTls(`${address.httpUrl}/console`, caller());
  expect(status).toBe(200);
  expect(headers['content-security-policy']).toContain(`connect-src 'self' wss://127.0.0.1:${address.port}`);
  const own = `https://127.0.0.1:${address.httpPort}`;
  (await openOverTls(address.url, caller(), own)).terminate();
  await expect(openOverTls(address.url, caller(), own.replace('https', 'http'))).rejects.toThrow('403');
});

describe('client certificates', () => {
  test('[TL1] of another authority are refused, also where none is required', async () => {
    const other = new CertificateAuthority('test authority', validFor(1));
    for (const tlsClientCertificate of ['request', 'require'] as const) {
      await start({ tlsCa: folder.ca, tlsClientCertificate });
      const { certificate, key } = issueClient(other, 'orders');
      for (const url of healthUrls(server!)) {
        await expect(callOverTls(url, caller({ cert: certificate, key }))).rejects.toThrow();
      }
      await expect(openOverTls(server!.address.url, caller({ cert: certificate, key }))).rejects.toThrow();
      await server!.stop();
    }
  });

  test('[TL1] that are required let in who has one, and nobody else', async () => {
    await start({ tlsCa: folder.ca, tlsClientCertificate: 'require' });
    const { certificate, key } = issueClient(folder.authority, 'orders');
    const orders = caller({ cert: certificate, key });
    for (const url of healthUrls(server!)) {
      await expect(callOverTls(url, caller())).rejects.toThrow();
      expect((await callOverTls(url, orders)).status).toBe(200);
    }
    await expect(openOverTls(server!.address.url, caller())).rejects.toThrow();
    const socket = await openOverTls(server!.address.url, orders);
    socket.terminate();
    expect(await readMetric('slotcast_tls_handshake_failures_total', orders)).toBeGreaterThanOrEqual(3);
  });

  test('[TL1] that have expired, or are for servers, are refused', async () => {
    await start({ tlsCa: folder.ca, tlsClientCertificate: 'require' });
    const expired = issueClient(folder.authority, 'orders', {
      validity: { notBefore: new Date(Date.now() - 2 * 86_400_000), notAfter: new Date(Date.now() - 86_400_000) },
    });
    for (const { certificate, key } of [expired, issueServer(folder.authority)]) {
      for (const url of healthUrls(server!)) {
        await expect(callOverTls(url, caller({ cert: certificate, key }))).rejects.toThrow();
      }
    }
  });

  test('that are only asked for may be missing', async () => {
    await start({ tlsCa: folder.ca, tlsClientCertificate: 'request' });
    for (const url of healthUrls(server!)) expect((await callOverTls(url, caller())).status).toBe(200);
  });
});

describe('when the files change', () => {
  test('[TL2] new connections get the new certificate, and open ones go on', async () => {
    const { address } = await start();
    const session = await openOverTls(address.url, caller());
    const watch = await shakeHands(address.httpPort!, { ca: folder.trust });
    const { serialNumber: before } = watch.getPeerCertificate();
    folder.replaceServer(issueServer(folder.authority));
    for (const port of [address.port, address.httpPort!]) {
      await expect
        .poll(
          async () => {
            const socket = await shakeHands(port, { ca: folder.trust });
            const { serialNumber } = socket.getPeerCertificate();
            socket.destroy();
            return serialNumber;
          },
          { timeout: 20_000 },
        )
        .not.toBe(before);
    }
    expect(await askOverTls(session, 'session.open', { client: 'test' })).toMatchObject({ heartbeatMs: 5000 });
    const answered = once(watch, 'data') as Promise<[Buffer]>;
    watch.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect(String((await answered)[0])).toContain('HTTP/1.1 200');
    session.terminate();
    watch.destroy();
  });

  test('[TL2] a key that does not belong to the certificate is not taken, and said; a whole pair then is', async () => {
    const { address } = await start();
    const serial = async (): Promise<string> => {
      const socket = await shakeHands(address.port, { ca: folder.trust });
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const before = await serial();
    const next = issueServer(folder.authority);
    folder.write('server.crt', next.certificate);
    await expect.poll(() => readMetric('slotcast_tls_files_refused'), { timeout: 20_000 }).toBe(1);
    expect(await serial()).toBe(before);
    folder.write('server.key', next.key);
    await expect.poll(serial, { timeout: 20_000 }).not.toBe(before);
    expect(await readMetric('slotcast_tls_files_refused')).toBe(0);
  });

  test('[TL2] authorities that are gone are no longer trusted for new connections', async () => {
    await start({ tlsCa: folder.ca, tlsClientCertificate: 'require' });
    const { certificate, key } = issueClient(folder.authority, 'orders');
    const orders = caller({ cert: certificate, key });
    const other = new CertificateAuthority('another authority', validFor(9));
    folder.write('ca.crt', other.issued.certificate);
    for (const url of healthUrls(server!)) {
      await expect
        .poll(
          () =>
            callOverTls(url, orders).then(
              () => 'let in',
              () => 'refused',
            ),
          { timeout: 20_000 },
        )
        .toBe('refused');
    }
    const { certificate: cert, key: otherKey } = issueClient(other, 'orders');
    for (const url of healthUrls(server!)) {
      expect((await callOverTls(url, caller({ cert, key: otherKey }))).status).toBe(200);
    }
  });
});

test('[TL2] a thread for HTTP that dies comes back with the certificate of now', async () => {
  const running = await startFaultyServer({
    port: 0,
    partitions: 1,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
    ...folder.settings,
  });
  server = running;
  const serial = async (): Promise<string> => {
    const socket = await shakeHands(running.address.httpPort!, { ca: folder.trust });
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  const before = await serial();
  folder.replaceServer(issueServer(folder.authority));
  await expect.poll(serial, { timeout: 20_000 }).not.toBe(before);
  const now = await serial();
  running.killEdge(0);
  await expect.poll(() => serial().catch(() => 'nobody')).toBe('nobody');
  await expect.poll(() => serial().catch(() => 'nobody'), { timeout: 20_000 }).toBe(now);
});

describe('with I/O threads', () => {
  test.runIf(canSharePorts())('[TL2] all of them take sessions over TLS, and the new certificate', async () => {
    const { address } = await start({ ioThreads: 2, tlsCa: folder.ca, tlsClientCertificate: 'require' });
    const { certificate: cert, key } = issueClient(folder.authority, 'orders');
    const orders = caller({ cert, key });
    const sessions = await Promise.all(Array.from({ length: 24 }, () => openOverTls(address.url, orders)));
    const { text } = await callOverTls(`${address.httpUrl}/v1/stats`, orders);
    const { hosts } = JSON.parse(text) as { readonly hosts: readonly { readonly sessions: number }[] };
    expect(hosts.filter(({ sessions: count }) => count > 0).length).toBe(2);
    const serials = async (): Promise<string[]> => {
      const sockets = await Promise.all(
        Array.from({ length: 24 }, () => shakeHands(address.port, { ca: folder.trust, cert, key })),
      );
      const numbers = sockets.map((socket) => socket.getPeerCertificate().serialNumber);
      for (const socket of sockets) socket.destroy();
      return [...new Set(numbers)];
    };
    const before = await serials();
    expect(before.length).toBe(1);
    folder.replaceServer(issueServer(folder.authority));
    await expect.poll(async () => (await serials()).includes(before[0]!), { timeout: 20_000 }).toBe(false);
    expect((await serials()).length).toBe(1);
    for (const session of sessions) {
      expect(await askOverTls(session, 'session.open', { client: 'test' })).toMatchObject({ heartbeatMs: 5000 });
      session.terminate();
    }
  });

  test.skipIf(canSharePorts())('a Node that cannot share a port is refused at the start', async () => {
    await expect(start({ ioThreads: 1 })).rejects.toThrow('22.12 or later, and this is');
  });
});

test('metrics say when certificates expire', async () => {
  folder.remove();
  folder = new CertificateFolder({ validity: validFor(10) });
  await start({ tlsCa: folder.ca, tlsClientCertificate: 'request' });
  expect([await readExpiryInDays('tlsCert'), await readExpiryInDays('tlsCa')]).toEqual([10, 365]);
});
