/**
 * One small service: it registers itself, watches the service that it calls, and answers each request by calling one of those instances.
 * This is all that a service needs of the registry.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { connect, Picker } from '../src/client/index.ts';
import { nowMs } from './messages.ts';
import type { Report, ServiceRole } from './messages.ts';

const callTimeoutMs = 500;

function report(message: Report): void {
  process.send?.(message);
}

/** Calls one instance of a service. It is not tried again elsewhere: the demo counts what fails. */
function call(picker: Picker): Promise<string> {
  return picker.call(async ({ id, host, port }) => {
    let response: Response;
    try {
      response = await fetch(`http://${host}:${port}/`, { signal: AbortSignal.timeout(callTimeoutMs) });
    } catch (error) {
      throw new Error(`${id} did not answer`, { cause: error });
    }
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text;
  });
}

async function run({ name, service, calls, registry }: ServiceRole): Promise<void> {
  const client = connect({ servers: [registry], app: name });
  const view = calls === undefined ? undefined : await client.subscribe(calls);
  const picker = view === undefined ? undefined : new Picker(view);
  if (view !== undefined && calls !== undefined) {
    const tell = (): void => {
      report({ kind: 'view', service: calls, ids: view.instances.map(({ id }) => id), atMs: nowMs() });
    };
    tell();
    view.on('change', tell);
  }
  let served = 0;
  const server = createServer((_, response) => {
    (picker === undefined ? Promise.resolve('') : call(picker)).then(
      (below) => {
        served += 1;
        if (served === 1) report({ kind: 'served', atMs: nowMs() });
        response.end(below === '' ? name : `${name} ${below}`);
      },
      (error: unknown) => {
        response.writeHead(502).end(error instanceof Error ? error.message : String(error));
      },
    );
  });
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    client.register(service, { id: name, host: '127.0.0.1', port }).then(
      () => {
        report({ kind: 'ready', name, port, pid: process.pid });
      },
      (error: unknown) => {
        console.error(name, error);
        process.exit(1);
      },
    );
  });
}

// Whoever started it is gone: nothing is left running.
process.on('disconnect', () => process.exit(0));
process.once('message', (role: ServiceRole) => {
  run(role).catch((error: unknown) => {
    console.error(role.name, error);
    process.exit(1);
  });
});
