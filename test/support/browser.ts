import { existsSync } from 'node:fs';

import axe from 'axe-core';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';

/** Debian's, or another that is named. */
const candidates = [process.env['CHROMIUM'] ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'];

/** Undefined: there is none here. */
export const browserPath: string | undefined = candidates.find((path) => path !== '' && existsSync(path));

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    ...(browserPath === undefined ? {} : { executablePath: browserPath }),
    // The user of containers and of CI is root, whom its sandbox refuses.
    args: ['--no-sandbox'],
  });
}

export interface WatchedPage {
  readonly page: Page;
  /** What went wrong in it: exceptions, refusals of its policy, requests to anybody else. */
  readonly faults: string[];
}

/** A page that notes what went wrong in it. */
export async function openPage(
  browser: Browser,
  { width, colorScheme = 'light' }: { readonly width: number; readonly colorScheme?: 'light' | 'dark' },
): Promise<WatchedPage> {
  const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('request', (request) => {
    const { hostname } = new URL(request.url());
    if (hostname !== '127.0.0.1') faults.push(`asked ${request.url()}`);
  });
  // Movements of what stands, other than by an operator's hand, as browsers measure them.
  await page.addInitScript(() => {
    const shifts: string[] = [];
    Object.assign(globalThis, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & {
        readonly value: number;
        readonly hadRecentInput: boolean;
        readonly sources: readonly { readonly node: Node | null }[];
      })[]) {
        // Of a number that is written anew within its place only the text moves.
        const moved = entry.sources.flatMap(({ node }) =>
          node instanceof Element ? node.outerHTML.slice(0, 120) : [],
        );
        const isSeen = moved.length > 0 || entry.value > 0.001;
        if (!entry.hadRecentInput && isSeen) shifts.push(`${entry.value} ${moved.join(' ')}`);
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  return { page, faults };
}

export function readShifts(page: Page): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { shifts: string[] }).shifts.splice(0));
}

/** What is wrong for people who do not see, or use no mouse; by the rules of axe. */
export async function findBarriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    interface Axe {
      run: () => Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
    }
    const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`);
  });
}
