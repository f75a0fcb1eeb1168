import type { ReadStream, WriteStream } from 'node:tty';

const enter = '\u001B[?1049h\u001B[?25l';
const leave = '\u001B[?25h\u001B[?1049l';
const home = '\u001B[H';
const clearLine = '\u001B[K';
const clearBelow = '\u001B[J';
/** In raw mode Ctrl-C and Ctrl-D are characters. */
const quitKeys = ['q', 'Q', '\u0003', '\u0004'];

/** The whole terminal, until it is closed: then it looks as it did before, however the process ends. */
export class TerminalScreen {
  readonly #out: WriteStream;
  readonly #onExit: () => void;
  readonly #stopListening: (() => void)[] = [];
  #isOpen = true;

  /** `quit`: called when somebody wants to leave, by `q`, Ctrl-C or Ctrl-D. */
  constructor(input: ReadStream, output: WriteStream, quit: () => void) {
    this.#out = output;
    this.#onExit = () => {
      this.close();
    };
    process.once('exit', this.#onExit);
    output.write(enter);
    if (!input.isTTY) return;
    const onKey = (keys: Buffer): void => {
      const typed = keys.toString();
      if (quitKeys.some((key) => typed.includes(key))) quit();
    };
    input.setRawMode(true);
    input.on('data', onKey);
    this.#stopListening.push(() => {
      input.off('data', onKey);
      input.setRawMode(false);
      input.pause();
    });
  }

  size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.#out.columns, rows: this.#out.rows };
  }

  onResize(draw: () => void): void {
    this.#out.on('resize', draw);
    this.#stopListening.push(() => this.#out.off('resize', draw));
  }

  /** Lines that fit. */
  draw(lines: readonly string[]): void {
    const { rows } = this.size();
    this.#out.write(
      `${home}${lines
        .slice(0, rows)
        .map((line) => `${line}${clearLine}`)
        .join('\r\n')}${clearBelow}`,
    );
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.off('exit', this.#onExit);
    for (const stop of this.#stopListening) stop();
    this.#out.write(leave);
  }
}
