import { once } from 'node:events';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';

import { afterEach, expect, test } from 'vitest';

import { resolveConfig } from '../../src/config/config-checking.ts';
import type { ServerConfig } from '../../src/config/config.ts';
import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import type { ClientCertificate } from '../../src/tls/client-certificate.ts';
import { createHttpServer, TlsDoor } from '../../src/transport/tls-door.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { issueClient, issueServer, validFor } from '../support/test-certificates.ts';

const authority = new CertificateAuthority('test authority', validFor(1));
const { certificate, key } = issueServer(authority);
const orders = issueClient(authority, 'orders', { uris: ['spiffe://example/orders'] });

let close: (() => void) | undefined;
afterEach(() => {
  close?.();
  close = undefined;
});

/** A door, and what it says of the clients of all requests behind it. */
async function open(settings: Partial<ServerConfig>): Promise<{
  readonly port: number;
  readonly clients: (ClientCertificate | undefined)[];
  readonly failures: string[];
}> {
  const failures: string[] = [];
  const door = new TlsDoor({
    config: { ...resolveConfig({}), ...settings },
    material: {
      certificate,
      key,
      clientAuthorities: authority.issued.certificate,
      expiry: { tlsCert: 0, tlsCa: 0 },
    },
    onFailure: (address) => failures.push(address),
    onFull: () => undefined,
  });
  const clients: (ClientCertificate | undefined)[] = [];
  const server = createHttpServer({}, door);
  server.on('request', (request, response) => {
    clients.push(door.clientOf(request.socket));
    response.end('here');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  close = () => {
    server.close();
    server.closeAllConnections();
    door.close();
  };
  const address = server.address();
  return { port: typeof address === 'object' && address !== null ? address.port : 0, clients, failures };
}

async function call(port: number, options: object = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ca: authority.issued.certificate, ...options });
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  return socket;
}

const shown = { cert: orders.certificate, key: orders.key };

test('[TL3] each request says whom the certificate of its connection names', async () => {
  const { port, clients } = await open({ tlsClientCertificate: 'require', tlsPrincipal: 'san-uri' });
  const socket = await call(port, shown);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  const expected = {
    principal: 'spiffe://example/orders',
    fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    expiresAtMs: expect.any(Number),
  };
  expect(clients).toEqual([expected, expected]);
});

test('[TL3] who shows nothing, or is not asked, or has no name of the kind, is nobody', async () => {
  const asked = await open({ tlsClientCertificate: 'request' });
  (await call(asked.port)).destroy();
  close?.();
  const unasked = await open({ tlsClientCertificate: 'none' });
  (await call(unasked.port, shown)).destroy();
  close?.();
  const other = await open({ tlsClientCertificate: 'request', tlsPrincipal: 'san-dns' });
  (await call(other.port, shown)).destroy();
  expect([...asked.clients, ...unasked.clients, ...other.clients]).toEqual([undefined, undefined, undefined]);
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  '[TL3] a client that resumes a session of %s is who it was',
  async (version) => {
    const { port, clients } = await open({ tlsClientCertificate: 'request' });
    const versions = { minVersion: version, maxVersion: version };
    const first = connect({ port, host: '127.0.0.1', ca: authority.issued.certificate, ...shown, ...versions });
    const [session] = (await once(first, 'session')) as [Buffer];
    first.destroy();
    const second = await call(port, { session, ...versions });
    expect(second.isSessionReused()).toBe(true);
    second.destroy();
    expect(clients).toMatchObject([{ principal: 'orders' }]);
  },
);

test('[TL1] who begins with HTTP gets no answer, and the door stays open', async () => {
  const { port, clients, failures } = await open({});
  const plain = await RawSocket.connect(port);
  plain.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await plain.ended;
  expect([clients, failures]).toEqual([[], ['127.0.0.1']]);
  (await call(port)).destroy();
  expect(clients.length).toBe(1);
});
