import type { Logger } from 'pino';

import type { Counters } from '../runtime/counters.ts';
import { checkTlsTexts, readTlsTexts } from './tls-material.ts';
import type { TlsFileSettings, TlsMaterial, TlsTexts } from './tls-material.ts';

export interface TlsFilesOptions {
  readonly settings: TlsFileSettings;
  /** What is in use at the start. */
  readonly material: TlsMaterial;
  readonly log: Logger;
  readonly counters: Counters;
  /** In milliseconds since 1970. */
  readonly readWallMs: () => number;
}

/** How often the files are read, in milliseconds. Their content counts, not their times: links to other folders are files that change, too. */
const lookMs = 1000;
/** How long before a certificate expires that is said, and how often, in milliseconds. */
const expiryNoticeMs = 14 * 86_400_000;
const expiryNoticeEachMs = 86_400_000;

/** The certificate of the ports and what belongs to it, which is taken anew when its files change, as a whole or not at all. */
export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #takers: ((material: TlsMaterial) => void)[] = [];
  #material: TlsMaterial;
  /** Of what is in use; undefined: not yet known. */
  #digest: string | undefined;
  /** Of what the last look found, if it is not in use: writing may be under way until another finds the same. */
  #seen: string | undefined;
  #refused: string | undefined;
  #isLooking = false;
  #nextLookMs = 0;
  #nextNoticeMs = 0;

  constructor(options: TlsFilesOptions) {
    this.#options = options;
    this.#material = options.material;
  }

  /** What is in use. */
  get material(): TlsMaterial {
    return this.#material;
  }

  /** Whether the files hold something else than what is in use, which is of no use. */
  get isStale(): boolean {
    return this.#refused !== undefined;
  }

  /** Calls back with what new connections are to be encrypted with, each time that it changes. */
  onChange(take: (material: TlsMaterial) => void): void {
    this.#takers.push(take);
  }

  tick(nowMs: number): void {
    const wallMs = this.#options.readWallMs();
    if (wallMs >= this.#nextNoticeMs) {
      this.#nextNoticeMs = wallMs + expiryNoticeEachMs;
      this.#noticeExpiry(wallMs);
    }
    if (this.#isLooking || nowMs < this.#nextLookMs) return;
    this.#isLooking = true;
    void this.#look().finally(() => {
      this.#isLooking = false;
      this.#nextLookMs = nowMs + lookMs;
    });
  }

  async #look(): Promise<void> {
    const texts = await readTlsTexts(this.#options.settings);
    const { digest } = texts;
    if (this.#digest === undefined && this.#isInUse(texts)) this.#digest = digest;
    if (digest === this.#digest) {
      this.#seen = undefined;
      this.#refused = undefined;
    } else if (digest !== this.#seen) this.#seen = digest;
    else if (digest !== this.#refused) this.#take(texts);
  }

  #isInUse({ tlsCert, tlsKey, tlsCa }: TlsTexts): boolean {
    const { certificate, key, clientAuthorities } = this.#material;
    return tlsCert.text === certificate && tlsKey.text === key && tlsCa?.text === clientAuthorities;
  }

  #take(texts: TlsTexts): void {
    const { log, counters } = this.#options;
    let material: TlsMaterial;
    try {
      material = checkTlsTexts(texts);
    } catch (error) {
      this.#refused = texts.digest;
      counters.count('tls_reload_failed');
      log.error(
        `the TLS files have changed and are of no use, so the earlier certificate stays in use: ${(error as Error).message}`,
      );
      return;
    }
    this.#material = material;
    this.#digest = texts.digest;
    this.#seen = undefined;
    this.#refused = undefined;
    this.#nextNoticeMs = 0;
    for (const take of this.#takers) take(material);
    counters.count('tls_reloaded');
    log.info(
      { expires: new Date(material.expiry.tlsCert).toISOString() },
      'the TLS files have changed: new connections get the new certificate',
    );
  }

  #noticeExpiry(wallMs: number): void {
    const { log } = this.#options;
    for (const [setting, expiryMs] of Object.entries(this.#material.expiry)) {
      if (expiryMs === undefined || expiryMs - wallMs > expiryNoticeMs) continue;
      const expires = new Date(expiryMs).toISOString();
      if (expiryMs <= wallMs) log.error({ setting, expires }, `a certificate of ${setting} has expired`);
      else log.warn({ setting, expires }, `a certificate of ${setting} expires within 14 days`);
    }
  }
}
