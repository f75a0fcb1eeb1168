import { startServer } from 'slotcast';
import { connect } from 'slotcast/client';
import { expect, test } from 'vitest';

import { browserPath, launchBrowser } from '../support/browser.ts';
import { CertificateFolder } from '../support/test-certificates.ts';

test.skipIf(browserPath === undefined)(
  'the console over https: shows what is live, by a session over wss:',
  async () => {
    const folder = new CertificateFolder();
    const settings = { port: 0, partitions: 1, logLevel: 'silent', drainTimeoutMs: 0 } as const;
    const server = await startServer({ ...settings, ...folder.settings });
    const client = connect({ servers: [server.address.url], app: 'provider', tls: { ca: folder.trust } });
    await client.register('orders', { host: '10.0.0.1', port: 80 });
    const browser = await launchBrowser();
    // Nobody has told it whom to trust.
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text());
    });
    const opened = page.waitForEvent('websocket');
    await page.goto(`${server.address.httpUrl}/console#/services/${encodeURIComponent('public/DEFAULT/orders')}`);
    expect((await opened).url()).toBe(server.address.url);
    await page.getByText('10.0.0.1').first().waitFor();
    await client.register('orders', { host: '10.0.0.2', port: 80 });
    await page.getByText('10.0.0.2').first().waitFor();
    await browser.close();
    await client.close();
    await server.stop();
    folder.remove();
    expect(faults).toEqual([]);
  },
);
