import { expect, test } from 'vitest';

import { ConsoleFiles } from '../../src/edges/http/console-files.ts';
import { HttpServer } from '../../src/edges/http/http-server.ts';
import type { Operation } from '../../src/edges/http/operations.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import type { OperationId } from '../../src/protocol/http-operations.ts';
import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import { createTlsDoor } from '../../src/transport/tls-door.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { issueClient, issueServer, validFor } from '../support/test-certificates.ts';
import { callOverTls } from '../support/tls-calls.ts';

test('[TL3] an operation is told whom the certificate of its caller names', async () => {
  const authority = new CertificateAuthority('test authority', validFor(1));
  const { certificate, key } = issueServer(authority);
  const { config, core, counters } = await InProcessRegistry.start({ partitions: 1 });
  const callers: unknown[] = [];
  const operation: Operation = ({ caller }) => {
    callers.push(caller.certificate);
    return { code: 'not_found', message: 'not served here' };
  };
  const material = {
    certificate,
    key,
    clientAuthorities: authority.issued.certificate,
    expiry: { tlsCert: 0, tlsCa: 0 },
  };
  const server = new HttpServer({
    config,
    core,
    counters,
    tls: createTlsDoor({ config: { ...config, tlsClientCertificate: 'request' }, material, counters }),
    consoleFiles: ConsoleFiles.read('', 'wss'),
    readSessionPort: () => Promise.resolve(undefined),
    operations: Object.fromEntries(Object.keys(httpOperations).map((id) => [id, operation])) as Record<
      OperationId,
      Operation
    >,
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0, isShared: false });
  const url = `https://127.0.0.1:${port}/health/live`;
  const ca = authority.issued.certificate;
  const orders = issueClient(authority, 'orders');
  await callOverTls(url, { ca, cert: orders.certificate, key: orders.key });
  await callOverTls(url, { ca });
  server.close();
  expect(callers).toEqual([{ principal: 'orders', fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) }, undefined]);
});
