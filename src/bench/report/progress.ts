import type { Sample } from '../result.ts';
import { wordBytes, wordNumber } from './wording.ts';

/** One line a second; on a terminal it takes the place of the one before. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  #isOpen = false;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  show(scenario: string, sample: Sample): void {
    const line = wordSample(scenario, sample);
    if (this.#out.isTTY) {
      this.#out.write(`\r\u001B[2K${line.slice(0, this.#out.columns - 1)}`);
      this.#isOpen = true;
    } else this.#out.write(`${line}\n`);
  }

  /** Before anything else is printed. */
  end(): void {
    if (this.#isOpen) this.#out.write('\n');
    this.#isOpen = false;
  }
}

function wordSample(scenario: string, sample: Sample): string {
  const { atS, phase, sessions, sentPerS, acksPerS, pushesPerS, serverCpuPercent, serverRssBytes, loadCpuPercent } =
    sample;
  const server =
    serverCpuPercent === null || serverRssBytes === null
      ? ''
      : `  server ${wordNumber(serverCpuPercent)} % CPU, ${wordBytes(serverRssBytes)}`;
  return `${scenario}  ${atS.toFixed(0)} s  ${phase}  ${sessions} sessions  sent ${wordNumber(sentPerS)}/s  answers ${wordNumber(acksPerS)}/s  pushes ${wordNumber(pushesPerS)}/s${server}  load ${wordNumber(loadCpuPercent)} % CPU`;
}
