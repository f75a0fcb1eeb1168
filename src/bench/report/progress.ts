import type { Sample } from '../result.ts';
import { formatBytes, formatNumber } from './formatting.ts';

/** One line a second; on a terminal it takes the place of the one before. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  #isOpen = false;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  show(scenario: string, sample: Sample): void {
    const line = formatSample(scenario, sample);
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

function formatSample(scenario: string, sample: Sample): string {
  const { atS, phase, sessions, sentPerS, acksPerS, pushesPerS, serverCpuPercent, serverRssBytes, loadCpuPercent } =
    sample;
  const server =
    serverCpuPercent === null || serverRssBytes === null
      ? ''
      : `  server ${formatNumber(serverCpuPercent)} % CPU, ${formatBytes(serverRssBytes)}`;
  return `${scenario}  ${atS.toFixed(0)} s  ${phase}  ${sessions} sessions  sent ${formatNumber(sentPerS)}/s  answers ${formatNumber(acksPerS)}/s  pushes ${formatNumber(pushesPerS)}/s${server}  load ${formatNumber(loadCpuPercent)} % CPU`;
}
