/** What is needed of a stream to write a log to. */
export interface LogSink {
  readonly writableLength: number;
  write(text: string, done?: (error?: Error | null) => void): boolean;
  on(event: 'error', take: (error: Error) => void): unknown;
  off(event: 'error', take: (error: Error) => void): unknown;
}

export interface LogStreamOptions {
  readonly sink: LogSink;
  /** What may wait for the reader of the log. */
  readonly bytesMax: number;
  /** A line was dropped. */
  readonly onDropped: () => void;
}

/**
 * Takes the lines of the log. Whoever reads it may be slow, stop reading or go: then lines are dropped, and counted, and the registry continues. When there is
 * room again the first line says how many are missing.
 */
export class LogStream {
  readonly #options: LogStreamOptions;
  #unreported = 0;
  #isBroken = false;
  // What cannot be written cannot be reported either.
  readonly #onError = (): void => {
    this.#isBroken = true;
  };

  constructor(options: LogStreamOptions) {
    this.#options = options;
    options.sink.on('error', this.#onError);
  }

  write(line: string): void {
    const { sink, bytesMax } = this.#options;
    if (this.#isBroken || sink.writableLength + line.length > bytesMax) {
      this.#unreported += 1;
      this.#options.onDropped();
      return;
    }
    if (this.#unreported > 0) sink.write(formatDropped(this.#unreported));
    this.#unreported = 0;
    sink.write(line);
  }

  /** Lets go of the sink, which others may use, too, once all that was written has left, or when that takes too long. */
  async close(timeoutMs: number): Promise<void> {
    await this.#flush(timeoutMs);
    this.#options.sink.off('error', this.#onError);
  }

  async #flush(timeoutMs: number): Promise<void> {
    if (this.#isBroken || this.#options.sink.writableLength === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    const written = new Promise<void>((resolve) => {
      this.#options.sink.write('', () => {
        resolve();
      });
    });
    await Promise.race([written, over]);
    clearTimeout(timer);
  }
}

const warn = 40;

function formatDropped(lines: number): string {
  return `${JSON.stringify({ level: warn, time: Date.now(), lines, msg: 'lines of the log were dropped: its reader was too slow' })}\n`;
}
