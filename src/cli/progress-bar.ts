/** Widths in characters. */
const barWidth = 24;
/** Drawing more often than this shows nobody more, in milliseconds. */
const drawMs = 100;

/** How far long work has come, as one line on a terminal that is drawn again and again; elsewhere, nothing. */
export class ProgressBar {
  readonly #out: NodeJS.WriteStream;
  readonly #what: string;
  #drawnAtMs = 0;
  #isOpen = false;

  constructor(out: NodeJS.WriteStream, what: string) {
    this.#out = out;
    this.#what = what;
  }

  /** `share`: 0 to 1; undefined: nobody knows how much there is. */
  show(share: number | undefined, detail: string): void {
    const nowMs = performance.now();
    if (!this.#out.isTTY || (this.#isOpen && nowMs - this.#drawnAtMs < drawMs)) return;
    this.#drawnAtMs = nowMs;
    this.#isOpen = true;
    const line = formatProgress(this.#what, share, detail);
    this.#out.write(`\r\u001B[2K${line.slice(0, this.#out.columns - 1)}`);
  }

  /** Before anything else is printed. */
  end(): void {
    if (this.#isOpen) this.#out.write('\r\u001B[2K');
    this.#isOpen = false;
  }
}

export function formatProgress(what: string, share: number | undefined, detail: string): string {
  if (share === undefined) return `${what}  ${detail}`;
  const done = Math.min(1, Math.max(0, share));
  const filled = Math.floor(done * barWidth);
  return `${what}  [${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}] ${Math.floor(done * 100)} %  ${detail}`;
}
