import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Browser, Page } from 'playwright-core';
import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { connect } from 'slotcast/client';
import type { Client } from 'slotcast/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { NewToken } from '../../src/protocol/access.ts';
import { browserPath, findBarriers, launchBrowser, openPage } from '../support/browser.ts';
import type { WatchedPage } from '../support/browser.ts';

if (browserPath === undefined) {
  process.stdout.write('Left out: signing in to the console in a browser, since there is no chromium here.\n');
}

const pictures = process.env['CONSOLE_PICTURES'];
const subject = encodeURIComponent('public/DEFAULT/orders');
/** Browsers note each answer of that kind; whether it was due is for the tests. */
const refusals = /the server responded with a status of (401|403|503)/;

describe.skipIf(browserPath === undefined)('signing in to the console', () => {
  let browser: Browser;
  let folder: string;
  let server: Server;
  let admin: string;
  let client: Client;
  let watched: WatchedPage;
  let page: Page;
  /** The `Authorization` of each request of the page, by its path. */
  let shown: [string, string | undefined][];

  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser.close();
  });
  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'slotcast-sign-in-'));
    server = await startServer({
      port: 0,
      partitions: 1,
      logLevel: 'silent',
      warmUpMs: 0,
      drainTimeoutMs: 0,
      dataDir: folder,
      accessControl: 'on',
      authFailuresMax: 3,
    });
    admin = readFileSync(path.join(folder, 'bootstrap-token'), 'utf8').trim();
    await ask('PUT', '/v1/policies', {
      policy: 'readers',
      rules: [{ actions: ['read', 'subscribe'] }, { actions: ['operate'], services: ['orders'] }],
    });
    client = connect({ servers: [server.address.url], token: admin });
    await client.register('orders', { host: '10.0.0.1', port: 80 });
    await client.register('bills', { host: '10.0.0.2', port: 80 });
    await open(1280);
  });
  afterEach(async () => {
    await page.close();
    await client.close();
    await server.stop();
    rmSync(folder, { recursive: true });
    const faults = watched.faults.filter((fault) => !refusals.test(fault));
    if (faults.length > 0) throw new Error(`the page met: ${faults.join('\n')}`);
  });

  async function ask<T>(method: string, target: string, body?: object): Promise<T> {
    const response = await fetch(`${server.address.httpUrl}${target}`, {
      method,
      headers: { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    expect(response.status).toBe(200);
    return (await response.json()) as T;
  }

  function create(name: string): Promise<NewToken> {
    return ask('POST', '/v1/tokens', { name, policies: ['readers'] });
  }

  async function open(width: number): Promise<void> {
    if (watched !== undefined) await page.close();
    watched = await openPage(browser, { width });
    ({ page } = watched);
    shown = [];
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      if (!pathname.startsWith('/console')) shown.push([pathname, request.headers()['authorization']]);
    });
  }

  async function visit(hash: string): Promise<void> {
    await page.goto(`${server.address.httpUrl}/console#/${hash}`);
    await page.getByLabel('Token').waitFor();
  }

  async function signIn(token: string): Promise<void> {
    // Without a mouse: the field has the focus.
    await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute('type'))).toBe('password');
    await page.keyboard.type(token);
    await page.keyboard.press('Enter');
  }

  async function picture(name: string): Promise<void> {
    if (pictures === undefined) return;
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: `${pictures}/${name}.png` });
  }

  test.each([1280, 390])(
    'at %i pixels: nothing is shown before, everything after, and nothing is kept',
    async (width) => {
      const { token } = await create('reader');
      await open(width);
      await visit('services');
      expect(await findBarriers(page)).toEqual([]);
      await picture(`sign-in-${width}`);
      // Of what it asks while nobody is signed in.
      expect(shown).toEqual([['/v1/whoami', undefined]]);
      await signIn(token);
      await page.locator('.tall [role=row]', { hasText: 'orders' }).waitFor();
      await page.locator('.top', { hasText: 'token:reader' }).waitFor();
      expect(await findBarriers(page)).toEqual([]);
      await picture(`signed-in-${width}`);
      const excess = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(excess).toBe(0);
      expect(shown.slice(1).every(([, authorization]) => authorization === `Bearer ${token}`)).toBe(true);
      const kept = await page.evaluate(() => [
        document.cookie,
        JSON.stringify([localStorage, sessionStorage]),
        document.documentElement.outerHTML,
        location.href,
      ]);
      expect(kept.filter((text) => text.includes(token.slice(-32)))).toEqual([]);
      expect(await page.context().cookies()).toEqual([]);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Token').waitFor();
      expect(await page.getByText('orders').count()).toBe(0);
    },
  );

  test('a wrong token is told from one that is right, and after too many the page waits as long as the server says', async () => {
    const wrong = `slotcast_${'0'.repeat(16)}_${'0'.repeat(64)}`;
    await visit('services');
    await signIn(wrong);
    await page.getByRole('alert').getByText('The server knows no such token.').waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await signIn(wrong);
    await expect.poll(() => shown.length).toBe(3);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await signIn(wrong);
    await expect.poll(() => shown.length).toBe(4);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await signIn(wrong);
    await page
      .getByRole('alert')
      .getByText(/have failed\. Try again in \d+ s\./)
      .waitFor();
    expect(await page.getByRole('button', { name: 'Checking…' }).isDisabled()).toBe(true);
    await page.keyboard.press('Enter');
    await page.waitForTimeout(500);
    expect(shown).toHaveLength(5);
  });

  test('what is allowed is done, and of what is not it is said what is missing', async () => {
    const { token } = await create('reader');
    await visit(`services/${subject}`);
    await signIn(token);
    await page.locator('.tall [role=row]', { hasText: '10.0.0.1:80' }).waitFor();
    // The live list came over a session that showed it.
    const names = await ask<{ sessions: { app?: string }[] }>('GET', '/v1/sessions');
    expect(names.sessions.map(({ app }) => app)).toContain('console');
    await page.getByText('1 instance · 0 subscribers').waitFor();
    await page.getByRole('button', { name: 'Switch off' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Closes traffic').waitFor();
    await dialog.getByRole('button', { name: 'Switch off' }).click();
    await page.locator('h1 .badge.off').waitFor();
    expect(await ask('GET', '/v1/switches')).toMatchObject({ switches: [{ kind: 'service-off', service: 'orders' }] });

    // Another service is not its to operate.
    await page.evaluate(() => {
      location.hash = '#/services/bills';
    });
    await page.locator('.tall [role=row]', { hasText: '10.0.0.2:80' }).waitFor();
    await page.locator('.figures', { hasText: 'no policy of the caller allows it to operate' }).waitFor();
    await page.getByRole('button', { name: 'Switch off' }).click();
    await dialog.getByText('The effect cannot be told: no policy of the caller allows it to operate').waitFor();
    expect(await dialog.getByRole('button', { name: 'Switch off' }).isDisabled()).toBe(true);
    await page.keyboard.press('Escape');
    for (const name of ['sessions', 'slots', 'load', 'keys', 'threads', 'switches']) {
      await page.evaluate((hash) => {
        location.hash = hash;
      }, `#/${name}`);
      await page.locator(`main.page-${name} .figures`, { hasText: 'no policy of the caller allows it to' }).waitFor();
      expect([name, await page.locator('main').getByText('Reading…').count()]).toEqual([name, 0]);
      expect([name, await findBarriers(page)]).toEqual([name, []]);
    }
  });

  test('a token that is revoked leads back to signing in, over what was being filled in, and on from there', async () => {
    const first = await create('reader');
    const second = await create('reader');
    await visit(`services/${subject}`);
    await signIn(first.token);
    await page.getByText('1 instance · 0 subscribers').waitFor();
    await page.getByRole('button', { name: 'Switch off' }).click();
    const why = page.getByLabel('Why');
    await why.fill('bad release');
    await ask('DELETE', `/v1/tokens?id=${first.id}`);
    await page.getByText('You are signed out: the token has been revoked, or has expired.').waitFor();
    expect(await page.locator('.top').innerText()).not.toContain('token:reader');
    expect(await findBarriers(page)).toEqual([]);
    await picture('signed-out');
    // It cannot be left, and asks nothing meanwhile.
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    const { length } = shown;
    await page.waitForTimeout(2500);
    expect(shown.slice(length)).toEqual([]);
    await signIn(second.token);
    await page.getByLabel('Token').waitFor({ state: 'detached' });
    expect(await why.inputValue()).toBe('bad release');
    expect(await page.evaluate(() => document.activeElement?.closest('dialog') !== null)).toBe(true);
    await page.keyboard.press('Escape');
    // Live again.
    await client.register('orders', { host: '10.0.0.9', port: 80 });
    await page.locator('.tall [role=row]', { hasText: '10.0.0.9:80' }).waitFor();
    expect(shown.at(-1)?.[1]).toBe(`Bearer ${second.token}`);
  });

  test('where callers without credentials may read, they go on without, and may sign in later', async () => {
    await ask('PUT', '/v1/policies', {
      policy: 'everybody',
      principals: ['anonymous'],
      rules: [{ actions: ['read', 'subscribe'] }],
    });
    await visit('services');
    await page.getByRole('button', { name: 'Go on without' }).click();
    await page.locator('.tall [role=row]', { hasText: 'orders' }).waitFor();
    await page.getByRole('button', { name: 'Sign in' }).click();
    await signIn(admin);
    await page.locator('.top', { hasText: 'token:bootstrap' }).waitFor();
    await page.getByText('No switch is in force, no guard holds back').waitFor();
    expect(shown.at(-1)?.[1]).toBe(`Bearer ${admin}`);
  });
});
