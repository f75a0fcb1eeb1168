import { mkdirSync } from 'node:fs';

import type { Browser, Page } from 'playwright-core';
import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { connect } from 'slotcast/client';
import type { Client } from 'slotcast/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { browserPath, findBarriers, launchBrowser, openPage, readShifts } from '../support/browser.ts';
import type { WatchedPage } from '../support/browser.ts';

if (browserPath === undefined) {
  process.stdout.write('Left out: the console in a browser, since there is no chromium here.\n');
}

const pages = ['services', 'sessions', 'slots', 'load', 'keys', 'threads', 'switches'] as const;
/** Where to leave pictures of all pages, if they are wanted. */
const pictures = process.env['CONSOLE_PICTURES'];
const service = 'orders';
const subject = encodeURIComponent(`public/DEFAULT/${service}`);

interface Switch {
  readonly kind: string;
  readonly by?: string;
  readonly reason?: string;
  readonly override?: unknown;
}

describe.skipIf(browserPath === undefined)('the console', () => {
  let browser: Browser;
  let server: Server;
  let client: Client;
  let watched: WatchedPage;
  let page: Page;

  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser.close();
  });
  beforeEach(async () => {
    server = await startServer({
      port: 0,
      partitions: 2,
      logLevel: 'silent',
      inMemory: true,
      drainTimeoutMs: 0,
      registrationsMax: 200_000,
      disconnectGraceMs: 0,
    });
    client = connect({
      servers: [server.address.url],
      app: 'provider',
      requestsMax: 200_000,
      requestTimeoutMs: 120_000,
    });
    await open(1280);
  });
  afterEach(async () => {
    await page.close();
    await client.close();
    await server.stop();
    if (watched.faults.length > 0) throw new Error(`the page met: ${watched.faults.join('\n')}`);
  });

  async function open(width: number, colorScheme: 'light' | 'dark' = 'light'): Promise<void> {
    if (watched !== undefined) await page.close();
    watched = await openPage(browser, { width, colorScheme });
    ({ page } = watched);
  }

  async function visit(hash: string): Promise<void> {
    await page.goto(`${server.address.httpUrl}/console#/${hash}`);
    await page.locator('h1').waitFor();
  }

  async function register(count: number): Promise<void> {
    for (let first = 0; first < count; first += 4000) {
      const part = Array.from({ length: Math.min(4000, count - first) }, (_, i) => first + i);
      await Promise.all(
        part.map((i) =>
          client.register(`service-${String(i).padStart(6, '0')}`, { host: '10.0.0.1', port: 1 + (i % 60_000) }),
        ),
      );
    }
  }

  async function registerOrders(count = 3): Promise<void> {
    for (let i = 1; i <= count; i++) await client.register(service, { host: `10.0.0.${i}`, port: 80, zone: 'eu' });
  }

  async function readSwitches(): Promise<readonly Switch[]> {
    const response = await fetch(`${server.address.httpUrl}/v1/switches`);
    return ((await response.json()) as { switches: Switch[] }).switches;
  }

  function rows(): Promise<string[]> {
    return page.locator('.tall [role=row]').allInnerTexts();
  }

  test.each([
    [0, 1280, 'light'],
    [20, 1280, 'dark'],
    [20, 390, 'light'],
    [0, 390, 'dark'],
  ] as const)(
    'with %i services at %i pixels, %s: no page has a barrier, is wider than the screen, or moves by itself',
    async (count, width, colorScheme) => {
      await register(count);
      if (count > 0) {
        await registerOrders();
        await client.keys.put('config/limit', '10');
        const put = (body: object): Promise<Response> =>
          fetch(`${server.address.httpUrl}/v1/switches`, {
            method: 'PUT',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(body),
          });
        await put({ kind: 'service-off', service: 'service-000001' });
        await put({ kind: 'instance-override', service, id: '10.0.0.1:80', override: { weight: 0 } });
      }
      await open(width, colorScheme);
      for (const name of [...pages, ...(count > 0 ? [`services/${subject}`, 'keys/config%2Flimit'] : [])]) {
        await visit(name);
        await readShifts(page);
        // Live data comes meanwhile.
        const changing =
          count > 0 ? [70, 71].map((weight) => ({ host: '10.0.0.2', port: 80, zone: 'eu', weight })) : [];
        for (const instance of changing) await client.register(service, instance);
        await page.waitForTimeout(1500);
        expect([name, await readShifts(page)]).toEqual([name, []]);
        expect([name, await findBarriers(page)]).toEqual([name, []]);
        const excess = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        expect([name, excess]).toEqual([name, 0]);
        if (pictures !== undefined) {
          mkdirSync(pictures, { recursive: true });
          await page.screenshot({ path: `${pictures}/${name.replaceAll(/\W/g, '-')}-${count}-${width}.png` });
        }
      }
    },
  );

  test('100,000 services: all are found by any part of their names, and few are in the page', async () => {
    await register(100_000);
    await visit('services');
    await page.getByText('100,000 services').waitFor({ timeout: 120_000 });
    expect(await page.locator('.tall [role=row]').count()).toBeLessThan(60);
    await page.keyboard.press('/');
    await page.keyboard.type('99998');
    await page.getByText('1 of 100,000').waitFor();
    expect(await rows()).toEqual([expect.stringContaining('service-099998')]);
    // From the field to the list, and into the service, without a mouse.
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.locator('h1', { hasText: 'service-099998' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('100,000 services').waitFor();
    await page.locator('.tall [role=row]').first().focus();
    await page.keyboard.press('End');
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toContain('service-099999');
    expect(await findBarriers(page)).toEqual([]);
  });

  test('instances are live: what changes flashes, what goes is gone, and what hides another is told', async () => {
    await registerOrders();
    const other = connect({ servers: [server.address.url], app: 'other' });
    await other.register(service, { host: '10.0.0.9', port: 80 });
    await visit(`services/${subject}`);
    await page.locator('.tall [role=row]').nth(3).waitFor();
    expect(await page.locator('.tall .flash').count()).toBe(0);
    await other.register(service, { host: '10.0.0.2', port: 80, weight: 7 });
    await page.locator('.tall .flash', { hasText: '10.0.0.2:80' }).waitFor();
    await expect.poll(rows).toContainEqual(expect.stringMatching(/10\.0\.0\.2:80[\s\S]*7[\s\S]*other[\s\S]*2/));
    await page.locator('.tall [role=row]', { hasText: '10.0.0.2:80' }).click();
    const detail = page.locator('aside.detail');
    await detail.getByText('hidden by a later one').waitFor();
    expect(await detail.innerText()).toMatch(/other 127\.0\.0\.1[\s\S]*shown · registered with weight 7/);
    // Who owns it leads to what they hold.
    await detail.getByRole('link', { name: 'other' }).click();
    await page.locator('aside.detail', { hasText: '10.0.0.9:80' }).waitFor();
    await page.goBack();
    await other.close();
    await expect.poll(rows).toHaveLength(3);
    await expect.poll(rows).not.toContainEqual(expect.stringContaining('10.0.0.9:80'));
  });

  test('a service is switched off with a word on whom it concerns, shown on every page, and undone at once', async () => {
    await registerOrders();
    const watcher = connect({ servers: [server.address.url], app: 'watcher' });
    const view = await watcher.subscribe(service);
    await visit(`services/${subject}`);
    await page.getByText('3 instances · 1 subscriber').waitFor();
    await page.getByRole('button', { name: 'Switch off' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Closes traffic of 1 subscriber: their list of 3 instances becomes empty').waitFor();
    expect(await findBarriers(page)).toEqual([]);
    // Nothing has happened yet, and nothing does when it is left.
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    expect(await readSwitches()).toEqual([]);
    expect(view.instances).toHaveLength(3);

    await page.getByRole('button', { name: 'Switch off' }).click();
    await dialog.getByLabel('Who').fill('ann');
    await dialog.getByLabel('Why').fill('bad release');
    await dialog.getByLabel('For how long').selectOption('for 10 minutes');
    await dialog.getByRole('button', { name: 'Switch off' }).click();
    await expect.poll(() => view.instances.length).toBe(0);
    expect(view.isSwitchedOff).toBe(true);
    expect(await readSwitches()).toMatchObject([{ kind: 'service-off', service, by: 'ann', reason: 'bad release' }]);
    // What is registered is still shown.
    await expect.poll(rows).toHaveLength(3);
    for (const name of pages) {
      await page.evaluate((hash) => {
        location.hash = hash;
      }, `#/${name}`);
      await page.getByRole('region', { name: 'In force' }).getByText('service-off orders').waitFor();
    }
    await page.keyboard.press('u');
    await expect.poll(() => view.instances.length).toBe(3);
    expect(await readSwitches()).toEqual([]);
    await page.getByText('No switch is in force, no guard holds back').waitFor();
    await watcher.close();
  });

  test('an override is laid, replaced, undone to what was before, and lifted', async () => {
    await registerOrders();
    await visit(`services/${subject}`);
    const dialog = page.getByRole('dialog');
    const override = async (weight: string): Promise<void> => {
      await page.locator('aside').getByRole('button', { name: 'Override…' }).click();
      await dialog.getByLabel('Weight').fill(weight);
      await dialog.getByText(`with weight ${weight}`).waitFor();
      await dialog.getByRole('button', { name: 'Override' }).click();
      await dialog.waitFor({ state: 'detached' });
    };
    await page.locator('.tall [role=row]', { hasText: '10.0.0.3:80' }).click();
    await override('9');
    await page.locator('aside', { hasText: 'override: weight 9' }).waitFor();
    await override('4');
    await page.locator('aside', { hasText: 'override: weight 4' }).waitFor();
    await page.getByRole('button', { name: 'Set what was before' }).click();
    await page.locator('aside', { hasText: 'override: weight 9' }).waitFor();
    expect(await readSwitches()).toMatchObject([{ kind: 'instance-override', override: { weight: 9 } }]);
    await page.locator('aside').getByRole('button', { name: 'Lift' }).click();
    await dialog.getByText('will see 10.0.0.3:80 again as its owner registered it').waitFor();
    await dialog.getByRole('button', { name: 'Lift' }).click();
    await expect.poll(readSwitches).toEqual([]);
    await page.getByRole('button', { name: 'Set it again' }).click();
    await expect.poll(readSwitches).toMatchObject([{ kind: 'instance-override', override: { weight: 9 } }]);
  });

  test('an instance is drained, and the registry made read-only, from where each is asked for', async () => {
    await registerOrders();
    await visit(`services/${subject}`);
    const dialog = page.getByRole('dialog');
    await page.locator('.tall [role=row]', { hasText: '10.0.0.1:80' }).click();
    await page.getByRole('button', { name: 'Drain…' }).click();
    await dialog.getByLabel('Over, in seconds').fill('1');
    await dialog.getByText('down to 0 in ten steps over 1 s').waitFor();
    await dialog.getByRole('button', { name: 'Drain' }).click();
    await page.locator('.tall [role=row]', { hasText: '10.0.0.1:80' }).getByText('disabled').waitFor();
    await visit('switches');
    await page.getByRole('button', { name: 'Read-only…' }).click();
    await dialog.getByText('Refuses registrations and changes of keys of 2 sessions').waitFor();
    await dialog.getByRole('button', { name: 'Make read-only' }).click();
    await expect.poll(readSwitches).toMatchObject([{ kind: 'instance-drain' }, { kind: 'read-only' }]);
    await page.locator('main').getByRole('button', { name: 'Lift read-only' }).click();
    await dialog.getByText('Lets everybody register').waitFor();
    await dialog.getByRole('button', { name: 'Lift' }).click();
    await expect.poll(readSwitches).toMatchObject([{ kind: 'instance-drain' }]);
  });

  test('what is rarer is in menus: a session is switched off, pushes are frozen, an instance is removed', async () => {
    await registerOrders();
    const watcher = connect({ servers: [server.address.url], app: 'watcher' });
    const view = await watcher.subscribe(service);
    const dialog = page.getByRole('dialog');
    const choose = async (menu: string, verb: string, effect: RegExp): Promise<void> => {
      await page.getByText('More', { exact: true }).last().click();
      await page.getByRole('button', { name: menu }).click();
      await dialog.getByText(effect).waitFor();
      expect(await findBarriers(page)).toEqual([]);
      await dialog.getByRole('button', { name: verb, exact: true }).click();
      await dialog.waitFor({ state: 'detached' });
    };
    await visit(`services/${subject}`);
    await page.locator('.tall [role=row]', { hasText: '10.0.0.1:80' }).click();
    await choose('Remove…', 'Remove', /from the lists of 1 subscriber, and from 1 claim/);
    await expect.poll(() => view.instances.length).toBe(2);
    // With it goes what was shown of it.
    await page.locator('aside.vacant').waitFor();
    await choose('Freeze pushes…', 'Freeze', /1 subscriber will keep the lists of orders/);
    await page.locator('h1 .badge.frozen').waitFor();
    await visit('services');
    await page.locator('.tall [role=row] .badge.frozen').waitFor();
    await visit('sessions');
    await page.locator('.tall [role=row]', { hasText: 'provider' }).click();
    await page.locator('aside').getByRole('button', { name: 'Switch off…' }).click();
    await dialog.getByText('Hides 2 registrations of this session').waitFor();
    await dialog.getByRole('button', { name: 'Switch off' }).click();
    await expect.poll(readSwitches).toMatchObject([{ kind: 'push-freeze', service }, { kind: 'client-off' }]);
    // Frozen: nobody has been told of it.
    expect(view.instances).toHaveLength(2);
    await page.getByRole('button', { name: 'Lift push-freeze orders' }).click();
    await dialog.getByRole('button', { name: 'Lift' }).click();
    await expect.poll(() => view.instances.length).toBe(0);
    await watcher.close();
  });

  test('a critical instance that a health threshold keeps says so, also at an address that somebody typed', async () => {
    const declared = await fetch(`${server.address.httpUrl}/v1/services/${service}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: '{"healthThreshold":0.5}',
    });
    expect(declared.status).toBe(200);
    await client.register(service, { host: '10.0.0.1', port: 80, health: 'critical' });
    for (const typed of [service, `public/DEFAULT/${service}`]) {
      await visit(`services/${typed}`);
      expect(await page.locator('h1').innerText()).toContain(service);
      await expect.poll(rows).toMatchObject([expect.stringMatching(/critical\s+protected/) as string]);
    }
    await page.locator('.tall [role=row]').click();
    await page.locator('aside dd', { hasText: 'critical, protected' }).waitFor();
  });

  test('switches of all kinds are shown and lifted, by the description that the server gives of them', async () => {
    await registerOrders();
    const kinds: readonly object[] = [
      { kind: 'service-off', service },
      { kind: 'instance-override', service, id: 'x', override: { metadata: { lane: 'green' } } },
      { kind: 'host-drain', host: '10.0.0.1' },
      { kind: 'client-off', app: 'nobody' },
      { kind: 'client-off', address: '192.0.2.1' },
      { kind: 'push-freeze', namespace: 'staging' },
      { kind: 'quarantine', service: 'gone', reason: 'unwanted' },
      { kind: 'guard-hold' },
      { kind: 'namespace-limit', namespace: 'staging', limits: { services: 5 } },
    ];
    for (const body of kinds) {
      const response = await fetch(`${server.address.httpUrl}/v1/switches`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect(response.status).toBe(200);
    }
    await visit('switches');
    const inForce = page.locator('.switches tbody tr');
    await expect.poll(() => inForce.count()).toBe(kinds.length);
    expect((await inForce.locator('th').allInnerTexts()).map((text) => text.trim())).toEqual([
      'service-off orders',
      'instance-override x of orders (lane=green)',
      'host-drain (host 10.0.0.1)',
      'client-off (app nobody)',
      'client-off (address 192.0.2.1)',
      'push-freeze staging/*',
      'quarantine gone',
      'guard-hold',
      'namespace-limit staging/* (services 5)',
    ]);
    await page.getByText('Ordered to hold back all removals.').waitFor();
    for (let left = kinds.length; left > 0; left--) {
      await inForce.first().getByRole('button', { name: /^Lift/ }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Lift' }).click();
      await expect.poll(() => inForce.count()).toBe(left - 1);
    }
    expect(await readSwitches()).toEqual([]);
  });

  test('the slot map, plots, keys and threads follow what happens', async () => {
    await registerOrders();
    await client.keys.put('config/limit', '10');
    await visit('slots');
    await page.locator('tbody tr').nth(1).waitFor();
    await fetch(`${server.address.httpUrl}/v1/partitions`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: '{"partitions":3}',
    });
    await page.locator('tbody tr', { hasText: '5,461' }).nth(1).waitFor();
    expect(await page.locator('canvas').getAttribute('aria-label')).toContain('owned by 3 partitions');
    await visit('load');
    await page.locator('.plot canvas').nth(3).waitFor();
    for (let weight = 1; weight <= 40; weight++) {
      await client.register(service, { host: '10.0.0.1', port: 80, weight });
      await page.waitForTimeout(100);
    }
    await expect
      .poll(() => page.getByRole('img', { name: /^Registrations/ }).getAttribute('aria-label'))
      .toMatch(/register [1-9]/);
    await expect
      .poll(() => page.getByRole('img', { name: /^Answer to/ }).getAttribute('aria-label'))
      .toMatch(/p99 [\d.]+ ms/);
    await visit('keys/config%2Flimit');
    await page.locator('pre', { hasText: /^10$/ }).waitFor();
    await client.keys.put('config/limit', '20');
    await page.locator('pre', { hasText: /^20$/ }).waitFor();
    await client.keys.put('config/new', 'x');
    await expect.poll(rows).toContain('config/new');
    await visit('threads');
    await page.getByRole('row', { name: /^partition-2/ }).waitFor();
    await expect.poll(() => page.getByRole('row', { name: /^main/ }).innerText()).toMatch(/\d %[\s\S]*\d ms/);
  });

  test('[HT2] a page of a stranger in this browser can neither read nor act, nor show the console in a frame', async () => {
    await registerOrders();
    const { httpUrl } = server.address;
    const { url: sessionUrl } = server.address;
    // Another server on this machine is another Origin.
    const stranger = await startServer({
      port: 0,
      partitions: 1,
      logLevel: 'silent',
      inMemory: true,
      drainTimeoutMs: 0,
    });
    await page.goto(`${stranger.address.httpUrl}/health/live`);
    const outcomes = await page.evaluate(
      async ({ httpUrl, sessionUrl }) => {
        const attempt = (init: RequestInit): Promise<string> =>
          fetch(`${httpUrl}/v1/switches`, init).then(
            ({ status }) => `answered ${status}`,
            () => 'failed',
          );
        const session = new Promise<string>((resolve) => {
          const socket = new WebSocket(sessionUrl);
          socket.onopen = () => {
            resolve('opened');
          };
          socket.onerror = () => {
            resolve('refused');
          };
        });
        return [
          await attempt({
            method: 'PUT',
            body: '{"kind":"read-only"}',
            headers: { 'Content-Type': 'application/json' },
          }),
          // One that browsers send without asking first.
          await attempt({ method: 'POST', mode: 'no-cors', body: '{"kind":"read-only"}' }),
          await attempt({ method: 'DELETE' }),
          await session,
        ];
      },
      { httpUrl, sessionUrl },
    );
    expect(outcomes).toEqual(['failed', 'answered 0', 'failed', 'refused']);
    expect(await readSwitches()).toEqual([]);
    await page.setContent(`<iframe src="${httpUrl}/console"></iframe>`);
    await page.waitForTimeout(1000);
    expect(await page.frameLocator('iframe').locator('#console').count()).toBe(0);
    await stranger.stop();
    // The browser has said so.
    expect(watched.faults.length).toBeGreaterThan(0);
    watched.faults.length = 0;
  });
});
